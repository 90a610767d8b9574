"""How sure a figure is: bootstrap intervals over items or groups of them, paired where two models saw the same items.

Groups (documents, prompts) are resampled, not tokens: what stands in one document is not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 10_000
SEED = 20_240_101
_BLOCK = 500  # draws at once, so that memory stays at block x groups

Numbers = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95 % interval and the number of groups behind it."""

    value: float
    low: float
    high: float
    n: int

    def record(self) -> dict[str, float | int]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def ratio_interval(sums: Numbers, weights: Numbers, *, confidence: float = 0.95, draws: int = DRAWS) -> Interval:
    """sum(sums) / sum(weights) with a percentile bootstrap over groups; one entry of both per group."""
    numerators, denominators = np.asarray(sums, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    count = len(numerators)
    if count == 0 or denominators.sum() <= 0:
        raise ValueError("an interval needs at least one item")
    generator = np.random.default_rng(SEED)
    found = []
    for start in range(0, draws, _BLOCK):
        chosen = generator.integers(0, count, size=(min(_BLOCK, draws - start), count))
        found.append(numerators[chosen].sum(1) / denominators[chosen].sum(1))
    low, high = np.quantile(np.concatenate(found), [(1 - confidence) / 2, (1 + confidence) / 2])
    value = float(numerators.sum() / denominators.sum())
    return Interval(value=value, low=float(low), high=float(high), n=count)


def mean_interval(values: Numbers, *, confidence: float = 0.95, draws: int = DRAWS) -> Interval:
    return ratio_interval(values, np.ones(len(values)), confidence=confidence, draws=draws)


def paired_interval(after: Numbers, before: Numbers, weights: Numbers | None = None) -> Interval:
    """The difference after - before on the same groups; ValueError when they are not the same."""
    if len(after) != len(before):
        raise ValueError(f"paired figures need the same items, found {len(after)} and {len(before)}")
    difference = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    return ratio_interval(difference, np.ones(len(difference)) if weights is None else weights)
