"""How sure a figure is that was taken with several seeds: items and seeds are both resampled.

Shapes: K models, S seeds, I items, D draws of the bootstrap.
"""

import math

import numpy as np
import numpy.typing as npt

from tasks.evaluation.intervals import alike_interval

Array = npt.NDArray[np.float64]
DRAWS, SEED = 1000, 20_240_101


def resampled_means(scores_KSI: Array, draws: int = DRAWS) -> Array:
    """Means [D, K] of the bootstrap: items drawn again for all models at once, seeds for every model by itself.

    The spread over S seeds is stretched by sqrt(S / (S - 1)): a bootstrap of three shows two thirds of the variance.
    """
    models, seeds, items = scores_KSI.shape
    generator = np.random.default_rng(SEED)
    weights_DI = generator.multinomial(items, np.full(items, 1 / items), size=draws) / items
    means_DKS = np.einsum("ksi,di->dks", scores_KSI, weights_DI, optimize=True)
    chosen_DKS = generator.integers(0, seeds, size=(draws, models, seeds))
    centre_DK = means_DKS.mean(2)
    drawn_DK = np.take_along_axis(means_DKS, chosen_DKS, 2).mean(2)
    stretch = math.sqrt(seeds / (seeds - 1)) if seeds > 1 else 1.0
    return np.asarray(centre_DK + stretch * (drawn_DK - centre_DK))


def interval(scores_SI: Array, *, least: float | None = None) -> tuple[float, float, float]:
    """The mean of one model's scores, and its 95 % interval over seeds and items; a difference of paired ones as well.

    Student's t over seeds and items that are crossed, so that three seeds give as wide an interval as three seeds can.
    Scores that lie between `least` and 1 and are all the same have a width too: `alike_interval` of the items.
    """
    if least is not None and np.ptp(scores_SI) == 0:
        alike = alike_interval(float(scores_SI.flat[0]), scores_SI.shape[1], least=least)
        return alike.value, alike.low, alike.high
    mean = float(scores_SI.mean())
    variance, freedom = _variance_of_mean(scores_SI)
    half = _students_t(freedom) * math.sqrt(variance) if variance else 0.0
    lowest, highest = (-math.inf, math.inf) if least is None else (least, 1.0)
    return mean, max(lowest, mean - half), min(highest, mean + half)


def _variance_of_mean(scores_SI: Array) -> tuple[float, float]:
    """The variance of the mean over drawn seeds and drawn items (crossed at random, as in Brennan 2001), and its
    degrees of freedom by Satterthwaite (1946): about S - 1 where seeds differ most, I - 1 where items do.
    """
    seeds, items = scores_SI.shape
    by_seed_S, by_item_I = scores_SI.mean(1), scores_SI.mean(0)
    rest_SI = scores_SI - by_seed_S[:, None] - by_item_I + scores_SI.mean()
    own = (seeds - 1, items - 1, (seeds - 1) * (items - 1))
    squares = (items * _squares(by_seed_S), seeds * _squares(by_item_I), _squares(rest_SI))
    of_seeds, of_items, of_both = (
        total / max(1, freedom) / scores_SI.size for total, freedom in zip(squares, own, strict=True)
    )
    # what seeds and items do together is in each of the two others once, and counts once
    variance = max(of_seeds, of_both) + max(of_items, of_both) - of_both
    spread = sum(part**2 / max(1, freedom) for part, freedom in zip((of_seeds, of_items, of_both), own, strict=True))
    return variance, variance**2 / spread if spread else math.inf


def _squares(values: Array) -> float:
    return float(((values - values.mean()) ** 2).sum())


def _students_t(freedom: float) -> float:
    """Its 97.5 % point."""
    from scipy.special import stdtrit  # what trains and tunes needs no scipy

    return float(stdtrit(min(freedom, 1e9), 0.975))
