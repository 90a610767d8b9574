"""A whole training of something tiny by the one engine, and sources that give one batch for ever."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from tasks.training.batches import Batch, Stateless
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import TrainingConfig, train
from tasks.training.machine import Runtime
from tasks.training.optimizers import OptimizerConfig, Schedule


def train_tiny(
    folder: Path,
    module: Any,
    objective: Any,
    batches: Any,
    *,
    steps: int,
    rate: float,
    rows: int,
    micro_batch: int = 0,
    kind: Literal["muon", "adamw"] = "adamw",
    precision: Literal["fp32", "bf16"] = "fp32",
) -> list[dict[str, float]]:
    """The metrics of each step."""
    seen: list[dict[str, float]] = []
    train(
        module,
        objective,
        batches,
        TrainingConfig(
            steps=steps,
            batch_sequences=rows,
            optimizer=OptimizerConfig(kind=kind, learning_rate=rate),
            schedule=Schedule(warmup_steps=min(10, steps // 4)),
            checkpoint_steps=10_000,
        ),
        checkpoints=Checkpoints(folder, identity="tiny"),
        runtime=Runtime(precision=precision, threads=1, micro_batch=micro_batch or rows),
        seed=1,
        sequence_tokens=32,
        hooks=[lambda _, metrics: seen.append(dict(metrics))],
    )
    module.eval()
    return seen


class Same(Stateless):
    """The first batch of a source, again and again: to be learned by heart."""

    def __init__(self, source: Any) -> None:
        self._first: Batch = source.batch(0)

    def batch(self, position: int) -> Batch:
        del position
        return self._first


def counting(length: int, *, words: int = 20, first: int = 5, seed: int = 0) -> np.ndarray:
    """A text that can be learned: stretches of ten that count up, modulo `words`, from a random place."""
    starts = np.random.default_rng(seed).integers(words, size=(length + 9) // 10)
    return (first + (starts[:, None] + np.arange(10)) % words).ravel()[:length]


def with_opinions(model: Any, spread: float = 4.0) -> Any:
    """A fresh model says nearly the same everywhere; larger matrices make it differ."""
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.dim() == 2:
                tensor.mul_(spread)
    return model.eval()


def counted_flops(model: Any, *inputs: Any, **named: Any) -> int:
    """What torch counts of a forward pass of one row, its attention written out in products."""
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs, **named)
    return int(counter.get_total_flops())
