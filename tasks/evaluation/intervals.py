"""How sure a figure is: bootstrap intervals over items or groups of them, paired where two models saw the same items.

Groups (documents, prompts) are resampled, not tokens: what stands in one document is not independent. Shares, and scores
that are all the same, of which a bootstrap would be certain, have Wilson's interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 10_000
SEED = 20_240_101
Z_95 = 1.959964  # standard normal quantile of 97.5 %
WHOLE_RANGE = (0.0, 1.0)  # of every score: what one item alone says of others
NO_WIDTH = 1e-12  # what rounding leaves of none
_BLOCK = 500  # draws at once, so that memory stays at block x groups

Numbers = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95 % interval and the number of groups behind it."""

    value: float
    low: float
    high: float
    n: int

    @property
    def has_no_width(self) -> bool:
        return self.high - self.low < NO_WIDTH

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


def standard_error(values: Numbers) -> float:
    """Of their mean: sample standard deviation (n - 1) / sqrt(n)."""
    if len(values) < 2:
        raise ValueError(f"a standard error needs at least two items, found {len(values)}")
    return float(np.std(np.asarray(values, dtype=np.float64), ddof=1) / math.sqrt(len(values)))


def share_interval(right: int, n: int) -> Interval:
    """right / n with Wilson's 95 % interval (1927), which has a width where none or all are right."""
    if not 0 <= right <= n or n == 0:
        raise ValueError(f"a share needs at least one item and no more right than there are, found {right} of {n}")
    share, z = right / n, Z_95
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = (0.0 if right == 0 else centre - half), (1.0 if right == n else centre + half)
    return Interval(value=share, low=low, high=high, n=n)


def alike_interval(value: float, n: int, *, least: float = 0.0) -> Interval:
    """Of `n` groups that all have this value: up to Wilson's bound of 0 in n others may not, at worst at an end of the range.

    That bound is z^2 / (n + z^2), much as by the rule of three (Hanley & Lippman-Hand 1983). The range is `least` to 1.
    """
    others = share_interval(0, n).high
    low, high = value - others * (value - least), value + others * (1 - value)
    return Interval(value=value, low=low, high=high, n=n)


def scores_interval(values: Sequence[float]) -> Interval:
    """The mean of scores from 0 to 1: a share where all are 0 or 1, and nothing known of others from one alone."""
    if values and set(values) <= {0.0, 1.0}:
        return share_interval(int(sum(values)), len(values))
    if len(values) == 1:
        return Interval(value=values[0], low=WHOLE_RANGE[0], high=WHOLE_RANGE[1], n=1)
    if len(set(values)) == 1:
        return alike_interval(values[0], len(values))
    return mean_interval(values)


def grouped_interval(groups: Sequence[Sequence[float]], *, least: float = 0.0) -> Interval:
    """The mean of all scores, which `n` counts and which lie from `least` to 1; groups are resampled.

    Groups that all have one mean are not certain of others, and one group alone says nothing of them.
    """
    found = ratio_interval([sum(group) for group in groups], [len(group) for group in groups])
    low, high = found.low, found.high
    if len(groups) == 1:
        low, high = least, WHOLE_RANGE[1]
    elif found.has_no_width:
        alike = alike_interval(found.value, len(groups), least=least)
        low, high = alike.low, alike.high
    return Interval(value=found.value, low=low, high=high, n=sum(map(len, groups)))


def difference_interval(after: Sequence[float], before: Sequence[float]) -> Interval:
    """Of scores from 0 to 1 on the same items: paired, and not certain of others where every item differs by the same."""
    found = paired_interval(after, before)
    return alike_interval(found.value, found.n, least=-1.0) if found.has_no_width else found


def range_interval(scores: Sequence[Sequence[float]], *, draws: int = 2000) -> Interval:
    """The largest minus the smallest mean of several ways to ask the same items, a row each; items are resampled.

    Scores lie from 0 to 1: where every item is answered alike in all ways, others may not be.
    """
    scores_VN = np.asarray(scores, dtype=np.float64)
    if scores_VN.ndim != 2 or scores_VN.shape[0] < 2 or not scores_VN.shape[1]:
        raise ValueError("a range needs at least two ways to ask the same items")
    count = scores_VN.shape[1]
    generator = np.random.default_rng(SEED)
    weights_DN = generator.multinomial(count, np.full(count, 1 / count), size=draws)
    means_DV = weights_DN @ scores_VN.T / count
    low, high = np.quantile(np.ptp(means_DV, axis=1), [0.025, 0.975])
    low, high = (low, high) if count > 1 else WHOLE_RANGE
    value = float(np.ptp(scores_VN.mean(1)))  # a draw's range is rather larger than that of all
    found = Interval(value=value, low=min(float(low), value), high=max(float(high), value), n=count)
    return alike_interval(value, count) if found.has_no_width else found
