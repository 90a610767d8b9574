"""The verdict on abilities whose nature is known: what is a jump of the measure, what one of the model, what neither."""

import numpy as np
import pytest
from planted import SIZES, Planted, linear, planted, power_law, step

from tasks.emergence.verdict import Curve, Verdict, judge, shape
from tasks.evaluation.seed_intervals import interval, resampled_means


def verdict_of(found: Planted) -> Verdict:
    return judge(found.exact, found.nats, {"edit_distance": found.distance})


@pytest.mark.parametrize("seed", range(5))
def test_a_power_law_in_the_nats_makes_exact_match_sharp_and_nothing_else(seed: int) -> None:
    verdict = verdict_of(planted(power_law, seed=seed))
    assert verdict.verdict == "metric-induced", verdict.reason
    assert verdict.shapes["exact_match"].is_sharp
    assert verdict.shapes["token_nats"].is_not_sharp
    assert verdict.shapes["edit_distance"].is_not_sharp


@pytest.mark.parametrize("exponent", [0.4, 0.6, 0.9, 1.2])
@pytest.mark.parametrize("critical", [1e6, 1e7, 1e8])
def test_no_power_law_is_ever_a_jump_of_the_nats(critical: float, exponent: float) -> None:
    """Improvements that get slower leave every straight line above them: a theorem, so noise alone is allowed for."""
    found = planted(lambda n: power_law(n, critical=critical, exponent=exponent))
    assert shape(found.nats).missed < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_a_step_of_the_model_is_sharp_under_both(seed: int) -> None:
    verdict = verdict_of(planted(step, seed=seed))
    assert verdict.verdict == "sharp under both", verdict.reason
    assert verdict.shapes["edit_distance"].is_sharp


@pytest.mark.parametrize("seed", range(5))
def test_a_linear_ability_is_smooth(seed: int) -> None:
    """One token: exact match is its probability, which rises along a straight line."""
    verdict = verdict_of(planted(linear, tokens=1, seed=seed))
    assert verdict.verdict == "smooth", verdict.reason
    assert not verdict.shapes["exact_match"].is_sharp


def test_the_error_rates_of_the_test_itself() -> None:
    """Over 30 draws: a straight line is never called sharp, a jump of the measure is seen nearly always."""
    lines = [verdict_of(planted(linear, tokens=1, seed=seed, items=200)).verdict for seed in range(30)]
    jumps = [verdict_of(planted(power_law, seed=seed, items=200)).verdict for seed in range(30)]
    assert lines.count("smooth") >= 27
    assert lines.count("metric-induced") + lines.count("sharp under both") == 0
    assert jumps.count("metric-induced") >= 27


@pytest.mark.parametrize("p", [0.3, 0.6, 0.9])
def test_exact_match_of_five_tokens_is_the_fifth_power(p: float) -> None:
    found = planted(lambda _: p, items=1000, seeds=3, spread=0.0)
    error = np.sqrt(p**5 * (1 - p**5) / (3 * 1000))
    assert np.abs(found.exact.means - p**5).max() <= 3 * error
    assert np.allclose(found.nats.means, np.log(p))


def test_too_few_items_resolve_nothing() -> None:
    verdict = verdict_of(planted(power_law, items=8))
    assert verdict.verdict == "not resolved"
    assert "take more items" in verdict.reason


def test_what_never_rises_is_not_resolved() -> None:
    verdict = verdict_of(planted(lambda _: 0.1))
    assert verdict.verdict == "not resolved"
    assert "does not rise" in verdict.reason


def test_what_the_smallest_can_do_already_is_said_to_be_there() -> None:
    verdict = verdict_of(planted(lambda _: 0.9999))
    assert verdict.verdict == "not resolved"
    assert "the smallest" in verdict.reason


def test_three_sizes_are_too_few() -> None:
    verdict = verdict_of(planted(step, sizes=SIZES[2:5]))
    assert (verdict.verdict, verdict.reason) == ("not resolved", "fewer than 4 sizes")


def test_the_missed_share_by_hand() -> None:
    """Sizes e^0..e^3, means 0 0 0 1: both lines say 0 at the last, which is the whole rise; 0 1 2 3 is a line."""
    sizes = tuple(round(1e6 * np.exp(place)) for place in range(4))
    means = np.array([0.0, 0.0, 0.0, 1.0])
    assert shape(Curve(parameters=sizes, scores=means[:, None, None])).missed == pytest.approx(1.0, abs=1e-6)
    line = shape(Curve(parameters=sizes, scores=np.arange(4.0)[:, None, None]))
    assert (line.rise, line.missed) == (3.0, pytest.approx(0.0, abs=1e-5))
    # 0 1 1 4 at 0 1 2 3: through the first three 1/6 + x/2, which says 5/3 at 3; 7/3 of a rise of 4 is missed.
    bent = shape(Curve(parameters=sizes, scores=np.array([0.0, 1.0, 1.0, 4.0])[:, None, None]))
    assert bent.missed == pytest.approx(7 / 12, abs=1e-5)


@pytest.mark.parametrize("seeds", [3, 4, 5])
def test_an_interval_is_wide_enough_for_both_seeds_and_items(seeds: int) -> None:
    """Luck of the seed plus luck of the item: 95 % intervals hold the truth about 95 times of 100, three seeds or ten.

    A bootstrap of seeds and items does 79 times with three seeds; one over items alone, which forgets the seeds, one in six.
    """
    inside = 0
    for trial in range(200):
        generator = np.random.default_rng(trial)
        scores = generator.standard_normal((seeds, 1)) + generator.standard_normal((1, 100))
        _, low, high = interval(scores)
        inside += low <= 0.0 <= high
    assert 180 <= inside <= 196


def test_an_interval_over_seeds_alone_is_students() -> None:
    """1, 2, 3: mean 2, standard error 1 / sqrt 3, and 4.3027 is the 97.5 % point of two degrees of freedom (Student 1908)."""
    mean, low, high = interval(np.repeat([[1.0], [2.0], [3.0]], 50, axis=1))
    assert (mean, high - mean, mean - low) == pytest.approx((2.0, 4.302653 / 3**0.5, 4.302653 / 3**0.5), rel=1e-6)


def test_equal_scores_have_no_interval() -> None:
    assert np.ptp(resampled_means(np.full((2, 3, 10), 0.5)), axis=0).max() < 1e-12


def test_curves_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="sizes must rise"):
        Curve(parameters=(2, 1), scores=np.zeros((2, 1, 1)))
    with pytest.raises(ValueError, match="3 sizes need scores"):
        Curve(parameters=(1, 2, 3), scores=np.zeros((2, 1, 1)))
