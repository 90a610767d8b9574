"""WEAT (2017): Caliskan et al., whether two sets of words differ in their nearness to two sets of attributes.

Shapes: X, Y targets (as many of each), A, B attributes, D dimension.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from tasks.evaluation.intervals import SEED, Interval

MOST_PERMUTATIONS = 20_000
DRAWS = 2000

Vectors = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]


def unit(vectors: Vectors) -> Vectors:
    """Rows of length 1, so that products are cosines; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = vectors / np.where(lengths > 0, lengths, 1)
    return scaled


@dataclass(frozen=True, kw_only=True)
class Weat:
    """`effect_size` is Cohen's d; `p` one-sided, over all equal partitions (`exact`) or over drawn ones."""

    effect_size: float
    p: float
    permutations: int
    exact: bool


def weat(x_XD: Vectors, y_YD: Vectors, a_AD: Vectors, b_BD: Vectors, *, seed: int = 0) -> Weat:
    """Above 0 where x is nearer to a, and y to b. The standard deviation is the sample's, over x and y together.

    Ties count against the finding, and so does the partition that was found: p is never 0.
    """
    if len(x_XD) != len(y_YD) or len(x_XD) < 2 or not (len(a_AD) and len(b_BD)):
        raise ValueError(
            f"weat: needs as many targets on both sides, two or more, and attributes on both; found {len(x_XD)} and "
            f"{len(y_YD)} targets, {len(a_AD)} and {len(b_BD)} attributes"
        )
    return of_associations(associations(np.concatenate([x_XD, y_YD]), a_AD, b_BD), seed=seed)


def of_associations(leaning: Floats, *, seed: int = 0) -> Weat:
    """Of the associations of x and then, as many, of y."""
    count = len(leaning) // 2
    spread = float(leaning.std(ddof=1))
    if not spread > 0:
        raise ValueError("weat: all targets lie equally near to both attributes; give vectors that were trained")
    exact = comb(2 * count, count) <= MOST_PERMUTATIONS
    chosen = _all_halves(count) if exact else _drawn_halves(count, seed)
    sums = leaning[chosen].sum(axis=1)
    found = leaning[:count].sum()
    as_large = int((sums >= found - 1e-12 * np.abs(leaning).sum()).sum())
    return Weat(
        effect_size=float(leaning[:count].mean() - leaning[count:].mean()) / spread,
        p=as_large / len(sums) if exact else (as_large + 1) / (len(sums) + 1),
        permutations=len(sums),
        exact=exact,
    )


def effect_interval(leaning: Floats) -> Interval:
    """The effect size with a percentile bootstrap over the words of x and of y; `n` counts the words of both."""
    count = len(leaning) // 2
    generator = np.random.default_rng(SEED)
    x_DX, y_DY = (leaning[side + generator.integers(0, count, size=(DRAWS, count))] for side in (0, count))
    spreads = np.concatenate([x_DX, y_DY], axis=1).std(axis=1, ddof=1)
    drawn = spreads > 0  # a draw of one word alone has no spread
    effects = (x_DX.mean(axis=1) - y_DY.mean(axis=1))[drawn] / spreads[drawn]
    low, high = np.quantile(effects, [0.025, 0.975])
    value = of_associations(leaning).effect_size
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value), n=2 * count)


def associations(words_WD: Vectors, a_AD: Vectors, b_BD: Vectors) -> Floats:
    """Of each word, its mean cosine to the one set of attributes minus that to the other."""
    words, a, b = (unit(vectors.astype(np.float64)) for vectors in (words_WD, a_AD, b_BD))
    difference: Floats = (words @ a.T).mean(axis=1) - (words @ b.T).mean(axis=1)
    return difference


def _all_halves(count: int) -> npt.NDArray[np.int64]:
    return np.array(list(combinations(range(2 * count), count)))


def _drawn_halves(count: int, seed: int) -> npt.NDArray[np.int64]:
    rng = np.random.Generator(np.random.PCG64(seed))
    orders = rng.permuted(np.tile(np.arange(2 * count), (MOST_PERMUTATIONS, 1)), axis=1)
    return orders[:, :count]
