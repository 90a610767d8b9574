"""Approach 3 and Kaplan's joint law: planted laws come back, optima are true optima, intervals cover what they claim."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tasks.scaling.descent import DELTA, huber
from tasks.scaling.held_out import held_out
from tasks.scaling.kaplan import fit_kaplan
from tasks.scaling.laws import BESIROGLU, KAPLAN_JOINT
from tasks.scaling.parametric import fit_parametric, grid
from tasks.scaling.runs import Runs, of_arrays
from tests.scaling.planted import FEW_STARTS, TRUE_EXPONENT, planted, small_ladder


def test_the_grid_is_the_papers() -> None:
    starts = grid()
    assert starts.shape == (4500, 5)
    assert sorted(set(starts[:, 2])) == [-1, -0.5, 0, 0.5, 1]


def test_huber_is_a_square_inside_delta_and_a_line_beyond() -> None:
    assert huber(np.array([0.0, 0.5e-3, 2e-3])) == pytest.approx([0, 0.125e-6, 1e-3 * (2e-3 - 0.5e-3)])


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_law_comes_back(seed: int) -> None:
    law = fit_parametric(planted(0.002, seed), starts_SP=FEW_STARTS, bootstraps=0).law
    assert abs(law.exponents[0] - TRUE_EXPONENT) <= 0.01
    assert abs(law.E - BESIROGLU.E) <= 0.02
    assert (law.alpha, law.beta) == pytest.approx((BESIROGLU.alpha, BESIROGLU.beta), abs=0.02)


def test_without_noise_every_constant_comes_back() -> None:
    law = fit_parametric(planted(0, 0), starts_SP=FEW_STARTS, bootstraps=0).law
    for name in ("E", "A", "B", "alpha", "beta"):
        assert getattr(law, name) == pytest.approx(getattr(BESIROGLU, name), rel=1e-3)


def test_the_full_grid_finds_nothing_lower_than_a_part_of_it_and_another_method_agrees() -> None:
    runs = planted(0.01, 5, budgets=6, sizes=6)
    whole = fit_parametric(runs, bootstraps=0)
    part = fit_parametric(runs, starts_SP=FEW_STARTS, bootstraps=0)
    assert whole.objective == pytest.approx(part.objective, rel=1e-9)
    assert whole.second_objective == pytest.approx(whole.objective, rel=1e-6)
    assert _nelder_mead(runs, whole.law) >= whole.objective * (1 - 1e-7)


def _nelder_mead(runs: Runs, law: object) -> float:
    """The lowest sum that a method without derivatives finds around the law; coordinates of their own."""
    names = ("E", "A", "B", "alpha", "beta")
    start = np.array([getattr(law, name) for name in names])

    def objective(shares: np.ndarray) -> float:
        e, a, b, alpha, beta = start * np.exp(shares)
        predicted = e + a / runs.parameters**alpha + b / runs.tokens**beta
        return float(huber(np.log(predicted) - np.log(runs.loss)).sum()) / DELTA

    simplex = np.vstack([np.zeros(5), 0.02 * np.eye(5)])
    options = {"initial_simplex": simplex, "xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000}
    return float(minimize(objective, np.zeros(5), method="Nelder-Mead", options=options).fun) * DELTA


def test_one_wild_row_moves_the_law_little_and_is_the_outlier() -> None:
    runs = planted(0.002, 1)
    runs.loss[40] *= 1.5
    fit = fit_parametric(runs, starts_SP=FEW_STARTS, bootstraps=0)
    assert abs(fit.law.exponents[0] - TRUE_EXPONENT) <= 0.01
    assert np.argmax(np.abs(fit.residuals)) == 40


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """80 % intervals of 50 tables hold the planted exponent in 60 to 95 % of them."""
    covered = 0
    for seed in range(50):
        fit = fit_parametric(planted(0.01, 100 + seed), starts_SP=FEW_STARTS[::10], bootstraps=60, seed=seed)
        low, high = fit.intervals(0.8)["N"]
        covered += low <= TRUE_EXPONENT <= high
    assert 30 <= covered <= 47


def test_the_same_seed_gives_the_same_intervals() -> None:
    runs = planted(0.01, 2)
    first, second = (fit_parametric(runs, starts_SP=FEW_STARTS, bootstraps=20, seed=7).samples for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, fit_parametric(runs, starts_SP=FEW_STARTS, bootstraps=20, seed=8).samples)


@pytest.mark.parametrize(
    ("count", "message"), [(5, "at least 6 rows; there are 5"), (8, "3 different values of tokens")]
)
def test_rows_that_cannot_tell_the_law_are_refused(count: int, message: str) -> None:
    runs = of_arrays(np.geomspace(1e6, 1e9, count), [1e9] * count, np.linspace(4, 3, count))
    with pytest.raises(ValueError, match=message):
        fit_parametric(runs, starts_SP=FEW_STARTS, bootstraps=0)


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_budget_is_foretold_within_five_percent(seed: int) -> None:
    found = held_out(planted(0.005, seed), starts_SP=FEW_STARTS, bootstraps=100)
    assert found["best"]["inside"]
    assert found["best"]["half_width"] <= 0.05
    assert found["rows_fitted"] == 72
    assert found["inside"] >= 7


def test_the_interval_of_a_small_ladder_holds_what_it_says() -> None:
    """A law of 5 parameters on 15 rows: without room for what these take, fewer than nine of ten lay inside."""
    found = [held_out(small_ladder(0.01, seed), starts_SP=FEW_STARTS, bootstraps=100) for seed in range(30)]
    assert sum(each["best"]["inside"] for each in found) >= 27
    assert sum(each["inside"] for each in found) >= 0.9 * 30 * 5


def test_kaplans_joint_law_comes_back() -> None:
    runs = planted(0, 0)
    losses = [KAPLAN_JOINT.loss(n, d) for n, d in zip(runs.parameters, runs.tokens, strict=True)]
    fit = fit_kaplan(of_arrays(runs.parameters, runs.tokens, losses), bootstraps=20)
    assert (fit.joint.alpha_n, fit.joint.alpha_d) == pytest.approx((0.076, 0.103), rel=1e-3)
    assert (fit.joint.n_c, fit.joint.d_c) == pytest.approx((6.4e13, 1.8e13), rel=0.02)
    assert fit.exponents[0] == pytest.approx(0.103 / 0.179, abs=1e-3)


def test_kaplans_law_of_size_goes_through_the_runs_that_had_enough_text() -> None:
    """Each size with plenty of text on the law, and again with little text far above it."""
    sizes = np.geomspace(1e6, 1e9, 6)
    losses = (8.8e13 / sizes) ** 0.076
    runs = of_arrays(np.r_[sizes, sizes], np.r_[[1e12] * 6, [1e8] * 6], np.r_[losses, losses + 1])
    single = fit_kaplan(runs, bootstraps=0).singles["N"]
    assert single.points == 6
    assert (single.law.exponent, single.law.scale) == pytest.approx((0.076, 8.8e13), rel=1e-3)
