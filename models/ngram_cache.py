"""A decaying unigram cache: a word just used is used again (Kuhn & De Mori 1990; Clarkson & Robinson 1997)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """`share` of the probability comes from the cache, where a word weighs half after `half_life_tokens` more."""

    share: float = 0.1
    half_life_tokens: float = 200.0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError("cache.share: expected at least 0 and below 1")
        if not self.half_life_tokens >= 1:
            raise ValueError("cache.half_life_tokens: expected at least 1")


def cached(log_probabilities: Floats, ids: npt.NDArray[np.integer], config: CacheConfig) -> Floats:
    """log((1 - share) p(w|h) + share c(w)), c being each word's part of the decayed uses before it.

    One text: what a cache remembers crosses sentences, so give it no more than one document at a time.
    """
    uses = _decayed_uses(ids, 0.5 ** (1 / config.half_life_tokens))
    mixed: Floats = np.logaddexp(np.log1p(-config.share) + log_probabilities, _log(config.share * uses))
    mixed[:1] = log_probabilities[:1]
    return mixed


def _decayed_uses(ids: npt.NDArray[np.integer], decay: float) -> Floats:
    """sum of decay^(i-j) over earlier j with the same id, divided by the same sum over all earlier j."""
    weights: dict[int, tuple[float, int]] = {}  # as of a word's last use: nothing is decayed that is not asked for
    total, shares = 0.0, np.zeros(len(ids))
    for place, token in enumerate(ids.tolist()):
        weight, last = weights.get(token, (0.0, place))
        weight *= decay ** (place - last)
        total *= decay
        if place:
            shares[place] = weight / total
        weights[token] = (weight + 1, place)
        total += 1
    return shares


def _log(values: Floats) -> Floats:
    with np.errstate(divide="ignore"):  # a word not in the cache has probability 0 there
        return np.log(values)
