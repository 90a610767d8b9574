"""The one loop. Every gradient method of the platform is a source of batches and an objective; this is all they share.

Resuming gives the same weights as never stopping: the whole state of a training is the module, the optimizer, a few
numbers, and what guard, batches and objective say of themselves. Randomness is drawn from (seed, position), never from a
running generator.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn

from models.catalogue import own_tensors
from models.tokenizers.chat import ChatTokenizer
from tasks.training.batches import Batch, Batches
from tasks.training.checkpoint_writer import CheckpointWriter, DiskFull
from tasks.training.checkpoints import Checkpoints, Saved
from tasks.training.distributed import Ranks
from tasks.training.gradients import OutOfMemory, accumulate_gradients
from tasks.training.guards import Diverged, Guard, GuardConfig
from tasks.training.machine import Decided, Runtime, decide, place, settle, topology
from tasks.training.objectives import Objective
from tasks.training.optimizers import Optimizer, OptimizerConfig, Schedule, clip_gradients
from tasks.training.preflight import Check, Start, preflight

logger = logging.getLogger(__name__)

STOP_PATIENCE_SECONDS = 20.0  # for the next boundary; whoever sends SIGTERM kills half a minute later


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
    guard: GuardConfig = field(default_factory=GuardConfig)

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_sequences, self.checkpoint_steps) < 1:
            raise ValueError("training: steps, batch_sequences and checkpoint_steps must be at least 1")
        if not self.max_gradient_norm > 0:
            raise ValueError("training: max_gradient_norm must be above 0")


@dataclass(kw_only=True)
class TrainState:
    """Where a training is: `position` counts the batches taken, which a rollback leaves behind; `step` the updates' time.

    `seconds` and `tokens` count the work of all processes that had a part in it.
    """

    step: int = 0
    steps: int = 0
    position: int = 0
    tokens: int = 0
    seconds: float = 0.0


Hook = Callable[[TrainState, Mapping[str, float]], None]


class Preempted(Exception):
    """The training was asked to stop and has written a checkpoint; run again, it goes on."""

    exit_status = 75


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training says of itself; `resumed_at` is the step it began from in this process, 0 for a fresh start.

    `seconds` are this process's, those of the state are everybody's. `events` are sentences on what went wrong on the way.
    """

    state: TrainState
    decided: Decided
    resumed_at: int
    seconds: float
    metrics: Mapping[str, float]
    note: str = ""
    events: Sequence[str] = ()


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
    checks: Sequence[Check] = (),
    tokenizer: ChatTokenizer | None = None,
) -> Outcome:
    """Train `module` in place up to `config.steps`, from its newest checkpoint if there is one.

    Raises Preempted when a hook's `stop_requested` says so (after a checkpoint at the next boundary), Diverged, OutOfMemory
    or DiskFull when it cannot go on, and PreflightFailed (a ValueError) for what a fresh start finds wrong.
    """
    place(module, runtime)
    training = Training(module, objective, batches, config, checkpoints, seed, hooks, checks, tokenizer)
    training.begin(runtime, sequence_tokens)
    state = training.state
    module.train()
    stream = batches.starting_at(state.position)
    while state.step < config.steps:
        passed, reason = training.step(stream)
        if not passed and training.guard.skip(state.position):
            training.roll_back(reason)
            stream = batches.starting_at(state.position)
        else:
            training.keep_if_due()
    return training.end()


class Training:
    """Everything that one call of `train` has in hand; its methods are the parts of the loop, in their order."""

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        batches: Batches,
        config: TrainingConfig,
        checkpoints: Checkpoints,
        seed: int,
        hooks: Sequence[Hook],
        checks: Sequence[Check],
        tokenizer: ChatTokenizer | None,
    ) -> None:
        self.module, self.objective, self.batches, self.config = module, objective, batches, config
        self.checkpoints, self.seed, self.hooks = checkpoints, seed, hooks
        self.checks, self.tokenizer = checks, tokenizer
        self.ranks = Ranks.current()
        self.optimizer = Optimizer(module, config.optimizer)
        self.guard = Guard(config.guard)
        self.writer = CheckpointWriter(checkpoints)
        self.state = TrainState(steps=config.steps)
        self.metrics: dict[str, float] = {}
        self.events: list[str] = []
        self.note = ""
        self.seconds = 0.0
        self.asked_to_stop_at: float | None = None

    def begin(self, runtime: Runtime, sequence_tokens: int) -> None:
        """Restore the newest checkpoint, or decide how this machine is used and begin."""
        self.ranks.self_test()
        saved = self.ranks.first_before_others(self.checkpoints.latest)
        if saved is None:
            self.decided = self._decided(runtime, sequence_tokens)
            settle(self.decided, self.module)
            self.checkpoints.require_space(self._tensors())
        else:
            self.decided = Decided(**saved.record["decided"])
            settle(self.decided, self.module)
            self._restore(saved)
            self.note = _not_byte_equal(saved, self.ranks.world, self.module)
        self.resumed_at = self.kept_at = self.state.step

    def _decided(self, runtime: Runtime, sequence_tokens: int) -> Decided:
        """The first rank's decision, or the one it made before it was killed without a checkpoint."""

        def choose() -> dict[str, Any]:
            share = -(-self.config.batch_sequences // self.ranks.world)
            return asdict(decide(runtime, self.module, batch_sequences=share, sequence_tokens=sequence_tokens))

        return Decided(**self.ranks.of_first(self.checkpoints.decided(choose) if self.ranks.first else {}))

    def step(self, stream: Iterator[Batch]) -> tuple[bool, str]:
        """One batch: gradients, judgement, update, hooks. (False, why) when the update was left out."""
        started = time.perf_counter()
        state = self.state
        torch.manual_seed(step_seed(self.seed, state.position))
        batch = next(stream)
        if state.position == 0:
            started += self._preflight(batch)
        self.metrics = self._gradients(batch)
        self.metrics["gradient_norm"] = clip_gradients(self.optimizer.parameters(), self.config.max_gradient_norm)
        passed, reason = self._judged()
        share = self.config.schedule.share(state.step + 1, self.config.steps)
        if passed:
            self.optimizer.step(share, bf16=self.decided.is_bf16)
            self.guard.accept(self.metrics.get("loss", 0.0))
        else:
            self.optimizer.drop_gradients()
            self.metrics["skipped"] = 1.0
            self._tell(f"step {state.step + 1}: {reason}; its update was left out")
        self.metrics["learning_rate"] = self.config.optimizer.learning_rate * share
        state.step += 1
        state.position += 1
        state.tokens += batch.tokens
        self._report(time.perf_counter() - started, batch.tokens)
        return passed, reason

    def _preflight(self, batch: Batch) -> float:
        """What would train wrong stops here; the seconds that it took."""
        start = Start(
            module=self.module,
            objective=self.objective,
            batch=batch.to(next(self.module.parameters()).device),
            optimizer=self.optimizer,
            steps=self.config.steps,
            schedule=self.config.schedule,
            tokenizer=self.tokenizer,
        )
        return preflight(start, self.checks, self.ranks)

    def _gradients(self, batch: Batch) -> dict[str, float]:
        """When they do not fit into the memory: once more in micro-batches of half the size, and from then on so."""
        try:
            return self._accumulated(batch)
        except OutOfMemory as error:
            if self.decided.halved or self.decided.micro_batch == 1:
                raise OutOfMemory(
                    f"out of memory in step {self.state.step + 1}: {error}, and they were halved once already; "
                    "name a smaller runtime.micro_batch, or give the machine more memory"
                ) from error
            self.decided = replace(self.decided, micro_batch=self.decided.micro_batch // 2, halved=True)
            self._tell(f"step {self.state.step + 1}: {error}; they are half as large from here on")
            torch.manual_seed(step_seed(self.seed, self.state.position))
            return self._gradients(batch)

    def _accumulated(self, batch: Batch) -> dict[str, float]:
        return accumulate_gradients(self.module, self.objective, batch, self.decided, self.optimizer, self.ranks)

    def _judged(self) -> tuple[bool, str]:
        """The guard's word, the same on every rank: where one leaves an update out, all do."""
        passed, reason = self.guard.judge(self.metrics)
        if not self.ranks.any(not passed):
            return True, ""
        return False, reason or "another worker found it bad"

    def _report(self, elapsed: float, tokens: int) -> None:
        """To the hooks; what is no number is left out, and `skipped` says so."""
        self.state.seconds += elapsed
        self.seconds += elapsed
        self.metrics |= {"tokens_per_second": tokens / elapsed, "step_seconds": elapsed}
        if self.writer.waited_seconds:
            self.metrics["checkpoint_seconds"], self.writer.waited_seconds = self.writer.waited_seconds, 0.0
        self.metrics = {name: value for name, value in self.metrics.items() if math.isfinite(value)}
        for hook in self.hooks:
            hook(self.state, self.metrics)

    def roll_back(self, reason: str) -> None:
        """To the newest checkpoint, and past every batch that was taken since; Diverged when that has not helped."""
        self.guard.allow_rollback(f"step {self.state.step}: {reason}")
        self.writer.wait()
        saved = self.ranks.first_before_others(self.checkpoints.latest)
        if saved is None:
            raise Diverged(
                f"step {self.state.step}: {reason}, before the first checkpoint; lower the learning rate or look at the data"
            )
        went_wrong_at, position, rollbacks = self.state.step, self.state.position, self.guard.rollbacks + 1
        self._restore(saved)
        self.guard.went_back(rollbacks)
        self.state.position = self.batches.boundary_from(position)
        self.kept_at = self.state.step
        self._tell(
            f"went back from step {went_wrong_at} to the checkpoint of step {saved.step}, past the batches between"
        )

    def keep_if_due(self) -> None:
        """A checkpoint, where one may fall: as planned, at the end, or because somebody wants this process to stop."""
        state, boundary = self.state, self.batches.at_boundary()
        asked = any(getattr(hook, "stop_requested", _never)() for hook in self.hooks)
        if asked and self.asked_to_stop_at is None:
            self.asked_to_stop_at = time.monotonic()
        late = asked and time.monotonic() - (self.asked_to_stop_at or 0.0) > STOP_PATIENCE_SECONDS
        stop, late, full = self.ranks.each_any(asked, late, self.writer.gave_up)
        done = state.step == self.config.steps
        if boundary and (stop or done or state.step - self.kept_at >= self.config.checkpoint_steps):
            if self.ranks.first:
                self._submit()
            self.kept_at = state.step
        if full and not done:
            raise DiskFull(self.writer.wait() or "the disk is full for another worker; the last checkpoint is kept")
        if stop and not done and (boundary or late):
            self._end_early()

    def _submit(self) -> None:
        record = {
            "state": asdict(self.state),
            "guard": self.guard.state_dict(),
            "objective": self.objective.state_dict(),
            "batches": self.batches.state_dict(),
            "decided": asdict(self.decided),
            "topology": topology(self.ranks.world, self.module),
        }
        self.writer.submit(self.state.step, self._tensors(), record)

    def _end_early(self) -> None:
        failed = self.writer.wait()
        where = f"stopped at step {self.state.step} of {self.config.steps}"
        if failed or self.kept_at != self.state.step:
            raise Preempted(f"{where}; it goes on from the checkpoint before ({failed or 'no boundary came in time'})")
        raise Preempted(f"{where}, with a checkpoint")

    def end(self) -> Outcome:
        self.writer.wait()
        return Outcome(
            state=self.state,
            decided=self.decided,
            resumed_at=self.resumed_at,
            seconds=self.seconds,
            metrics=self.metrics,
            note=self.note,
            events=tuple(self.events),
        )

    def _tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"model": trained_tensors(self.module), "optimizer": self.optimizer.tensors()}

    def _restore(self, saved: Saved) -> None:
        self.module.load_state_dict(saved.tensors["model"], strict=False)
        missing = set(trained_tensors(self.module)) - set(saved.tensors["model"])
        if missing:
            raise ValueError(f"the checkpoint of step {saved.step} lacks {', '.join(sorted(missing)[:3])}")
        self.optimizer.load_tensors(saved.tensors["optimizer"])
        for name, value in saved.record["state"].items():
            setattr(self.state, name, value)
        self.guard.load_state_dict(saved.record["guard"])
        self.objective.load_state_dict(saved.record["objective"])
        self.batches.load_state_dict(saved.record["batches"])

    def _tell(self, event: str) -> None:
        self.events.append(event)
        logger.warning("%s", event)


def trained_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """What a checkpoint holds of a module: what is frozen is where it came from, and stays as it was."""
    frozen = {name for name, tensor in module.named_parameters(remove_duplicate=False) if not tensor.requires_grad}
    return own_tensors(module, without=frozen)


def _not_byte_equal(saved: Saved, workers: int, module: nn.Module) -> str:
    """ "" where the unbroken run's bytes are to be expected, else what differs from where the checkpoint was written."""
    now = topology(workers, module)
    before = saved.record["topology"]
    changes = [f"{name} {before.get(name)} -> {now[name]}" for name in now if before.get(name) != now[name]]
    changes += saved.changes
    return f"continued, not byte-equal to an unbroken run: {', '.join(changes)}" if changes else ""


def step_seed(seed: int, step: int) -> int:
    """One seed for each step of each training, for whatever torch draws in it (dropout)."""
    return (seed * 1_000_003 + step) % (2**63 - 1)


def _never() -> bool:
    return False
