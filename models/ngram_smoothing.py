"""From counts to probabilities: modified and single-discount Kneser-Ney, stupid back-off, add-k, maximum likelihood.

Kneser & Ney 1995; Chen & Goodman 1999 (the discounts, equation 26); Brants et al. 2007 (stupid back-off).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from models.ngram_counts import Counts, Ids

Floats = npt.NDArray[np.float64]
Discounts = tuple[float, float, float]
Smoothing = Literal["modified_kneser_ney", "kneser_ney", "stupid_backoff", "add_k", "maximum_likelihood"]


@dataclass(frozen=True, kw_only=True)
class NgramConfig:
    """`fallback_discounts` serve an order whose counts of counts give none: few words or letters have counts 1, 2, 3.

    With `start_mark` each document is counted as if after a word that is never predicted (`<s>`). 0.5, 1, 1.5 are the
    fallback of KenLM's --discount_fallback; the single discount takes the first.
    """

    order: int = 5
    smoothing: Smoothing = "modified_kneser_ney"
    fallback_discounts: Discounts | None = None
    start_mark: bool = True
    backoff_factor: float = 0.4
    added_count: float = 1.0

    def __post_init__(self) -> None:
        if self.smoothing not in get_args(Smoothing):
            raise ValueError(f"ngram.smoothing: {self.smoothing!r} is none of {', '.join(get_args(Smoothing))}")
        if self.order < 1:
            raise ValueError("ngram.order: expected at least 1")
        if self.fallback_discounts is not None and not _possible(self.fallback_discounts):
            raise ValueError("ngram.fallback_discounts: expected three numbers between 0 and 1, 2 and 3")
        if not 0 < self.backoff_factor <= 1:
            raise ValueError("ngram.backoff_factor: expected above 0 and at most 1")
        if not self.added_count > 0:
            raise ValueError("ngram.added_count: expected above 0; adding nothing is maximum_likelihood")


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """One order, ready to score: natural logarithms, by rank. `unseen` is what a context gives a word it never saw."""

    keys: Ids
    log_probabilities: Floats
    unseen: Floats


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Tables by order, and how they read.

    A word unseen after its context gets the context's `unseen`, plus its score one order lower where the model
    `backs_off`. A context that was itself never seen counts as one with `unseen_context`.
    """

    tables: tuple[Table, ...]
    backs_off: bool
    unseen_context: float
    discounts: tuple[Discounts, ...] = ()  # by order; none without Kneser-Ney


def estimate(counts: Sequence[Counts], config: NgramConfig) -> Estimate:
    """Of each order's rows; the last row of order 1 is the start mark's: a context, never a prediction."""
    if config.smoothing in ("modified_kneser_ney", "kneser_ney"):
        return _kneser_ney(counts, config)
    if config.smoothing == "stupid_backoff":
        return _stupid_backoff(counts, float(np.log(config.backoff_factor)))
    return _additive(counts, config.added_count if config.smoothing == "add_k" else 0.0)


def adjusted_counts(counts: Sequence[Counts], *, start_mark: bool) -> list[Ids]:
    """Kneser-Ney's counts: below the highest order, how many different words stand to the left of an n-gram.

    An n-gram that begins with the start mark has no left word and keeps its occurrences. Without the mark the edge of
    a document counts as one more left word, so that nothing seen has a count of 0.
    """
    adjusted = []
    for lower, higher in pairwise(counts):
        at_edge = np.where(lower.edges, lower.raw if start_mark else 1, 0)
        adjusted.append(np.bincount(higher.suffixes, minlength=len(lower.keys)) + at_edge)
    adjusted.append(counts[-1].raw.copy())
    adjusted[0][-1] = 0
    return adjusted


def discounts_of(tally: Ids, smoothing: Smoothing) -> tuple[Discounts | None, str]:
    """What to take off counts of 1, 2 and 3 or more; or None and the reason why the counts do not tell."""
    n1, n2, n3, n4 = (int(np.count_nonzero(tally == count)) for count in (1, 2, 3, 4))
    needed = (n1, n2) if smoothing == "kneser_ney" else (n1, n2, n3)
    if 0 in needed:
        return None, f"no n-gram has a count of {needed.index(0) + 1}"
    y = n1 / (n1 + 2 * n2)
    if smoothing == "kneser_ney":
        return (y, y, y), ""
    discounts = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    if not _possible(discounts):
        return None, "a discount of {:.3g}, {:.3g}, {:.3g} is below 0 or above its count".format(*discounts)
    return discounts, ""


def _kneser_ney(counts: Sequence[Counts], config: NgramConfig) -> Estimate:
    probabilities, freed, discounts = [], [], []
    lower = np.array([1 / (len(counts[0].keys) - 1)])  # below the unigrams: the same for every word
    for order, (each, tally) in enumerate(
        zip(counts, adjusted_counts(counts, start_mark=config.start_mark), strict=True), start=1
    ):
        discounts.append(_discounts(tally, order, config))
        taken = np.array([0.0, *discounts[-1]])[np.minimum(tally, 3)]
        totals = np.bincount(each.contexts, weights=tally, minlength=len(lower))
        mass = np.bincount(each.contexts, weights=taken, minlength=len(lower))
        free = np.divide(mass, totals, out=np.ones(len(lower)), where=totals > 0)
        lower = (tally - taken) / totals[each.contexts] + free[each.contexts] * lower[each.suffixes]
        probabilities.append(lower)
        freed.append(free)
    probabilities[0][-1] = 1.0  # the start mark is given, as the 0 beside <s> in an ARPA file says
    unseen = [*map(_log, freed[1:]), np.zeros(len(counts[-1].keys))]
    return Estimate(
        tables=_tables(counts, probabilities, unseen), backs_off=True, unseen_context=0.0, discounts=tuple(discounts)
    )


def _discounts(tally: Ids, order: int, config: NgramConfig) -> Discounts:
    discounts, reason = discounts_of(tally, config.smoothing)
    if discounts is not None:
        return discounts
    if config.fallback_discounts is None:
        raise ValueError(
            f"ngram: order {order}: {reason}, so its discounts cannot be estimated: give more text, a lower order, or "
            "fallback_discounts such as 0.5, 1, 1.5"
        )
    d1, d2, d3 = config.fallback_discounts
    return (d1, d1, d1) if config.smoothing == "kneser_ney" else (d1, d2, d3)


def _stupid_backoff(counts: Sequence[Counts], log_factor: float) -> Estimate:
    shares = [_shares(counts, number, added=0.0)[0] for number in range(len(counts))]
    unseen = [np.full(len(each.keys), log_factor) for each in counts]
    return Estimate(tables=_tables(counts, shares, unseen), backs_off=True, unseen_context=log_factor)


def _additive(counts: Sequence[Counts], added: float) -> Estimate:
    shares, left = zip(*(_shares(counts, number, added=added) for number in range(len(counts))), strict=True)
    unseen = [*map(_log, left[1:]), np.zeros(len(counts[-1].keys))]
    never = -float(np.log(len(counts[0].keys) - 1)) if added else -np.inf
    return Estimate(tables=_tables(counts, shares, unseen), backs_off=False, unseen_context=never)


def _shares(counts: Sequence[Counts], number: int, *, added: float) -> tuple[Floats, Floats]:
    """(c(hw) + added) / (c(h) + added V) of each row, and what that leaves a word unseen after each context h."""
    words = len(counts[0].keys) - 1
    raw = counts[number].raw.copy()
    if number == 0:
        raw[-1] = 0
    contexts = len(counts[number - 1].keys) if number else 1
    totals = np.bincount(counts[number].contexts, weights=raw, minlength=contexts) + added * words
    unseen = np.divide(added, totals, out=np.zeros(contexts), where=totals > 0)
    return (raw + added) / totals[counts[number].contexts], unseen


def _tables(counts: Sequence[Counts], probabilities: Sequence[Floats], unseen: Sequence[Floats]) -> tuple[Table, ...]:
    return tuple(
        Table(keys=each.keys, log_probabilities=_log(probability), unseen=left)
        for each, probability, left in zip(counts, probabilities, unseen, strict=True)
    )


def _possible(discounts: Discounts) -> bool:
    return all(0 <= discount <= count for count, discount in enumerate(discounts, start=1))


def _log(values: Floats) -> Floats:
    with np.errstate(divide="ignore"):  # a probability of 0 is -inf, and meant
        return np.log(values)
