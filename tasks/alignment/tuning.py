"""Instruction tuning as a part of an experiment: the stage's own path, from items in memory to a model's folder."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.lora import LoraShape
from tasks.alignment import instruct
from tasks.alignment.drawing import InstructionItem
from tasks.artifacts import file_sha256
from tasks.conversations.kept import Turns
from tasks.training.engine import Hook, TrainingConfig
from tasks.training.job import Job
from tasks.training.machine import Runtime
from tasks.training.optimizers import OptimizerConfig, Schedule


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What one experiment holds equal for all its models; `runtime` is no part of what they are."""

    steps: int
    batch_sequences: int = 32
    learning_rate: float = 3e-3
    warmup_steps: int = 0
    lora: LoraShape | None = None
    runtime: Runtime = field(default_factory=Runtime)

    @property
    def training(self) -> TrainingConfig:
        return TrainingConfig(
            steps=self.steps,
            batch_sequences=self.batch_sequences,
            optimizer=OptimizerConfig(learning_rate=self.learning_rate),
            schedule=Schedule(warmup_steps=self.warmup_steps),
            checkpoint_steps=self.steps,
        )


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A model's folder, how many tokens it was trained on, prompts and padding-free answers together, and how much of it."""

    path: Path
    tokens: int
    trained_parameters: int


def tune(
    base: Path,
    items: Sequence[InstructionItem],
    tuning: Tuning,
    folder: Path,
    *,
    seed: int,
    conversations: Sequence[Turns] = (),
    hooks: Sequence[Hook] = (),
) -> Tuned:
    """The model in `base` tuned on items (at least one) and conversations; what was finished in `folder` is not repeated.

    ValueError where another tuning, from another base or on other items, was begun in `folder`.
    """
    instructions = folder / "instructions"
    instructions.mkdir(parents=True, exist_ok=True)
    _write(instructions / "train.jsonl", [vars(item) for item in items])
    for name in ("valid", "held_out"):  # nothing is sampled on the way
        _write(instructions / f"{name}.jsonl", [])
    inputs = {"base": str(base), "instructions": str(instructions)}
    if conversations:
        inputs["conversations"] = str(folder / "conversations.jsonl")
        _write(folder / "conversations.jsonl", [{"messages": turns, "source": ""} for turns in conversations])
    config = asdict(instruct.InstructConfig(training=tuning.training, lora=tuning.lora))
    read = [*sorted(base.glob("*.safetensors")), *sorted(folder.glob("*.jsonl")), instructions / "train.jsonl"]
    said = json.dumps([config, seed, [file_sha256(path) for path in read]], sort_keys=True)
    job = Job(
        folder=str(folder / "run"),
        out=str(folder / "out"),
        kind=instruct.KIND,
        identity=hashlib.sha256(said.encode()).hexdigest(),
        seed=seed,
        config=config,
        runtime=asdict(tuning.runtime),
        inputs=inputs,
        parents={},
        recipe={},
    )
    outcome = instruct.run(json.loads(json.dumps(asdict(job))), hooks)
    return Tuned(
        path=Path(outcome["artifact"]["path"]),
        tokens=outcome["tokens"],
        trained_parameters=outcome["trained_parameters"],
    )


def _write(path: Path, rows: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="\n")
