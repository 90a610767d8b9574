"""A whole training in seconds: a decoder of 30,000 parameters, batches of unequal label counts, processes to kill."""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.llama import LlamaShape, build_llama
from tasks.training.batches import IGNORED, Batch, Stateless
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Hook, Outcome, TrainingConfig, TrainState, train
from tasks.training.lease import Lease
from tasks.training.machine import Runtime
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig, Schedule

VOCABULARY, CONTEXT = 300, 24
SHAPE = LlamaShape(layers=2, width=32, heads=4, kv_heads=2, feed_forward=64, context=CONTEXT)
STEPS, CHECKPOINT_STEPS = 10, 4


def tiny_model() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = build_llama(SHAPE, vocabulary=VOCABULARY, end_id=0, pad_id=1)
    return model


class UnequalBatches(Stateless):
    """Rows whose number of labels goes from 1 to all of them: a mean of means would be far off."""

    def __init__(self, sequences: int = 8, seed: int = 1) -> None:
        self._sequences, self._seed = sequences, seed

    def batch(self, position: int) -> Batch:
        generator = torch.Generator().manual_seed(self._seed * 1000 + position)
        steps = torch.randint(1, 5, (self._sequences, 1), generator=generator)
        first = torch.randint(5, VOCABULARY, (self._sequences, 1), generator=generator)
        ids = (first + steps * torch.arange(CONTEXT + 1)) % (VOCABULARY - 5) + 5  # arithmetic can be learned
        labels = ids[:, 1:].clone()
        for row in range(self._sequences):
            labels[row, : (CONTEXT - 1) * row // max(1, self._sequences - 1)] = IGNORED
        return Batch(tensors={"ids": ids[:, :-1], "labels": labels}, tokens=self._sequences * CONTEXT)


def tiny_config(kind: str = "muon", **changed: Any) -> TrainingConfig:
    names = {
        "steps": STEPS,
        "batch_sequences": 8,
        "optimizer": OptimizerConfig(kind=kind, learning_rate=0.01, weight_decay=0.1),  # type: ignore[arg-type]
        "schedule": Schedule(warmup_steps=2),
        "checkpoint_steps": CHECKPOINT_STEPS,
        **changed,
    }
    return TrainingConfig(**names)  # type: ignore[arg-type]


def train_tiny(
    folder: Path,
    *,
    hooks: Sequence[Hook] = (),
    lease: Lease | None = None,
    checkpoints: Checkpoints | None = None,
    **changed: Any,
) -> Outcome:
    """Train up to the last step from whatever lies in `folder`; what is not a part of the configuration is named."""
    runtime = Runtime(precision=changed.pop("precision", "fp32"), threads=1, micro_batch=changed.pop("micro_batch", 3))
    batches = changed.pop("batches", None) or UnequalBatches(changed.get("batch_sequences", 8))
    looked_at = {name: changed.pop(name) for name in ("checks", "tokenizer") if name in changed}
    return train(
        changed.pop("module", None) or tiny_model(),
        changed.pop("objective", None) or NextToken(),
        batches,
        tiny_config(**changed),
        checkpoints=checkpoints
        or Checkpoints(folder, identity="tiny", lease=lease, kept=changed.get("kept_checkpoints", 3)),
        runtime=runtime,
        seed=1,
        sequence_tokens=CONTEXT,
        hooks=hooks,
        **looked_at,
    )


class Notes:
    """A hook that writes each step's metrics as lines of JSON, whose floats are exact."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": state.step, **metrics}) + "\n")


def read_notes(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class SignalAt:
    """A hook that sends its own process a signal after a step, and after a checkpoint that is still being written.

    SIGKILL leaves it no last word.
    """

    def __init__(self, step: int, number: int = signal.SIGKILL) -> None:
        self._step, self._number = step, number

    def __call__(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        del metrics
        if state.step == self._step:
            for thread in threading.enumerate():
                if thread.name == "checkpoint":
                    thread.join()
            os.kill(os.getpid(), self._number)


class StopAt:
    """A hook that wants to stop from a step on."""

    def __init__(self, step: int) -> None:
        self._wanted, self._step = step, 0

    def __call__(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        del metrics
        self._step = state.step

    def stop_requested(self) -> bool:
        return self._step >= self._wanted


def start_apart(function: Callable[..., None], *arguments: Any) -> Any:
    """`function` in a process of its own, forked from one that has imported torch and done nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers.models.llama.modeling_llama", "tiny_training"])
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def run_apart(function: Callable[..., None], *arguments: Any) -> int:
    """The exit code of `function` in a process of its own, negative for the signal that ended it."""
    process = start_apart(function, *arguments)
    process.join(120)
    assert process.exitcode is not None, "the process did not end"
    return int(process.exitcode)
