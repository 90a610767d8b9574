"""Whether a model is as sure as it is right: expected calibration error (Guo et al. 2017) and Brier's score (1950)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.evaluation.intervals import SEED, WHOLE_RANGE, Interval, alike_interval, scores_interval

BINS = 10
FEWEST_BINS, MOST_BINS = 10, 15
DRAWS = 2000

Numbers = Sequence[float] | npt.NDArray[np.float64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Answers whose probability lies in [low, high), the last bin with its upper edge."""

    low: float
    high: float
    n: int
    probability: float
    right: float


def calibration_error(probabilities: Numbers, right: Numbers, *, bins: int = BINS) -> float:
    """The gap between mean probability and share of right answers, bin by bin, weighted by answers."""
    p, outcomes = _checked(probabilities, right, bins)
    return float(_errors(_places(p, bins)[None], (outcomes - p)[None], bins)[0])


def calibration_interval(probabilities: Numbers, right: Numbers, *, bins: int = BINS) -> Interval:
    """With a percentile bootstrap over answers. Few answers make the error look larger than it is, in each draw too."""
    p, outcomes = _checked(probabilities, right, bins)
    places, gaps = _places(p, bins), outcomes - p
    generator = np.random.default_rng(SEED)
    found = []
    for _ in range(0, DRAWS, 100):
        drawn = generator.integers(0, len(p), size=(100, len(p)))
        found.append(_errors(places[drawn], gaps[drawn], bins))
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    value = calibration_error(p, outcomes, bins=bins)
    low, high = (low, high) if len(p) > 1 else WHOLE_RANGE
    interval = Interval(value=value, low=min(float(low), value), high=max(float(high), value), n=len(p))
    return alike_interval(value, len(p)) if interval.has_no_width else interval


def squared_distances(probabilities: Numbers, right: Numbers) -> Floats:
    """Of each probability from what came true; their mean is Brier's score, which always saying one half makes 0.25."""
    p, outcomes = _checked(probabilities, right, BINS)
    squares: Floats = (p - outcomes) ** 2
    return squares


def brier_interval(probabilities: Numbers, right: Numbers) -> Interval:
    return scores_interval(squared_distances(probabilities, right).tolist())


def reliability(probabilities: Numbers, right: Numbers, *, bins: int = BINS) -> list[Bin]:
    """The bins that hold an answer, for a table or a plot."""
    p, outcomes = _checked(probabilities, right, bins)
    places = _places(p, bins)
    return [
        Bin(
            low=place / bins,
            high=(place + 1) / bins,
            n=int((places == place).sum()),
            probability=float(p[places == place].mean()),
            right=float(outcomes[places == place].mean()),
        )
        for place in np.unique(places).tolist()
    ]


def _checked(probabilities: Numbers, right: Numbers, bins: int) -> tuple[Floats, Floats]:
    p, outcomes = (np.asarray(each, dtype=np.float64) for each in (probabilities, right))
    if not FEWEST_BINS <= bins <= MOST_BINS:
        raise ValueError(f"calibration: {bins} bins; use {FEWEST_BINS} to {MOST_BINS}, as published figures do")
    if len(p) != len(outcomes) or len(p) == 0:
        raise ValueError(
            f"calibration: {len(p)} probabilities for {len(outcomes)} answers; give one each, at least one"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(
            "calibration: a probability lies outside 0 to 1; give the answer's probability, not its logarithm"
        )
    return p, outcomes


def _places(p: Floats, bins: int) -> npt.NDArray[np.int64]:
    return np.minimum((p * bins).astype(np.int64), bins - 1)


def _errors(places_DN: npt.NDArray[np.int64], gaps_DN: Floats, bins: int) -> Floats:
    """Of D draws of N answers: sum over bins of |sum of (right - probability)| / N."""
    draws, count = places_DN.shape
    cells = (places_DN + bins * np.arange(draws)[:, None]).ravel()
    sums = np.bincount(cells, weights=gaps_DN.ravel(), minlength=draws * bins).reshape(draws, bins)
    errors: Floats = np.abs(sums).sum(axis=1) / count
    return errors
