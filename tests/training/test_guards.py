"""A bad step is left out, several send the training back, and in the end it gives up with the reason."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import Notes, SignalAt, UnequalBatches, read_notes, run_apart, tiny_config, tiny_model, train_tiny
from torch import nn

from tasks.training.batches import Batch
from tasks.training.checkpoints import Checkpoints
from tasks.training.guards import Diverged, Guard, GuardConfig
from tasks.training.objectives import Loss, NextToken


class Marked(UnequalBatches):
    """Batches that carry their position, so that an objective can be bad on some of them."""

    def batch(self, position: int) -> Batch:
        made = super().batch(position)
        place = torch.full((len(made), 1), position)
        return Batch(tensors={**made.tensors, "place": place}, tokens=made.tokens)


class BadAt(NextToken):
    """At some positions the loss, or only its gradient, is no number, or the loss is a thousand times too large."""

    def __init__(self, kind: str, *positions: int) -> None:
        self._kind, self._positions = kind, positions

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        found = super().loss(module, batch)
        if int(batch.tensors["place"][0, 0]) not in self._positions:
            return found
        if self._kind == "gradient":
            # sqrt has an infinite slope at 0, and 0 times infinity is no number
            zero = (next(module.parameters()) * 0).abs().sum().sqrt()
            return Loss(total=found.total + zero, sums=found.sums)
        factor = math.nan if self._kind == "loss" else 1000.0
        return Loss(total=found.total * factor, sums={"loss": found.sums["loss"] * factor})


def go(folder: Path, kind: str, *positions: int, hooks: Any = (), **changed: Any) -> Any:
    settings = {"steps": 12, "checkpoint_steps": 4, **changed}
    return train_tiny(folder, batches=Marked(), objective=BadAt(kind, *positions), hooks=hooks, **settings)


@pytest.mark.parametrize(("kind", "said"), [("loss", "the loss is nan"), ("gradient", "the gradient norm is nan")])
def test_a_bad_step_is_left_out_and_nothing_of_it_stays(tmp_path: Path, kind: str, said: str) -> None:
    """The weights before and after it are the same, and the next steps go on."""
    before_and_after: list[torch.Tensor] = []
    module: Any = tiny_model()

    def look(state: Any, metrics: Mapping[str, float]) -> None:
        assert all(math.isfinite(value) for value in metrics.values())
        if state.step in (5, 6):
            before_and_after.append(module.model.norm.weight.detach().clone())
            assert ("skipped" in metrics) == (state.step == 6)

    outcome = go(tmp_path, kind, 5, module=module, hooks=[look])
    assert torch.equal(*before_and_after)
    assert outcome.events == (f"step 6: {said}; its update was left out",)
    assert (outcome.state.step, outcome.state.position) == (12, 12)
    assert math.isfinite(outcome.metrics["loss"])


def test_a_spike_is_left_out_once_without_flapping(tmp_path: Path) -> None:
    """A batch whose loss is a thousand times too large; the guard must know some losses first."""
    guard = GuardConfig(fewest=8)
    outcome = go(tmp_path, "spike", 9, steps=30, guard=guard)
    assert len(outcome.events) == 1
    assert outcome.events[0].startswith("step 10: the loss is ")
    assert "its median over 9 steps" in outcome.events[0]
    off = go(tmp_path / "off", "spike", 9, steps=12, guard=GuardConfig(fewest=8, spike_deviations=0.0))
    assert off.events == ()


def test_several_bad_steps_send_it_back_and_past_the_bad_batches(tmp_path: Path) -> None:
    """Bad at 5, 6 and 7: back to the checkpoint of step 4, and on with batch 8; every step is made in the end."""
    notes = Notes(tmp_path / "notes")
    outcome = go(tmp_path / "run", "loss", 5, 6, 7, hooks=[notes])
    assert [note["step"] for note in read_notes(tmp_path / "notes")] == [*range(1, 9), *range(5, 13)]
    assert outcome.events[-1] == "went back from step 8 to the checkpoint of step 4, past the batches between"
    assert (outcome.state.step, outcome.state.position) == (12, 16)
    saved = Checkpoints(tmp_path / "run", identity="tiny").latest()
    assert saved is not None
    assert saved.record["state"]["position"] == 16
    assert saved.record["guard"]["rollbacks"] == 1


def killed_on_the_way(folder: Path, step: int) -> None:
    go(folder, "loss", 5, 6, 7, hooks=[SignalAt(step)] if step else [])


def test_killed_after_going_back_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """The bad batches are met again, judged again, and left again; a later checkpoint remembers that."""
    for name, kills in (("whole", ()), ("early", (6,)), ("late", (10,))):
        for step in kills:
            assert run_apart(killed_on_the_way, tmp_path / name, step) < 0
        assert run_apart(killed_on_the_way, tmp_path / name, 0) == 0
    whole = (tmp_path / "whole" / "step-00000012" / "model.safetensors").read_bytes()
    for name in ("early", "late"):
        assert (tmp_path / name / "step-00000012" / "model.safetensors").read_bytes() == whole


def test_after_two_rollbacks_it_gives_up_and_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"the loss is nan, for the 3\. time after going back to a checkpoint 2 times"):
        go(tmp_path, "loss", *range(5, 100), steps=50)
    newest = max(tmp_path.glob("step-*"))
    assert newest.name == "step-00000004"
    assert all(torch.isfinite(tensor).all() for tensor in load_file(newest / "model.safetensors").values())


def test_before_the_first_checkpoint_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    with pytest.raises(
        Diverged, match=r"step 3: the loss is nan, before the first checkpoint; lower the learning rate"
    ):
        go(tmp_path, "loss", *range(10))
    assert not list(tmp_path.glob("step-*"))


def test_the_guard_by_hand() -> None:
    """Losses 1..5 have median 3 and MAD 1: with 4 deviations a spike begins above 3 + 4 x 1.4826."""
    guard = Guard(GuardConfig(spike_deviations=4.0, fewest=5, window=5))
    for loss in (1.0, 2.0, 3.0, 4.0):
        assert guard.judge({"loss": 1e9})[0]
        guard.accept(loss)
    guard.accept(5.0)
    assert guard.judge({"loss": 8.92, "gradient_norm": 1.0}) == (True, "")
    assert guard.judge({"loss": 8.94, "gradient_norm": 1.0}) == (False, "the loss is 8.94, its median over 5 steps 3")
    assert guard.judge({"loss": 1.0, "gradient_norm": math.inf}) == (False, "the gradient norm is inf")
    for _ in range(5):
        guard.accept(7.0)  # five equal losses: no deviation at all, and a tenth of the median counts
    assert guard.judge({"loss": 7.69})[0]
    assert not guard.judge({"loss": 7.71})[0]


def test_bad_steps_far_apart_are_not_many() -> None:
    guard = Guard(GuardConfig(window=10, most_skipped=3))
    assert not any(guard.skip(position) for position in (0, 9, 18, 27))
    assert not guard.skip(28)
    assert guard.skip(29)
    assert not Guard(GuardConfig()).skip(0)


def test_what_the_guard_remembers_is_kept() -> None:
    first, second = Guard(GuardConfig(most_skipped=2)), Guard(GuardConfig(most_skipped=2))
    first.accept(2.0)
    first.skip(4)
    first.went_back(1)
    first.skip(5)
    second.load_state_dict(first.state_dict())
    assert second.skip(6)
    assert second.rollbacks == 1


@pytest.mark.parametrize("wrong", [{"window": 0}, {"fewest": 0}, {"most_skipped": 0}, {"spike_deviations": -1.0}])
def test_impossible_guards_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="guard: window, fewest and most_skipped must be at least 1"):
        tiny_config(guard=GuardConfig(**wrong))


def test_after_going_back_it_counts_bad_steps_afresh(tmp_path: Path) -> None:
    """Bad at 3, which the checkpoint of step 4 remembers, then at 5 and 6: back once. Two more are not three."""
    outcome = go(tmp_path, "loss", 3, 5, 6, 8, 9)
    assert [event for event in outcome.events if event.startswith("went back")] == [
        "went back from step 7 to the checkpoint of step 4, past the batches between"
    ]
    assert (outcome.state.step, outcome.state.position) == (12, 15)
