"""A planted language that counting pairs cannot learn, and trainings of a few seconds on it.

A sentence is an opener of some kind, two fillers and the closer of that kind: a0 x2 x1 b0. Nats per sentence of the
best model: ln 4 for the opener, 2 ln 4 for the fillers and nothing for the closer.
"""

import math
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from models.ngram import NgramModel
from models.ngram_smoothing import NgramConfig
from tasks.training.batches import Batches
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Hook, Outcome, TrainingConfig, train
from tasks.training.guards import GuardConfig
from tasks.training.machine import Runtime
from tasks.training.objectives import Objective
from tasks.training.optimizers import OptimizerConfig, Schedule
from tests.training.tiny_training import read_notes, run_apart

KINDS, VOCABULARY = 4, 12
COLUMNS = 16
WORDS = [f"{role}{kind}" for role in ("open", "filler", "closed") for kind in range(KINDS)]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The language with so many fillers: openers are 0-3, fillers 4-7, closers 8-11."""

    fillers: int

    @property
    def sentence(self) -> int:
        return self.fillers + 2

    @property
    def best_nats(self) -> float:
        """Per token."""
        return (1 + self.fillers) * math.log(KINDS) / self.sentence

    def text(self, sentences: int, seed: int) -> np.ndarray:
        drawn = np.random.default_rng(seed).integers(KINDS, size=(sentences, self.fillers + 1))
        return np.concatenate([drawn[:, :1], KINDS + drawn[:, 1:], 2 * KINDS + drawn[:, :1]], axis=1).ravel()

    def training_text(self, column_sentences: int = 50) -> np.ndarray:
        """Of COLUMNS columns that begin and end where sentences do."""
        return self.text(COLUMNS * column_sentences + 1, seed=1)

    def counted_nats(self, ids: np.ndarray, order: int) -> np.ndarray:
        config = NgramConfig(order=order, start_mark=False, fallback_discounts=(0.5, 1.0, 1.5))
        model = NgramModel.fit(self.training_text(), vocabulary_size=VOCABULARY, config=config)
        return -model.log_probabilities(ids)


def trained(
    folder: Path,
    module: nn.Module,
    objective: Objective,
    batches: Batches,
    *,
    steps: int,
    hooks: tuple[Hook, ...] = (),
    learning_rate: float = 0.02,
    precision: Any = "fp32",
    micro_batch: int = COLUMNS,
    **changed: Any,
) -> Outcome:
    """Train up to the last step from whatever lies in `folder`."""
    config = TrainingConfig(
        steps=steps,
        batch_sequences=COLUMNS,
        optimizer=OptimizerConfig(kind="adamw", learning_rate=learning_rate),
        schedule=Schedule(warmup_steps=5),
        max_gradient_norm=5.0,
        guard=GuardConfig(spike_deviations=0),  # a language this regular is a surprise where columns begin anew
        **changed,
    )
    return train(
        module,
        objective,
        batches,
        config,
        checkpoints=Checkpoints(folder, identity="planted"),
        runtime=Runtime(precision=precision, threads=1, micro_batch=micro_batch),
        seed=1,
        sequence_tokens=20,
        hooks=hooks,
    )


def resumes_to_the_byte(straight: Callable[..., None], folder: Path) -> None:
    """`straight(folder, killed_at)` makes 14 steps with a checkpoint every 4: killed at 6 and at 11, it ends as if never."""
    whole, broken = folder / "whole", folder / "broken"
    assert run_apart(straight, whole) == 0
    for step in (6, 11):
        assert run_apart(straight, broken, step) == -signal.SIGKILL
    assert run_apart(straight, broken) == 0
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (broken / "step-00000014" / name).read_bytes() == (whole / "step-00000014" / name).read_bytes()
    expected = {note["step"]: note["loss"] for note in read_notes(whole.with_suffix(".notes"))}
    notes = read_notes(broken.with_suffix(".notes"))
    assert [note["step"] for note in notes] == [*range(1, 7), *range(5, 12), *range(9, 15)]
    assert all(note["loss"] == expected[note["step"]] for note in notes)
