"""A real study in minutes: decoders of several sizes and seeds, trained by the one engine on generated items alone.

One model learns both modes of an ability, so direct and scratchpad are asked of equal parameters, equal training and equal
weights, and what differs is the prompt; it also halves the time. Every size reads the same examples in the same order.
"""

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from models.llama import LlamaShape, build_llama
from tasks.emergence.abilities import FAMILIES, Ability, distinct_items
from tasks.emergence.item_batches import ItemBatches
from tasks.emergence.measures import Scores, measure
from tasks.emergence.vocabulary import END_ID, PAD_ID, VOCABULARY
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Hook, TrainingConfig, step_seed, train
from tasks.training.finished import read_record, write_record
from tasks.training.lease import Lease
from tasks.training.machine import Runtime, environment
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig, Schedule

CONTEXT = 128
TEST_SEED, TRAIN_SEED = 1_000_001, 1_000_002  # of the items that are asked; no training has such a seed
RECORD = "measures.json"


def _shape(layers: int, width: int, heads: int) -> LlamaShape:
    return LlamaShape(
        layers=layers, width=width, heads=heads, kv_heads=heads, feed_forward=3 * width, context=CONTEXT
    )  # fmt: skip


# Named by their parameters, all of them (the embedding, which is the head too, counted once).
SIZES: Mapping[str, LlamaShape] = {
    "4k": _shape(2, 12, 2),
    "11k": _shape(2, 20, 2),
    "28k": _shape(2, 32, 2),
    "93k": _shape(3, 48, 3),
    "273k": _shape(4, 72, 4),
    "857k": _shape(4, 128, 4),
    "1.6m": _shape(6, 144, 4),
}
DEFAULT_SIZES = ("4k", "11k", "28k", "93k", "273k", "857k")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What decides the figures: steps, rows, precision and learning rate are the same for every size, N alone differs."""

    family: str = "arithmetic"
    sizes: tuple[str, ...] = DEFAULT_SIZES
    seeds: int = 3
    steps: int = 1000
    rows: int = 16
    precision: Literal["fp32", "bf16"] = "fp32"
    learning_rate: float = 0.01
    warmup_steps: int = 20
    test_items: int = 200
    train_items: int = 100

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"emergence: {self.family} is no family of abilities; there are {', '.join(FAMILIES)}")
        unknown = [name for name in self.sizes if name not in SIZES]
        if unknown or not self.sizes or len(set(self.sizes)) < len(self.sizes):
            raise ValueError(
                f"emergence: sizes are different ones of {', '.join(SIZES)}; found {', '.join(self.sizes)}"
            )
        if min(self.seeds, self.steps, self.rows, self.test_items, self.train_items) < 1:
            raise ValueError("emergence: seeds, steps, rows, test_items and train_items must be at least 1")

    @property
    def abilities(self) -> tuple[Ability, ...]:
        return FAMILIES[self.family]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One training of a study, with a folder of its own."""

    config: StudyConfig
    size: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.size}, seed {self.seed}"

    @property
    def steps(self) -> int:
        return self.config.steps

    @property
    def weight(self) -> float:
        return float(parameters_of(self.size))

    @property
    def identity(self) -> str:
        """What its checkpoints must carry; other sizes of the study and the number of its seeds are no part of it."""
        config = {name: value for name, value in asdict(self.config).items() if name not in ("sizes", "seeds")}
        said = json.dumps({**config, "shape": asdict(SIZES[self.size]), "seed": self.seed}, sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def record(self) -> dict[str, Any] | None:
        """What was measured, when this part is finished; a record of another configuration does not count."""
        return read_record(self.folder / RECORD, self.identity)

    def run(self, hooks: Sequence[Hook] = ()) -> dict[str, Any]:
        """Train and measure what is not finished yet; the record, which is written last."""
        found = self.record()
        if found is None:
            found = _record(self, hooks)
            write_record(self.folder / RECORD, found)
        return found


def parts(config: StudyConfig, root: Path) -> list[Part]:
    """Every training of the study, the largest first: the last ones to end are then short ones."""
    sizes = sorted(config.sizes, key=parameters_of, reverse=True)
    return [
        Part(config=config, size=size, seed=seed, folder=root / f"{config.family}-{size}-seed{seed}-{config.steps}")
        for size in sizes
        for seed in range(config.seeds)
    ]


def build(size: str, seed: int) -> Any:
    torch.manual_seed(step_seed(seed, -1))
    return build_llama(SIZES[size], vocabulary=VOCABULARY, end_id=END_ID, pad_id=PAD_ID)


def parameters_of(size: str) -> int:
    """All parameters; the matrices and norms of a layer are 4 w^2 + 3 w f + 2 w."""
    shape = SIZES[size]
    width = shape.width
    layer = 4 * width**2 + 3 * width * shape.feed_forward + 2 * width
    return VOCABULARY * width + shape.layers * layer + width


def _record(part: Part, hooks: Sequence[Hook]) -> dict[str, Any]:
    trained = _train(part, hooks)
    model = trained.pop("model")
    return {
        "identity": part.identity,
        "size": part.size,
        "seed": part.seed,
        "parameters": parameters_of(part.size),
        "non_embedding_parameters": parameters_of(part.size) - VOCABULARY * SIZES[part.size].width,
        **trained,
        "abilities": [_measured(model, ability, part.config) for ability in part.config.abilities],
    }


def _train(part: Part, hooks: Sequence[Hook]) -> dict[str, Any]:
    config = part.config
    lease = Lease(part.folder)
    model = build(part.size, part.seed)
    outcome = train(
        model,
        NextToken(),
        ItemBatches(config.abilities, rows=config.rows, row_tokens=CONTEXT, seed=part.seed),
        training_config(config),
        checkpoints=Checkpoints(
            part.folder, identity=part.identity, kept=2, lease=lease, environment=environment()
        ),
        runtime=Runtime(device="cpu", threads=1, precision=config.precision),  # products this small are not shared out
        seed=part.seed,
        sequence_tokens=CONTEXT,
        hooks=hooks,
    )  # fmt: skip
    return {
        "model": model,
        "steps": outcome.state.step,
        "tokens": outcome.state.tokens,
        "train_seconds": round(outcome.state.seconds, 2),
        "train_loss": outcome.metrics.get("loss"),
        "events": list(outcome.events),
    }


def training_config(config: StudyConfig) -> TrainingConfig:
    return TrainingConfig(
        steps=config.steps,
        batch_sequences=config.rows,
        optimizer=OptimizerConfig(learning_rate=config.learning_rate),
        schedule=Schedule(warmup_steps=min(config.warmup_steps, config.steps)),
        checkpoint_steps=max(1, config.steps // 4),
        kept_checkpoints=2,
    )


def _measured(model: Any, ability: Ability, config: StudyConfig) -> dict[str, Any]:
    """The scores of the held-out items, one by one; and means over items of the trained side, to show the gap."""
    test = distinct_items(ability, config.test_items, seed=TEST_SEED, held_out=True)
    familiar = distinct_items(ability, config.train_items, seed=TRAIN_SEED, held_out=False)
    known: Scores = measure(model, familiar)
    gap = {
        "n": len(familiar),
        "exact_match": statistics.fmean(known.exact),
        "token_nats": statistics.fmean(known.nats),
    }
    return {**asdict(ability), "scores": asdict(measure(model, test)), "train": gap}
