"""Several samples of a question: pass@k against its definition, and what a majority makes of weak samples."""

import math

import numpy as np
import pytest

from tasks.evaluation.repeats import majority, pass_at_k


@pytest.mark.parametrize(
    ("samples", "right", "k", "chance"),
    [
        (5, 2, 2, 1 - 3 / 10),  # of ten pairs three hold none of the two
        (10, 3, 1, 0.3),
        (200, 1, 100, 0.5),
        (4, 0, 4, 0.0),
        (4, 1, 4, 1.0),
        (4, 3, 2, 1.0),  # any two hold a right one
    ],
)
def test_pass_at_k_by_hand(samples: int, right: int, k: int, chance: float) -> None:
    assert pass_at_k(samples, right, k) == pytest.approx(chance)


def test_the_product_is_the_quotient_of_binomials() -> None:
    for samples in range(1, 13):
        for right in range(samples + 1):
            for k in range(1, samples + 1):
                exact = 1 - math.comb(samples - right, k) / math.comb(samples, k)
                assert pass_at_k(samples, right, k) == pytest.approx(exact)


@pytest.mark.parametrize("chance", [0.05, 0.4, 0.9])
def test_pass_at_k_is_unbiased(chance: float) -> None:
    """Its mean over all outcomes of 20 samples is the chance that one of k passes, 1 - (1 - p)^k (Chen et al. 2021)."""
    weights = [math.comb(20, right) * chance**right * (1 - chance) ** (20 - right) for right in range(21)]
    for k in (1, 5, 20):
        mean = sum(weight * pass_at_k(20, right, k) for right, weight in enumerate(weights))
        assert mean == pytest.approx(1 - (1 - chance) ** k)


@pytest.mark.parametrize(("samples", "right", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0)])
def test_impossible_counts_are_refused(samples: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match="1 <= k <= samples"):
        pass_at_k(samples, right, k)


@pytest.mark.parametrize(
    ("answers", "most"),
    [
        (["3", "4", "4"], "4"),
        (["5", "4", "4", "5"], "5"),  # of equal ones the first seen
        ([None, None, "", "7"], "7"),  # samples without an answer have no vote
        ([None, ""], None),
        ([], None),
    ],
)
def test_the_majority_of_those_that_answer(answers: list[str | None], most: str | None) -> None:
    assert majority(answers) == most


def test_a_majority_of_forty_is_right_where_one_sample_is_right_in_four_of_ten() -> None:
    """The other six answers share the rest evenly."""
    chance = np.random.default_rng(0)
    draws = chance.choice(7, size=(500, 40), p=[0.4, *[0.1] * 6])
    assert np.mean(draws == 0) == pytest.approx(0.4, abs=0.01)
    assert np.mean([majority(map(str, row)) == "0" for row in draws]) > 0.95
