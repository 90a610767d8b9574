"""Calibration: by hand, on probabilities that are the truth by construction, and what is refused."""

import numpy as np
import pytest

from tasks.evaluation.calibration import (
    brier_interval,
    calibration_error,
    calibration_interval,
    reliability,
    squared_distances,
)


@pytest.mark.parametrize("bins", [10, 15])
def test_probabilities_that_are_true_have_no_error_to_speak_of(bins: int) -> None:
    chance = np.random.default_rng(7)
    p = chance.random(100_000)
    right = (chance.random(100_000) < p).astype(float)
    assert calibration_error(p, right, bins=bins) < 0.01
    assert calibration_error(p, right[::-1].copy(), bins=bins) > 0.2  # the same answers in another order
    assert squared_distances(p, right).mean() == pytest.approx(1 / 6, abs=0.003)  # the integral of p (1 - p)


def test_the_error_by_hand() -> None:
    """Two answers at .95 of which one is right, two at .25 of which none is: (2 * .45 + 2 * .25) / 4."""
    p, right = [0.95, 0.95, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]
    assert calibration_error(p, right) == pytest.approx(0.35)
    assert brier_interval(p, right).value == pytest.approx((0.05**2 + 0.95**2 + 2 * 0.25**2) / 4)
    first, last = reliability(p, right)
    assert (first.low, first.high, first.n, first.probability, first.right) == (0.2, 0.3, 2, 0.25, 0.0)
    assert (last.n, last.right) == (2, 0.5)


def test_gaps_cancel_inside_a_bin_and_not_between_bins() -> None:
    assert calibration_error([0.62, 0.68, 0.65], [1.0, 0.0, 0.95]) == pytest.approx(0.0)
    assert calibration_error([0.5, 0.45], [0.95, 0.0]) == pytest.approx(0.45)
    assert calibration_error([1.0, 0.0], [1.0, 0.0]) == 0.0  # a certain answer stands in the last bin


def test_the_interval_holds_the_figure_and_narrows() -> None:
    chance = np.random.default_rng(1)

    def interval(n: int) -> tuple[float, float, float]:
        p = chance.random(n)
        found = calibration_interval(p, (chance.random(n) < p / 2).astype(float))
        return found.low, found.value, found.high

    wide, narrow = interval(50), interval(2000)
    assert wide[0] <= wide[1] <= wide[2]
    assert narrow[2] - narrow[0] < (wide[2] - wide[0]) / 3
    assert narrow[0] < 0.25 < narrow[2]  # the mean of p - p / 2


@pytest.mark.parametrize(
    ("p", "right", "bins", "said"),
    [
        ([0.5], [1.0, 0.0], 10, "1 probabilities for 2 answers"),
        ([], [], 10, "at least one"),
        ([-0.7], [1.0], 10, "not its logarithm"),
        ([float("nan")], [1.0], 10, "outside 0 to 1"),
        ([0.5], [1.0], 5, "use 10 to 15"),
    ],
)
def test_what_has_no_calibration_is_refused(p: list[float], right: list[float], bins: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        calibration_error(p, right, bins=bins)


def test_answers_that_all_miss_by_the_same_are_not_certain_of_others() -> None:
    """Of 20 up to z^2 / (20 + z^2) others may not; of one nothing is known."""
    found = calibration_interval([0.9] * 20, [0.0] * 20)
    others = 3.841459 / 23.841459
    assert (found.value, found.low, found.high) == pytest.approx((0.9, 0.9 - 0.9 * others, 0.9 + 0.1 * others))
    one = calibration_interval([0.9], [1.0])
    assert (one.value, one.low, one.high) == (pytest.approx(0.1), 0.0, 1.0)
