"""What a worker is handed and what it gives back: plain JSON both ways; the training itself is the caller's.

A job's folder belongs to one training: lease, checkpoints, metrics, samples. Its result is an artifact in `out`, named by
its digest, which depends on the weights alone.
"""

import dataclasses
import os
import shutil
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from models.tokenizers.chat import ChatTokenizer
from tasks.artifacts import Artifact, publish, write_artifact
from tasks.training.batches import Batches
from tasks.training.checkpoints import Checkpoints
from tasks.training.distributed import Ranks
from tasks.training.engine import Hook, Outcome, TrainingConfig, train
from tasks.training.lease import Lease
from tasks.training.machine import Runtime, environment
from tasks.training.objectives import Objective
from tasks.training.preflight import Check
from tasks.training.watchdog import Watchdog

Record = TypeVar("Record")
CHECKPOINTS, FINAL = "checkpoints", "final"


@dataclass(frozen=True, kw_only=True)
class Job:
    """`inputs` maps names to folders, `parents` to their digests; `identity` is what the training is, without a machine.

    `environment` is what must not change before a resume, beside the packages' versions: the lock file's digest.
    """

    folder: str
    out: str
    kind: str
    identity: str
    seed: int
    config: Mapping[str, Any]
    runtime: Mapping[str, Any]
    inputs: Mapping[str, str]
    parents: Mapping[str, str]
    recipe: Mapping[str, Any]
    code: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def input(self, name: str) -> Path:
        return Path(self.inputs[name])


def run_training(
    job: Job,
    hooks: Sequence[Hook],
    *,
    module: nn.Module,
    objective: Objective,
    batches: Batches,
    config: TrainingConfig,
    sequence_tokens: int,
    save: Callable[[Path], None],
    checks: Sequence[Check] = (),
    tokenizer: ChatTokenizer | None = None,
) -> dict[str, Any]:
    """Train under the job's lease, seal what `save` writes, and say what happened; the result is JSON."""
    folder = Path(job.folder)
    ranks = Ranks.current()
    lease = Lease(folder) if ranks.first else None
    runtime = of_record(Runtime, job.runtime)
    learned = sum(tensor.numel() for tensor in module.parameters() if tensor.requires_grad)
    checkpoints = Checkpoints(
        folder / CHECKPOINTS,
        identity=job.identity,
        kept=config.kept_checkpoints,
        lease=lease,
        environment={**environment(), **job.environment},
        allow_change=runtime.allow_env_change,
    )
    with Watchdog(folder, rank=ranks.rank, seconds=runtime.hang_seconds) as watchdog:
        outcome = train(
            module,
            objective,
            batches,
            config,
            checkpoints=checkpoints,
            runtime=runtime,
            seed=job.seed,
            sequence_tokens=sequence_tokens,
            hooks=[watchdog, *hooks],
            checks=checks,
            tokenizer=tokenizer,
        )
    if not ranks.first:
        return {}
    artifact = _sealed(job, folder, save, lease)
    return {
        "artifact": {"digest": artifact.digest, "path": str(artifact.path), "kind": artifact.kind},
        "parameters": sum(tensor.numel() for tensor in module.parameters()),
        "trained_parameters": learned,
        **_account(outcome),
    }


def _sealed(job: Job, folder: Path, save: Callable[[Path], None], lease: Lease | None) -> Artifact:
    temporary = folder / FINAL
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    save(temporary)
    parents = [job.parents[name] for name in sorted(job.parents)]
    artifact = write_artifact(temporary, kind=job.kind, parents=parents, recipe=job.recipe, code=job.code)
    if lease is not None:
        lease.check()
    final = Path(job.out) / artifact.digest[:16]
    publish(temporary, final)
    return dataclasses.replace(artifact, path=final)


def _account(outcome: Outcome) -> dict[str, Any]:
    return {
        "steps": outcome.state.step,
        "tokens": outcome.state.tokens,
        "seconds": round(outcome.state.seconds, 3),
        "own_seconds": round(outcome.seconds, 3),
        "resumed_at": outcome.resumed_at,
        "worker_pid": os.getpid(),
        "decided": dataclasses.asdict(outcome.decided),
        "note": outcome.note,
        "events": list(outcome.events),
        "metrics": dict(outcome.metrics),
    }


def of_record(config: type[Record], values: Mapping[str, Any]) -> Record:
    """A frozen dataclass from JSON that the strict loader has already checked; nested ones by their annotations."""
    hints = typing.get_type_hints(config)
    return config(**{name: _value(hints[name], value) for name, value in values.items()})


def _value(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return of_record(hint, value)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        nested = [each for each in typing.get_args(hint) if dataclasses.is_dataclass(each)]
        return _value(nested[0], value) if nested and isinstance(value, Mapping) else value
    return tuple(value) if isinstance(value, list) else value
