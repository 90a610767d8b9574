"""A ladder of decoders on one token set, by the one engine: what each was and its loss on held-out text."""

import csv
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from models.llama import LlamaShape, build_llama
from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation import held_out
from tasks.scaling.grid import Cell, rate_share, warmup_steps
from tasks.tokenization.shards import open_split
from tasks.training.batches import TokenBatches
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Hook, TrainingConfig, step_seed, train
from tasks.training.finished import read_record, write_record
from tasks.training.lease import Lease
from tasks.training.machine import Runtime, decide, environment
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig, Schedule
from tasks.training.pace import Stopwatch

RECORD, TABLE = "run.json", "runs.csv"
VALID_TOKENS = 131_072  # of the held-out text at most, whole documents from its beginning
TIMED_STEPS = 6
COLUMNS = ("run", "total_parameters", "tokens", "flops", "loss", "bits_per_byte", "epochs",
           "steps", "batch_tokens", "seconds")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all trainings of a ladder share; `data` is the digest of the token set in `tokens`, `code` of what trains."""

    tokens: Path
    tokenizer: Path
    data: str
    code: str
    learning_rate: float  # of the laptop recipe's size
    precision: Literal["fp32", "bf16"]
    on_gpu: bool = False
    seed: int = 1

    @property
    def runtime(self) -> Runtime:
        """Products this small are not shared out to several threads."""
        device: Literal["cpu", "cuda"] = "cuda" if self.on_gpu else "cpu"
        return Runtime(device=device, threads=0 if self.on_gpu else 1, precision=self.precision)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One training of the ladder, in a folder of its own below `root`."""

    cell: Cell
    setting: Setting
    root: Path

    @property
    def folder(self) -> Path:
        return self.root / f"{self.name}-{self.identity[:8]}"

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def steps(self) -> int:
        return self.cell.steps

    @property
    def weight(self) -> float:
        return self.cell.spent / self.cell.steps

    @property
    def identity(self) -> str:
        """What its checkpoints must carry: all that decides its weights."""
        said = json.dumps({**self.cell.record(), **described(self.setting)}, sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def record(self) -> dict[str, Any] | None:
        """What was measured, when this part is finished; a record of another training does not count."""
        return read_record(self.folder / RECORD, self.identity)

    def run(self, hooks: Sequence[Hook]) -> dict[str, Any]:
        """Train and measure what is not finished yet; the record, which is written last."""
        found = self.record()
        if found is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = _trained(self, hooks)
            write_record(self.folder / RECORD, found)
        return found


def parts(cells: Sequence[Cell], setting: Setting, root: Path) -> list[Part]:
    """Every training, the longest first: the last ones to end are then short ones."""
    return [
        Part(cell=cell, setting=setting, root=root) for cell in sorted(cells, key=lambda each: each.spent, reverse=True)
    ]


def precision_for(cell: Cell, setting: Setting) -> Literal["fp32", "bf16"]:
    """What this machine computes a decoder in; one for the whole ladder, or its sizes would differ by it too."""
    model, _ = _model(cell, setting)
    runtime = replace(setting.runtime, precision="auto")
    context = int(cell.sized.architecture["context"])
    return decide(runtime, model, batch_sequences=cell.batch_sequences, sequence_tokens=context).precision


def seconds_of(cell: Cell, setting: Setting) -> float:
    """How long its training will take, by a few steps on real batches; those weights are thrown away."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), identity="pace")
        _train(replace(cell, steps=TIMED_STEPS), setting, checkpoints, [watch])
    return watch.median() * cell.steps


def write_table(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """As `espalier scaling fit` and anybody else reads it: a row a run, in rising budgets and sizes."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for record in sorted(records, key=lambda each: (each["budget"], each["parameters"])):
            writer.writerow({**record, "total_parameters": record["parameters"]})
    temporary.replace(path)
    return path


def _trained(part: Part, hooks: Sequence[Hook]) -> dict[str, Any]:
    cell, setting = part.cell, part.setting
    checkpoints = Checkpoints(
        part.folder / "checkpoints", identity=part.identity, kept=2, lease=Lease(part.folder), environment=environment()
    )
    model, outcome = _train(cell, setting, checkpoints, hooks)
    valid = open_split(setting.tokens, "valid")
    nats = held_out.token_nats(model, valid, int(model.config.max_position_embeddings) * 3 // 4,
                               held_out.whole_documents(valid, VALID_TOKENS))  # fmt: skip
    measured = held_out.of_tokens(valid, nats)
    return {
        "identity": part.identity,
        "run": part.name,
        "budget": cell.flops,
        "parameters": cell.sized.parameters,
        "non_embedding_parameters": cell.sized.body,
        "tokens": cell.tokens,
        "epochs": round(cell.tokens / open_split(setting.tokens, "train").tokens, 3),
        "flops": cell.spent,
        "loss": float(np.mean(nats)),
        "bits_per_byte": measured.bits_per_byte.value,
        "valid_tokens": len(nats),
        "train_loss": outcome.metrics.get("loss"),
        "steps": cell.steps,
        "batch_tokens": cell.tokens // cell.steps,
        "seconds": round(outcome.state.seconds, 2),
        "architecture": dict(cell.sized.architecture),
        "events": list(outcome.events),
    }


def _train(cell: Cell, setting: Setting, checkpoints: Checkpoints, hooks: Sequence[Hook]) -> tuple[Any, Any]:
    model, shape = _model(cell, setting)
    outcome = train(
        model,
        NextToken(),
        TokenBatches(
            open_split(setting.tokens, "train"),
            context=shape.context,
            batch_sequences=cell.batch_sequences,
            seed=setting.seed,
        ),
        training_config(cell, setting),
        checkpoints=checkpoints,
        runtime=setting.runtime,
        seed=setting.seed,
        sequence_tokens=shape.context,
        hooks=hooks,
    )
    return model, outcome


def training_config(cell: Cell, setting: Setting) -> TrainingConfig:
    """A whole schedule for each length (Hoffmann et al. 2022: a loss in mid-schedule overestimates)."""
    rate = setting.learning_rate * rate_share(cell.sized.body)
    return TrainingConfig(
        steps=cell.steps,
        batch_sequences=cell.batch_sequences,
        optimizer=OptimizerConfig(learning_rate=rate),
        schedule=Schedule(warmup_steps=warmup_steps(cell.steps), decay_share=0.5),
        checkpoint_steps=max(1, cell.steps // 5),
        kept_checkpoints=2,
    )


def _model(cell: Cell, setting: Setting) -> tuple[Any, LlamaShape]:
    tokenizer = ChatTokenizer.load(setting.tokenizer)
    shape = LlamaShape(**cell.sized.architecture)
    torch.manual_seed(step_seed(setting.seed, -1))
    end_id, pad_id = tokenizer.end_of_text_id, tokenizer.pad_id
    return build_llama(shape, vocabulary=tokenizer.vocabulary, end_id=end_id, pad_id=pad_id), shape


def described(setting: Setting) -> dict[str, Any]:
    """What decides the weights of every size alike."""
    return {name: getattr(setting, name) for name in ("data", "code", "learning_rate", "precision", "seed")}
