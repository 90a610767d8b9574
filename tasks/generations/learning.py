"""A model of any kind in the one training loop: how long a budget is in steps, and what the training cost.

A training that was broken off goes on with the steps that were planned when it began.
"""

import copy
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from torch import nn

from tasks.training.batches import Batches
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Hook, TrainingConfig, TrainState, train
from tasks.training.machine import Runtime
from tasks.training.objectives import Objective
from tasks.training.optimizers import OptimizerConfig, Schedule

PLAN_FILE = "plan.json"
TIMED_STEPS, UNTIMED_STEPS = 6, 2
FEWEST_STEPS, MOST_EPOCHS = 20, 20
CHECKPOINTS_A_TRAINING = 10


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model with fresh weights and all that its training needs; `flops_a_step` is thrice what its forward products cost."""

    module: nn.Module
    objective: Objective
    batches: Batches
    optimizer: OptimizerConfig
    batch_sequences: int
    sequence_tokens: int
    flops_a_step: float
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    schedule: Schedule = field(default_factory=lambda: Schedule(decay_share=0.5))
    max_gradient_norm: float = 1.0

    @property
    def parameters(self) -> int:
        """Every parameter once: a tied table counts once."""
        return sum(tensor.numel() for tensor in self.module.parameters())

    @property
    def tokens_a_step(self) -> int:
        return self.batch_sequences * self.sequence_tokens

    def config(self, steps: int) -> TrainingConfig:
        return TrainingConfig(
            steps=steps,
            batch_sequences=self.batch_sequences,
            optimizer=self.optimizer,
            schedule=self.schedule,
            max_gradient_norm=self.max_gradient_norm,
            checkpoint_steps=max(1, steps // CHECKPOINTS_A_TRAINING),
            kept_checkpoints=2,
        )


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a training was: its updates, its tokens, its FLOPs, the seconds of its steps."""

    steps: int
    tokens: int
    train_flops: float
    seconds: float


def learn(
    learner: Learner,
    *,
    folder: Path,
    seconds: float,
    text_tokens: int,
    runtime: Runtime,
    seed: int,
    hooks: Sequence[Hook] = (),
) -> Learned:
    """Train in place for about `seconds`, at most MOST_EPOCHS of a text of `text_tokens`; resumes what lies in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = _planned(folder / PLAN_FILE, lambda: _steps_for(learner, seconds, text_tokens, runtime, seed))
    outcome = _train(learner, learner.config(steps), folder, runtime, seed, hooks)
    tokens = steps * learner.tokens_a_step
    return Learned(
        steps=steps,
        tokens=tokens,
        train_flops=steps * learner.flops_a_step,
        seconds=outcome.state.seconds,
    )


def _train(
    learner: Learner, config: TrainingConfig, folder: Path, runtime: Runtime, seed: int, hooks: Sequence[Hook]
) -> Any:
    return train(
        learner.module,
        learner.objective,
        learner.batches,
        config,
        checkpoints=Checkpoints(folder / "checkpoints", identity=folder.name, kept=config.kept_checkpoints),
        runtime=replace(runtime, precision=learner.precision),
        seed=seed,
        sequence_tokens=learner.sequence_tokens,
        hooks=hooks,
    )


def _planned(path: Path, plan: Callable[[], int]) -> int:
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"steps": plan()}), encoding="utf-8")
        temporary.replace(path)
    return int(json.loads(path.read_text(encoding="utf-8"))["steps"])


def _steps_for(learner: Learner, seconds: float, text_tokens: int, runtime: Runtime, seed: int) -> int:
    """By the time that a few steps of a copy take: the training itself begins with fresh weights."""
    times: list[float] = []

    def watch(_state: TrainState, metrics: Any) -> None:
        times.append(float(metrics["step_seconds"]))

    trial = copy.deepcopy(learner)
    with tempfile.TemporaryDirectory() as temporary:
        began = time.perf_counter()
        _train(trial, trial.config(TIMED_STEPS), Path(temporary), runtime, seed, [watch])
        spent = time.perf_counter() - began
    step = median(times[UNTIMED_STEPS:])
    most = math.ceil(MOST_EPOCHS * text_tokens / learner.tokens_a_step)
    return max(FEWEST_STEPS, min(most, int((seconds - spent) / step)))
