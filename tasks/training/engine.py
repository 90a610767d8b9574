"""The one loop. Every gradient method of the platform is a source of batches and an objective; this is all they share.

Resuming gives the same weights as never stopping: the whole state of a training is the module, the optimizer, four
numbers, and what batches and objective say of themselves. Randomness is drawn from (seed, step), never from a running
generator.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import nn

from models.catalogue import own_tensors
from tasks.training.batches import Batches
from tasks.training.checkpoints import Checkpoints, Saved
from tasks.training.distributed import Ranks
from tasks.training.gradients import accumulate_gradients
from tasks.training.machine import Decided, Runtime, decide, topology
from tasks.training.objectives import Objective
from tasks.training.optimizers import Optimizer, OptimizerConfig, Schedule, clip_gradients


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long and how: lengths are in steps; a step is one update from one global batch."""

    steps: int
    batch_sequences: int
    optimizer: OptimizerConfig
    schedule: Schedule = field(default_factory=Schedule)
    max_gradient_norm: float = 1.0
    checkpoint_steps: int = 100
    kept_checkpoints: int = 3

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_sequences, self.checkpoint_steps) < 1:
            raise ValueError("training: steps, batch_sequences and checkpoint_steps must be at least 1")
        if not self.max_gradient_norm > 0:
            raise ValueError("training: max_gradient_norm must be above 0")


@dataclass(kw_only=True)
class TrainState:
    """Where a training is; `seconds` and `tokens` count the work of all processes that had a part in it."""

    step: int = 0
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0


Hook = Callable[[TrainState, Mapping[str, float]], None]


class Preempted(Exception):
    """The training was asked to stop and has written a checkpoint; run again, it goes on."""

    exit_status = 75


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training says of itself; `resumed_at` is the step it began from in this process, 0 for a fresh start.

    `seconds` are this process's, those of the state are everybody's.
    """

    state: TrainState
    decided: Decided
    resumed_at: int
    seconds: float
    metrics: Mapping[str, float]
    note: str = ""


def train(
    module: nn.Module,
    objective: Objective,
    batches: Batches,
    config: TrainingConfig,
    *,
    checkpoints: Checkpoints,
    runtime: Runtime,
    seed: int,
    sequence_tokens: int,
    hooks: Sequence[Hook] = (),
) -> Outcome:
    """Train `module` in place up to `config.steps`, from its newest checkpoint if there is one.

    Raises Preempted when a hook's `stop_requested` says so (at the next boundary, after a checkpoint), and ValueError for
    a loss or gradient that is not a number.
    """
    ranks = Ranks.current()
    ranks.self_test()
    optimizer = Optimizer(module, config.optimizer)
    state = TrainState(steps=config.steps)
    saved = ranks.first_before_others(checkpoints.latest)
    note = ""
    if saved is None:
        share_of_batch = -(-config.batch_sequences // ranks.world)
        decided = ranks.of_first(
            decide(runtime, module, batch_sequences=share_of_batch, sequence_tokens=sequence_tokens)
        )
        torch.set_num_threads(decided.threads)
    else:
        decided = Decided(**saved.record["decided"])
        torch.set_num_threads(decided.threads)
        restore(saved, module, optimizer, state, objective, batches)
        if saved.record["topology"] != topology(ranks.world):
            note = "continued on another machine or number of workers: not byte-equal to an unbroken run"
    resumed_at, kept_at, spent_before = state.step, state.step, state.seconds
    stream = batches.starting_at(state.step)
    metrics: dict[str, float] = {}
    module.train()
    while state.step < config.steps:
        started = time.perf_counter()
        torch.manual_seed(step_seed(seed, state.step))
        batch = next(stream)
        metrics = accumulate_gradients(module, objective, batch, decided, optimizer, ranks)
        metrics["gradient_norm"] = clip_gradients(optimizer.parameters(), config.max_gradient_norm)
        _refuse_nonfinite(metrics, state.step + 1)
        share = config.schedule.share(state.step + 1, config.steps)
        optimizer.step(share)
        metrics["learning_rate"] = config.optimizer.learning_rate * share
        state.step += 1
        state.tokens += batch.tokens
        elapsed = time.perf_counter() - started
        state.seconds += elapsed
        metrics["tokens_per_second"] = batch.tokens / elapsed
        for hook in hooks:
            hook(state, metrics)
        if not batches.at_boundary():
            continue
        stop = ranks.any(any(getattr(hook, "stop_requested", _never)() for hook in hooks))
        if stop or state.step == config.steps or state.step - kept_at >= config.checkpoint_steps:
            if ranks.first:
                keep(checkpoints, module, optimizer, state, objective, batches, decided, ranks)
            kept_at = state.step
        if stop and state.step < config.steps:
            raise Preempted(f"stopped at step {state.step} of {config.steps}, with a checkpoint")
    return Outcome(
        state=state,
        decided=decided,
        resumed_at=resumed_at,
        seconds=state.seconds - spent_before,
        metrics=metrics,
        note=note,
    )


def keep(
    checkpoints: Checkpoints,
    module: nn.Module,
    optimizer: Optimizer,
    state: TrainState,
    objective: Objective,
    batches: Batches,
    decided: Decided,
    ranks: Ranks,
) -> None:
    record = {
        "state": asdict(state),
        "objective": objective.state_dict(),
        "batches": batches.state_dict(),
        "decided": asdict(decided),
        "topology": topology(ranks.world),
    }
    checkpoints.save(state.step, {"model": own_tensors(module), "optimizer": optimizer.tensors()}, record)


def restore(
    saved: Saved,
    module: nn.Module,
    optimizer: Optimizer,
    state: TrainState,
    objective: Objective,
    batches: Batches,
) -> None:
    module.load_state_dict(saved.tensors["model"], strict=False)
    missing = set(own_tensors(module)) - set(saved.tensors["model"])
    if missing:
        raise ValueError(f"the checkpoint of step {saved.step} lacks {', '.join(sorted(missing)[:3])}")
    optimizer.load_tensors(saved.tensors["optimizer"])
    for name, value in saved.record["state"].items():
        setattr(state, name, value)
    objective.load_state_dict(saved.record["objective"])
    batches.load_state_dict(saved.record["batches"])


def step_seed(seed: int, step: int) -> int:
    """One seed for each step of each training, for whatever torch draws in it (dropout)."""
    return (seed * 1_000_003 + step) % (2**63 - 1)


def _refuse_nonfinite(metrics: Mapping[str, float], step: int) -> None:
    for name in ("loss", "gradient_norm"):
        if not math.isfinite(metrics.get(name, 0.0)):
            raise ValueError(
                f"step {step}: the {name.replace('_', ' ')} is {metrics[name]}; lower the learning rate, "
                "or look at the batch: the last checkpoint is kept"
            )


def _never() -> bool:
    return False
