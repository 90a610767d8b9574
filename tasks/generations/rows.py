"""What the table says of a model: one row, its figures in nats turned into what people compare."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.generations.catalogue import NAMED
from tasks.generations.text import Text

PERPLEXITY = "perplexity"
PSEUDO = "pseudo-perplexity"  # each piece by all others, of both sides: no probability of the text
COUNTING = "ngram"

Nats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Perplexities are per piece of the level, line ends included; `bits_per_byte` is of the test text, where the pieces
    spell it out. `train_flops` counts products, backward passes as twice the forward ones; counting has none. What a model
    has no figure for is None.
    """

    model: str
    parameters: int
    train_flops: float
    seconds: float
    valid_perplexity: float | None = None
    test_perplexity: float | None = None
    bits_per_byte: float | None = None
    measure: str = PERPLEXITY
    note: str = ""
    samples: Sequence[str] = ()
    probe: Mapping[str, Any] = field(default_factory=dict)
    further: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON, with the model's year and idea; what only some models have stands beside the rest."""
        known = NAMED[self.model]
        values = {name: value for name, value in asdict(self).items() if name not in ("model", "further")}
        return {"model": self.model, "year": known.year, "idea": known.idea, **values, **self.further}


def perplexity(nats: Nats) -> float:
    """exp of the mean: of the negative log-likelihoods of single pieces."""
    return float(np.exp(nats.mean()))


def bits_per_byte(nats: Nats, text: Text, split: str = "test") -> float | None:
    """None where unknown pieces stand for words that nobody could read back."""
    return float(nats.sum() / math.log(2) / text.splits[split].bytes) if text.is_lossless else None


def figures(text: Text, nats: Mapping[str, Nats]) -> dict[str, Any]:
    """The three figures of a row from the nats of the whole valid and test texts."""
    return {
        "valid_perplexity": perplexity(nats["valid"]),
        "test_perplexity": perplexity(nats["test"]),
        "bits_per_byte": bits_per_byte(nats["test"], text),
    }


def beside_counting(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows; a model that has a perplexity and has not beaten counting says so in its note."""
    floor = next((row["test_perplexity"] for row in rows if row["model"] == COUNTING), None)
    judged = []
    for row in rows:
        own = row["test_perplexity"] if row["measure"] == PERPLEXITY else None
        beaten = floor is None or own is None or row["model"] == COUNTING or own < floor
        said = "" if beaten else f"has not beaten counting ({own:.1f} against {floor:.1f})"
        judged.append({**row, "note": "; ".join(part for part in (said, row["note"]) if part)})
    return judged
