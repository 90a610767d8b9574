"""Is an ability emergent? The test: could who saw only the smaller models have foretold the larger ones?

Wei et al. 2022 call an ability emergent that "cannot be predicted simply by extrapolating the performance of smaller
models". So a straight line on the log N axis is laid through the k smallest sizes, for every k from 2 on, and asked about
all larger ones. What the best of them exceeds its forecast by, as a share of the whole rise, is the *missed share*: 0 for
a straight line, 1 for a step. It is at most 0 for every measure that improves ever more slowly, which nats that follow a
power law of N do whatever its exponent, so such a law can never be taken for a jump; exact match of the same models,
exp(-L (N/Nc)^-a), begins flat and can.

A measure is sharp when its missed share is above SHARP with 95 % confidence, and not sharp when it is below NOT_SHARP with
the same; intervals are of a bootstrap over items (the same for every model) and seeds (of each size its own). What
calibrates the two numbers are planted abilities, in tests/emergence/test_verdict.py.

Shapes: K sizes, S seeds, I items, D draws of the bootstrap, P pairs of (smaller sizes, one larger).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tasks.evaluation.seed_intervals import Array, resampled_means

Named = Literal["sharp under both", "metric-induced", "smooth", "not resolved"]

SHARP, NOT_SHARP = 0.25, 0.5
EARLY = 0.5
FEWEST_SIZES = 4
THERE_ALREADY = 0.9  # exact match of the smallest size
HIDDEN_BY_ZERO = 3.0  # of n: no success among n says less than 3/n with 95 % confidence (the rule of three)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """`scores` [K, S, I] of the same items by models of K sizes and S seeds; a higher score is better."""

    parameters: Sequence[int]
    scores: Array

    def __post_init__(self) -> None:
        if self.scores.ndim != 3 or len(self.parameters) != len(self.scores) or not self.scores.size:
            raise ValueError(
                f"curve: {len(self.parameters)} sizes need scores of sizes x seeds x items, found {self.scores.shape}"
            )
        if any(one >= other for one, other in zip(self.parameters, self.parameters[1:], strict=False)):
            raise ValueError("curve: sizes must rise")

    @property
    def means(self) -> Array:
        return np.asarray(self.scores.mean((1, 2)))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The rise from the smallest to the largest size, and the share of it that no smaller models foretold.

    `early` is how much of it lies between the two smallest sizes beyond a straight line's part: before a jump there, no
    line can be laid. An interval of 90 % is one of 95 % on either side alone.
    """

    rise: float
    rise_low: float
    early: float
    missed: float
    missed_low: float
    missed_high: float

    @property
    def rises(self) -> bool:
        return self.rise_low > 0

    @property
    def is_sharp(self) -> bool:
        return self.rises and self.missed_low > SHARP

    @property
    def is_not_sharp(self) -> bool:
        return self.rises and self.missed_high < NOT_SHARP


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`shapes` holds every measure's; `smooth_measure` is the one that stood beside exact match."""

    verdict: Named
    reason: str
    shapes: Mapping[str, Shape]


def judge(exact: Curve, smooth: Curve, others: Mapping[str, Curve] | None = None) -> Verdict:
    """The verdict by exact match and `smooth` (minus the nats per token); `others` are described and decide nothing."""
    items = exact.scores.shape[2]
    curves = {"exact_match": exact, "token_nats": smooth, **(others or {})}
    if len(exact.parameters) < FEWEST_SIZES:
        return Verdict(verdict="not resolved", reason=f"fewer than {FEWEST_SIZES} sizes", shapes={})
    shapes = {name: shape(curve) for name, curve in curves.items()}
    if exact.means[0] > THERE_ALREADY:
        return Verdict(
            verdict="not resolved", reason="the smallest size can do it already; add smaller ones", shapes=shapes
        )
    named, reason = _decide(shapes["exact_match"], shapes["token_nats"], items)
    return Verdict(verdict=named, reason=reason, shapes=shapes)


def _decide(exact: Shape, smooth: Shape, items: int) -> tuple[Named, str]:
    hidden = HIDDEN_BY_ZERO / items
    if not exact.rises:
        return "not resolved", f"exact match does not rise over these sizes by more than chance ({exact.rise:+.3f})"
    if hidden > SHARP * exact.rise:
        return "not resolved", (
            f"{items} items: a score of 0 may hide {hidden:.3f}, too much of a rise of {exact.rise:.3f}; take more items"
        )
    said = f"of its rise of {exact.rise:.2f}, exact match keeps {_spoken(exact)} from who sees the smaller models only"
    if not exact.is_sharp and exact.early > EARLY:
        return (
            "not resolved",
            "most of its rise lies between the two smallest sizes, with one below it; add smaller ones",
        )
    if exact.is_not_sharp and not exact.is_sharp:
        return "smooth", said
    if not exact.is_sharp:
        return "not resolved", f"{said}: neither above {SHARP:.0%} nor below {NOT_SHARP:.0%}"
    beside = f"{said}; the nats per token keep {_spoken(smooth)}"
    if smooth.is_sharp:
        return "sharp under both", beside
    if smooth.is_not_sharp:
        return "metric-induced", beside
    return "not resolved", f"{beside}: neither above {SHARP:.0%} nor below {NOT_SHARP:.0%}"


def _spoken(found: Shape) -> str:
    low, middle, high = (min(1.0, max(0.0, each)) for each in (found.missed_low, found.missed, found.missed_high))
    return f"{middle:.0%} ({low:.0%} to {high:.0%})"


def shape(curve: Curve) -> Shape:
    """The figures of a curve with their bootstrap intervals."""
    means_DK = resampled_means(curve.scores)
    forecasts_PK = _excess_over_lines(np.log(np.array(curve.parameters, dtype=np.float64)))
    missed_D, rises_D = _missed(means_DK, forecasts_PK), means_DK[:, -1] - means_DK[:, 0]
    missed = _missed(curve.means[None], forecasts_PK)
    low, high = np.quantile(missed_D, [0.05, 0.95])
    rise = float(curve.means[-1] - curve.means[0])
    return Shape(
        rise=rise,
        early=_early(curve, rise),
        rise_low=float(np.quantile(rises_D, 0.05)),
        missed=float(missed[0]),
        missed_low=float(low),
        missed_high=float(high),
    )


def _early(curve: Curve, rise: float) -> float:
    """The first step's share of the rise, less its share of the log N axis."""
    sizes_K = np.log(np.array(curve.parameters, dtype=np.float64))
    along = (sizes_K[1] - sizes_K[0]) / (sizes_K[-1] - sizes_K[0])
    return float((curve.means[1] - curve.means[0]) / rise - along) if rise > 0 else 0.0


def _missed(means_DK: Array, forecasts_PK: Array) -> Array:
    """[D]: the largest excess over a forecast, as a share of the rise; 1 where nothing rises, which `rises` knows."""
    rises_D = means_DK[:, -1] - means_DK[:, 0]
    excess_D = (means_DK @ forecasts_PK.T).max(1)
    return np.asarray(np.where(rises_D > 0, excess_D / np.where(rises_D > 0, rises_D, 1.0), 1.0))


def _excess_over_lines(sizes_K: Array) -> Array:
    """[P, K]: each row gives y_j minus what the least-squares line through the sizes before some k <= j says at j."""
    count = len(sizes_K)
    rows = []
    for k in range(2, count):
        design = np.stack([np.ones(k), sizes_K[:k]], 1)
        solved_2k = np.linalg.pinv(design)
        for j in range(k, count):
            row = np.zeros(count)
            row[:k] = -np.array([1.0, sizes_K[j]]) @ solved_2k
            row[j] = 1.0
            rows.append(row)
    return np.array(rows)
