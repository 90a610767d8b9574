"""What a training keeps and what it takes up again: at boundaries, when asked to stop, and whatever was drawn."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import CONTEXT, StopAt, UnequalBatches, tiny_model, train_tiny
from torch import nn
from torch.nn import functional as F

from tasks.training.batches import Batch
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Preempted, step_seed
from tasks.training.objectives import Loss, NextToken


def test_asked_to_stop_it_keeps_a_checkpoint_and_says_so(tmp_path: Path) -> None:
    """At the very step, which is none of the planned ones; the next run goes on from there to the same bytes."""
    with pytest.raises(Preempted, match="stopped at step 3 of 6, with a checkpoint") as stopped:
        train_tiny(tmp_path / "run", steps=6, hooks=[StopAt(3)])
    assert stopped.value.exit_status == 75
    assert [path.name for path in (tmp_path / "run").glob("step-*")] == ["step-00000003"]
    assert train_tiny(tmp_path / "run", steps=6).resumed_at == 3
    train_tiny(tmp_path / "whole", steps=6)
    for name in ("model.safetensors", "optimizer.safetensors"):
        whole = (tmp_path / "whole" / "step-00000006" / name).read_bytes()
        assert (tmp_path / "run" / "step-00000006" / name).read_bytes() == whole


def test_asked_to_stop_at_its_last_step_it_is_done(tmp_path: Path) -> None:
    assert train_tiny(tmp_path, steps=3, hooks=[StopAt(3)]).state.step == 3


class Rounds(UnequalBatches):
    """Batches made three at a time, as rollouts are: a checkpoint may fall only between the rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 0
        self.loaded: list[Any] = []

    def starting_at(self, position: int) -> Iterator[Batch]:
        assert position % 3 == 0
        for batch in super().starting_at(position):
            self.given += 1
            yield batch

    def at_boundary(self) -> bool:
        return self.given % 3 == 0

    def state_dict(self) -> dict[str, Any]:
        return {"given": self.given}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loaded.append(dict(state))
        self.given = state["given"]


def test_checkpoints_fall_between_rounds_only(tmp_path: Path) -> None:
    """Asked to stop in step 4, planned every 2 steps, in rounds of 3: steps 3 and 6."""
    with pytest.raises(Preempted, match="stopped at step 6 of 9"):
        train_tiny(tmp_path, steps=9, checkpoint_steps=2, batches=Rounds(), hooks=[StopAt(4)])
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000003", "step-00000006"]
    resumed = Rounds()
    assert train_tiny(tmp_path, steps=9, batches=resumed).resumed_at == 6
    assert resumed.loaded == [{"given": 6}]


class Counting(NextToken):
    """An objective with a state of its own, like a controller of the KL."""

    def __init__(self) -> None:
        self.calls = 0

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        self.calls += 1
        found = super().loss(module, batch)
        return Loss(total=found.total, sums={**found.sums, "calls": float(self.calls)})

    def state_dict(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.calls = state["calls"]


def test_an_objectives_state_is_kept(tmp_path: Path) -> None:
    with pytest.raises(Preempted):
        train_tiny(tmp_path, steps=4, micro_batch=8, objective=Counting(), hooks=[StopAt(2)])
    objective = Counting()
    train_tiny(tmp_path, steps=4, micro_batch=8, objective=objective)
    assert objective.calls == 4


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    train_tiny(tmp_path, steps=3)
    module = tiny_model()
    outcome = train_tiny(tmp_path, steps=3, module=module, hooks=[lambda *_: pytest.fail("a step was made")])
    assert (outcome.resumed_at, outcome.state.step, outcome.seconds) == (3, 3, 0.0)
    trained, fresh = (each.state_dict()["model.norm.weight"].cpu() for each in (module, tiny_model()))
    assert not torch.equal(trained, fresh)


def test_time_and_tokens_of_all_processes_add_up(tmp_path: Path) -> None:
    first = []
    with pytest.raises(Preempted):
        train_tiny(tmp_path, steps=6, hooks=[StopAt(3), lambda state, _: first.append(state.seconds)])
    outcome = train_tiny(tmp_path, steps=6)
    assert outcome.state.tokens == 6 * 8 * CONTEXT
    assert outcome.state.seconds == pytest.approx(first[-1] + outcome.seconds)
    assert outcome.seconds > 0


def test_what_was_decided_is_kept_for_the_resumed(tmp_path: Path) -> None:
    """Another precision is asked for: the training stays what it was, else its bytes would change."""
    with pytest.raises(Preempted):
        train_tiny(tmp_path, steps=4, precision="bf16", micro_batch=2, hooks=[StopAt(2)])
    decided = train_tiny(tmp_path, steps=4, precision="fp32", micro_batch=4).decided
    assert (decided.precision, decided.micro_batch) == ("bf16", 2)


def test_killed_before_its_first_checkpoint_it_decides_nothing_anew(tmp_path: Path) -> None:
    class Broken(Exception):
        pass

    def break_off(state: Any, _metrics: Mapping[str, float]) -> None:
        if state.step == 2:
            raise Broken

    with pytest.raises(Broken):
        train_tiny(tmp_path, steps=4, precision="bf16", micro_batch=2, hooks=[break_off])
    outcome = train_tiny(tmp_path, steps=4, precision="fp32", micro_batch=4)
    assert outcome.resumed_at == 0
    assert (outcome.decided.precision, outcome.decided.micro_batch) == ("bf16", 2)


def test_another_topology_is_noted(tmp_path: Path) -> None:
    with pytest.raises(Preempted):
        train_tiny(tmp_path, steps=4, hooks=[StopAt(2)])
    saved = Checkpoints(tmp_path, identity="tiny").latest()
    assert saved is not None
    elsewhere = {**saved.record, "topology": {**saved.record["topology"], "workers": 2}}
    Checkpoints(tmp_path, identity="tiny").save(2, saved.tensors, elsewhere)
    note = train_tiny(tmp_path, steps=4).note
    assert note == "continued, not byte-equal to an unbroken run: workers 2 -> 1"


def test_a_checkpoint_without_a_tensor_of_the_model_is_refused(tmp_path: Path) -> None:
    train_tiny(tmp_path, steps=2)
    saved = Checkpoints(tmp_path, identity="tiny").latest()
    assert saved is not None
    lacking = {name: each for name, each in saved.tensors["model"].items() if name != "model.norm.weight"}
    Checkpoints(tmp_path, identity="tiny").save(3, {**saved.tensors, "model": lacking}, saved.record)
    with pytest.raises(ValueError, match=r"the checkpoint of step 3 lacks model\.norm\.weight"):
        train_tiny(tmp_path, steps=4)


class Dropping(nn.Module):
    """A module that draws torch's numbers while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.inner: Any = tiny_model()
        self.config = self.inner.config


class DroppedNextToken(NextToken):
    def loss(self, module: Any, batch: Batch) -> Loss:
        found = super().loss(module.inner, batch)
        dropped = F.dropout(module.inner.model.norm.weight, 0.5, module.training).sum() * self.weight(batch)
        return Loss(
            total=found.total + dropped, sums={"loss": float(found.total.detach()), "dropped": float(dropped.detach())}
        )


def test_what_torch_draws_in_a_step_follows_from_seed_and_step(tmp_path: Path) -> None:
    """Dropout after a resume is the dropout of the unbroken run."""
    drawn: dict[str, list[float]] = {"run": [], "whole": []}

    def go(name: str, hooks: list[Any]) -> None:
        keep = [lambda _, metrics: drawn[name].append(metrics["dropped"])]
        train_tiny(tmp_path / name, steps=6, module=Dropping(), objective=DroppedNextToken(), hooks=keep + hooks)

    go("whole", [])
    with pytest.raises(Preempted):
        go("run", [StopAt(3)])
    torch.rand(100)
    go("run", [])
    assert drawn["run"] == drawn["whole"]
    assert len(set(drawn["whole"])) > 3
    assert len({step_seed(seed, step) for seed in range(20) for step in range(-1, 500)}) == 20 * 501
