"""Intervals that hold what they promise, on data whose truth is known."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from tasks.evaluation.intervals import (
    difference_interval,
    grouped_interval,
    mean_interval,
    paired_interval,
    range_interval,
    ratio_interval,
    scores_interval,
    share_interval,
    standard_error,
)
from tasks.release.gates import ReleaseGate, judge_release

# fewer draws than in use, so that hundreds of intervals take seconds; the share outside moves by about half a percent
DRAWS = 1000


def covered(truth: float, simulate: Callable[[np.random.Generator], tuple[float, float]], runs: int = 400) -> float:
    """The share of simulated intervals that hold the truth."""
    found = [simulate(np.random.default_rng(1000 + run)) for run in range(runs)]
    return sum(low <= truth <= high for low, high in found) / runs


def test_a_95_percent_interval_of_a_mean_holds_the_truth_in_about_95_percent() -> None:
    def simulate(chance: np.random.Generator) -> tuple[float, float]:
        interval = mean_interval(chance.gamma(2.0, size=80), draws=DRAWS)
        return interval.low, interval.high

    assert 0.90 <= covered(2.0, simulate) <= 0.98


def test_a_share_of_right_answers_is_covered_too() -> None:
    def simulate(chance: np.random.Generator) -> tuple[float, float]:
        interval = mean_interval((chance.random(100) < 0.3).astype(float), draws=DRAWS)
        return interval.low, interval.high

    assert 0.90 <= covered(0.3, simulate) <= 0.98


def clustered(chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """40 documents of unequal length; what stands in one document has an effect of its document in common."""
    lengths = chance.integers(5, 60, size=40)
    return np.array([(chance.normal(1.0, 0.5) + chance.normal(0, 1, size=n)).sum() for n in lengths]), lengths


def test_documents_are_resampled_since_their_tokens_are_not_independent() -> None:
    """By document the interval holds; one that takes tokens for independent would be far too sure."""

    def by_document(chance: np.random.Generator) -> tuple[float, float]:
        interval = ratio_interval(*clustered(chance), draws=DRAWS)
        return interval.low, interval.high

    def by_token(chance: np.random.Generator) -> tuple[float, float]:
        sums, lengths = clustered(chance)
        mean, half = sums.sum() / lengths.sum(), 1.96 * math.sqrt((1 + 0.25) / lengths.sum())
        return mean - half, mean + half

    assert 0.90 <= covered(1.0, by_document) <= 0.98
    assert covered(1.0, by_token) < 0.75


def test_a_ratio_weighs_documents_by_their_length() -> None:
    interval = ratio_interval([10.0, 90.0], [10.0, 30.0])
    assert interval.value == 100 / 40
    assert (interval.low, interval.high) == (1.0, 3.0)  # only the first document drawn, or only the second
    assert interval.n == 2
    # half of the draws hold both: their ratio is that of the sums, 2.5, and not the mean of 1 and 3
    middle = ratio_interval([10.0, 90.0], [10.0, 30.0], confidence=0.2)
    assert (middle.low, middle.high) == (2.5, 2.5)


def test_the_error_of_a_mean_is_the_known_one() -> None:
    """537 of 1319 right: standard error .01353 (reference value), so the interval is 1.96 of it to either side."""
    interval = mean_interval([1.0] * 537 + [0.0] * (1319 - 537))
    assert interval.value == pytest.approx(537 / 1319)
    assert (interval.high - interval.low) / 2 / 1.96 == pytest.approx(0.013532, rel=0.03)


def test_the_standard_error_is_the_sample_deviation_over_the_root_of_n() -> None:
    assert standard_error([1.0] * 537 + [0.0] * (1319 - 537)) == pytest.approx(0.013532, abs=1e-6)
    assert standard_error([1.0, 2.0, 6.0]) == pytest.approx(math.sqrt(((-2) ** 2 + (-1) ** 2 + 3**2) / 2 / 3))
    with pytest.raises(ValueError, match="at least two items, found 1"):
        standard_error([1.0])


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # Newcombe 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_wilsons(right: int, n: int, low: float, high: float) -> None:
    found = share_interval(right, n)
    assert (found.value, found.n) == (right / n, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    mirrored = share_interval(n - right, n)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize(("right", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_a_share_of_nothing_is_refused(right: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"found {right} of {n}"):
        share_interval(right, n)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        # z = 1.959964, z^2 = 3.841459; of n items up to z^2 / (n + z^2) may be otherwise
        ([0.0] * 24, 0.0, 3.841459 / 27.841459),
        ([1.0] * 24, 24 / 27.841459, 1.0),
        ([0.5] * 20, 0.5 - 0.5 * 3.841459 / 23.841459, 0.5 + 0.5 * 3.841459 / 23.841459),
        ([0.5], 0.0, 1.0),
    ],
)
def test_scores_that_are_all_the_same_are_not_certain_of_others(values: list[float], low: float, high: float) -> None:
    found = scores_interval(values)
    assert (found.value, found.n) == (values[0], len(values))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-7), pytest.approx(high, abs=1e-7))


@pytest.mark.parametrize(
    ("after", "before", "value", "low", "high"),
    [
        (0.0, 0.0, 0.0, -3.841459 / 103.841459, 3.841459 / 103.841459),
        (1.0, 0.0, 1.0, 1 - 2 * 3.841459 / 103.841459, 1.0),
        (0.9, 0.6, 0.3, 0.3 - 1.3 * 3.841459 / 103.841459, 0.3 + 0.7 * 3.841459 / 103.841459),
    ],
)
def test_a_difference_that_is_the_same_everywhere_is_not_certain_either(
    after: float, before: float, value: float, low: float, high: float
) -> None:
    found = difference_interval([after] * 100, [before] * 100)
    assert (found.value, found.low, found.high) == pytest.approx((value, low, high), abs=1e-7)
    other = difference_interval([0.0, 1.0] * 50, [0.0] * 100)
    assert other == paired_interval([0.0, 1.0] * 50, [0.0] * 100)


def test_ways_of_asking_that_never_differed_may_differ_on_others() -> None:
    found = range_interval([[1.0, 0.0] * 12] * 3)
    assert (found.value, found.low, found.n) == (0.0, 0.0, 24)
    assert found.high == pytest.approx(3.841459 / 27.841459, abs=1e-7)
    everywhere = range_interval([[1.0] * 24, [0.0] * 24])
    assert (everywhere.value, everywhere.high) == (1.0, 1.0)
    assert everywhere.low == pytest.approx(24 / 27.841459, abs=1e-7)


def test_samples_of_few_questions_are_covered_and_counted() -> None:
    """Of 25 samples of a question as many are right as that question is easy; 400 draws of a coin they are not."""

    def simulate(chance: np.random.Generator) -> tuple[float, float]:
        easy = chance.beta(0.5, 0.5, size=16)  # of mean one half
        found = grouped_interval((chance.random((16, 25)) < easy[:, None]).astype(float).tolist())
        assert found.n == 400
        return found.low, found.high

    assert covered(0.5, simulate, runs=150) >= 0.88
    assert grouped_interval([[1.0, 0.0], [0.0]]).value == pytest.approx(1 / 3)
    assert (grouped_interval([[1.0, 0.0]]).low, grouped_interval([[1.0, 0.0]]).high) == (0.0, 1.0)


def test_the_interval_of_what_was_never_seen_is_covered() -> None:
    """Something that happens once in 50 is not seen among 24 items in three of five samples; a bootstrap says never."""

    def simulate(chance: np.random.Generator) -> tuple[float, float]:
        found = scores_interval((chance.random(24) < 0.02).astype(float).tolist())
        return found.low, found.high

    assert covered(0.02, simulate) >= 0.90


def test_pairing_is_tighter_where_the_items_decide() -> None:
    chance = np.random.default_rng(3)
    difficulty = chance.normal(0, 1, size=200)
    before, after = difficulty + chance.normal(0, 0.1, 200), difficulty + 0.1 + chance.normal(0, 0.1, 200)
    paired = paired_interval(after, before)
    assert paired.value == pytest.approx(after.mean() - before.mean())
    assert paired.low > 0, "the items' own difficulty cancels"
    unpaired = (
        mean_interval(after).high - mean_interval(after).low + mean_interval(before).high - mean_interval(before).low
    )
    assert (paired.high - paired.low) < 0.2 * unpaired


def test_pairing_with_weights_is_the_ratio_of_the_sums() -> None:
    interval = paired_interval([3.0, 8.0], [1.0, 2.0], [1.0, 3.0])
    assert interval.value == (2 + 6) / 4
    assert paired_interval([3.0, 8.0], [1.0, 2.0]).value == 4


def test_the_same_figures_give_the_same_interval_and_equal_ones_no_width() -> None:
    values = np.random.default_rng(1).normal(size=50)
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values.tolist()) == mean_interval(values)
    constant = mean_interval([0.25] * 30)
    assert (constant.low, constant.high) == (0.25, 0.25)
    wide, narrow = mean_interval(values, confidence=0.99), mean_interval(values, confidence=0.5)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_a_figure_that_is_no_number_is_not_hidden() -> None:
    interval = mean_interval([1.0, float("nan"), 2.0])
    assert math.isnan(interval.value)
    assert math.isnan(interval.low)


def test_nothing_has_no_interval_and_unlike_items_are_not_paired() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        mean_interval([])
    with pytest.raises(ValueError, match="at least one item"):
        ratio_interval([1.0], [0.0])
    with pytest.raises(ValueError, match="the same items, found 3 and 2"):
        paired_interval([1.0] * 3, [1.0] * 2)


def shares(first: float, second: float, chance: np.random.Generator) -> list[list[float]]:
    """Right or wrong on 300 questions, of which a quarter is too hard for both models."""
    possible = chance.random(300) >= 0.25
    return [(possible & (chance.random(300) < share / 0.75)).astype(float).tolist() for share in (first, second)]


def decided(first: float, second: float, runs: int = 200) -> float:
    """The share of runs in which the second model is said to be better than the first."""
    passes = 0
    for run in range(runs):
        before, after = shares(first, second, np.random.default_rng(run))
        figures = {
            "candidate": mean_interval(after, draws=1).record() | {"identity": {"data": "d"}},
            "production": mean_interval(before, draws=1).record() | {"identity": {"data": "d"}},
            "over_production": ratio_interval(np.subtract(after, before), np.ones(300), draws=DRAWS).record(),
        }
        passes += judge_release(figures, ReleaseGate(max_loss_exact_match=0.0)).passed
    return passes / runs


def test_a_gate_seldom_takes_chance_for_progress_and_sees_a_planted_gain() -> None:
    """A / A: two models of one quality. The bound is two-sided 95 %, so one in forty passes; the error of 200 runs is 1 %."""
    assert decided(0.5, 0.5) <= 0.05 + 0.02
    assert decided(0.5, 0.65) >= 0.8
