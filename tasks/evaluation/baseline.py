"""What counting reaches on the same tokens: a unigram, a bigram and a Kneser-Ney model, the floor of every language model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.ngram import NgramModel
from models.ngram_smoothing import NgramConfig
from tasks.evaluation.comparable import comparable
from tasks.evaluation.held_out import HeldOut, identity_of, of_tokens
from tasks.tokenization.shards import TokenStream, open_split, read_index

REPORT_FILE = "baseline.json"
SCORED_SPLITS = ("valid", "test")
NAMES: Mapping[int, str] = {1: "unigram", 2: "bigram"}


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """`orders` are counted one by one; the last is the floor."""

    orders: tuple[int, ...] = (1, 2, 5)

    def __post_init__(self) -> None:
        if not self.orders or list(self.orders) != sorted(set(self.orders)) or self.orders[0] < 1:
            raise ValueError("baseline.orders: expected rising numbers from 1 on, for example [1, 2, 5]")


def count(tokens: Path, folder: Path, config: BaselineConfig) -> dict[str, Any]:
    """Write baseline.json, and each document's nats under the last model, into an existing folder."""
    index = read_index(tokens)
    train = open_split(tokens, "train")
    ids = train.slice(0, train.tokens).astype(np.int64)
    identities = {split: identity_of(open_split(tokens, split)) for split in SCORED_SPLITS}
    report: dict[str, Any] = {
        "floor": name_of(config.orders[-1]), "identity": identities, "kinds": index["kinds"], "models": {},
    }  # fmt: skip
    for order in config.orders:
        model = NgramModel.fit(ids, vocabulary_size=index["vocabulary"], config=_smoothing(order))
        entry: dict[str, Any] = {"order": order, "ngrams": int(sum(model.ngram_counts))}
        for split in SCORED_SPLITS:
            found = _score(model, open_split(tokens, split))
            interval = found.bits_per_byte
            entry[split] = {**interval.record(), "by_kind": found.by_kind(index["kinds"])}
            if order == config.orders[-1]:
                np.save(folder / f"{split}.nats.npy", found.nats, allow_pickle=False)
        report["models"][name_of(order)] = entry
    text = json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / REPORT_FILE).write_text(text + "\n", encoding="utf-8")
    return report


def _smoothing(order: int) -> NgramConfig:
    # a small text can lack n-grams that occur just once or twice, of which the discounts are estimated
    return NgramConfig(order=order, start_mark=False, fallback_discounts=(0.5, 1.0, 1.5))


def _score(model: NgramModel, stream: TokenStream) -> HeldOut:
    ids = stream.slice(0, stream.tokens).astype(np.int64)
    return of_tokens(stream, -model.log_probabilities(ids))


def name_of(order: int) -> str:
    return NAMES.get(order, f"Kneser-Ney {order}-gram")


def read_baseline(folder: Path) -> dict[str, Any]:
    """The report in `folder`; ValueError when the stage has not run."""
    try:
        return dict(json.loads((folder / REPORT_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: no counting baseline there ({error}); run the data stages") from error


def counted_on(folder: Path, tokens: Path, split: str) -> tuple[bool, str]:
    """Whether the stored figures of `folder` may stand beside those that a model has on `tokens`, and why not."""
    stored = {"identity": read_baseline(folder).get("identity", {}).get(split)}
    fresh = {"identity": identity_of(open_split(tokens, split))}
    return comparable(stored, fresh, (f"{folder}", f"{tokens}"))


def floor_nats(folder: Path, split: str) -> npt.NDArray[np.float64]:
    """Nats per document under the floor model, in the order of the split."""
    nats: npt.NDArray[np.float64] = np.load(folder / f"{split}.nats.npy", allow_pickle=False)
    return nats
