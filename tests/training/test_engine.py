"""The one loop: what a step is, what hooks see, and what it refuses to go on with."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import CONTEXT, UnequalBatches, tiny_config, tiny_model, train_tiny

from models.sampling import SamplingConfig, sample
from tasks.training.batches import IGNORED, Batch
from tasks.training.engine import TrainState
from tasks.training.optimizers import OptimizerConfig, Schedule


def test_hooks_are_called_once_a_step_with_what_happened(tmp_path: Path) -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    others: list[int] = []

    def hook(state: TrainState, metrics: Mapping[str, float]) -> None:
        assert state.steps == 5
        assert state.tokens == state.step * 8 * CONTEXT
        seen.append((state.step, dict(metrics)))

    schedule = Schedule(warmup_steps=2, decay_share=0.4)
    outcome = train_tiny(tmp_path, steps=5, schedule=schedule, hooks=[hook, lambda state, _: others.append(state.step)])
    assert [step for step, _ in seen] == others == [1, 2, 3, 4, 5]
    for _, metrics in seen:
        names = {"loss", "gradient_norm", "learning_rate", "tokens_per_second", "step_seconds"}
        assert set(metrics) - {"checkpoint_seconds"} == names
        assert metrics["tokens_per_second"] > 0
    assert [metrics["learning_rate"] for _, metrics in seen] == pytest.approx([0.005, 0.01, 0.01, 0.01, 0.005])
    assert seen[0][1]["loss"] == pytest.approx(math.log(300), abs=0.1)
    assert (outcome.state.step, outcome.resumed_at, outcome.note) == (5, 0, "")
    assert dict(outcome.metrics) == seen[-1][1]


def test_what_a_batch_knows_of_itself_reaches_the_hooks(tmp_path: Path) -> None:
    class Telling(UnequalBatches):
        def batch(self, position: int) -> Batch:
            made = super().batch(position)
            return Batch(tensors=made.tensors, tokens=made.tokens, metrics={"kl": 0.25 * position})

    told: list[float] = []
    train_tiny(tmp_path, steps=3, batches=Telling(), hooks=[lambda _, metrics: told.append(metrics["kl"])])
    assert told == [0.0, 0.25, 0.5]


def test_a_batch_with_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    """Later than in the first batch, too, which the preflight reads."""

    class Masked(UnequalBatches):
        def batch(self, position: int) -> Batch:
            made = super().batch(position)
            if position:
                made.tensors["labels"].fill_(IGNORED)
            return made

    with pytest.raises(ValueError, match="nothing to learn from: every label is masked; check the template"):
        train_tiny(tmp_path, steps=2, batches=Masked())


def test_one_batch_can_be_learned_by_heart(tmp_path: Path) -> None:
    """Every part of the loop has to be right for this: loss below 0.01 on sixteen rows."""

    class One(UnequalBatches):
        def batch(self, position: int) -> Batch:
            return super().batch(0 * position)

    outcome = train_tiny(
        tmp_path, steps=150, checkpoint_steps=1000, batch_sequences=16, batches=One(16), micro_batch=16,
        optimizer=OptimizerConfig(kind="adamw", learning_rate=0.01), schedule=Schedule(warmup_steps=5),
    )  # fmt: skip
    assert outcome.metrics["loss"] < 0.01


def test_watching_does_not_change_a_training(tmp_path: Path) -> None:
    """A hook that samples from the live model, and draws torch's own numbers."""
    module: Any = tiny_model()

    def watch(_state: TrainState, _metrics: Mapping[str, float]) -> None:
        torch.rand(7)
        found = sample(module, [[7, 8]], SamplingConfig(max_tokens=4), seed=0, stop_ids=frozenset(), pad_id=1)
        assert len(found[0].tokens) == 4

    train_tiny(tmp_path / "watched", steps=4, module=module, hooks=[watch])
    train_tiny(tmp_path / "alone", steps=4)
    for name in ("model.safetensors", "optimizer.safetensors"):
        alone = (tmp_path / "alone" / "step-00000004" / name).read_bytes()
        assert (tmp_path / "watched" / "step-00000004" / name).read_bytes() == alone


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"steps": 0}, "steps, batch_sequences and checkpoint_steps must be at least 1"),
        ({"batch_sequences": 0}, "must be at least 1"),
        ({"checkpoint_steps": 0}, "must be at least 1"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be above 0"),
        ({"max_gradient_norm": math.nan}, "max_gradient_norm must be above 0"),
    ],
)
def test_impossible_settings_are_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        tiny_config(**changed)


def test_a_stateless_source_has_no_state() -> None:
    assert UnequalBatches().at_boundary()
    assert UnequalBatches().state_dict() == {}
