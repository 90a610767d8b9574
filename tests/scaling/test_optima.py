"""Approaches 1 and 2: planted optima come back, and public iso-FLOP tables give their published exponents."""

import csv
from pathlib import Path

import numpy as np
import pytest

from tasks.scaling.envelope import fit_envelope
from tasks.scaling.isoflop import budgets, fit_isoflop
from tasks.scaling.laws import BESIROGLU
from tasks.scaling.runs import of_arrays, read_runs
from tests.scaling.planted import TRUE_EXPONENT, curves, planted

KEYS = ("table", "dataset", "hparams", "warmup", "decay", "param_count", "val")


def test_flops_that_were_rounded_are_one_budget() -> None:
    groups = budgets(np.array([1e18, 3.0e18, 1.04e18, 0.98e18, 3.1e18]))
    assert [sorted(group.tolist()) for group in groups] == [[0, 2, 3], [1, 4]]


@pytest.mark.parametrize("seed", range(3))
def test_parabolas_find_the_planted_exponent(seed: int) -> None:
    fit = fit_isoflop(planted(0.002, seed), bootstraps=100)
    assert abs(fit.exponent_n - TRUE_EXPONENT) <= 0.01
    assert fit.exponent_n + fit.exponent_d == pytest.approx(1, abs=1e-6)
    low, high = np.quantile(fit.samples[:, 0], [0.01, 0.99])
    assert low < fit.exponent_n < high < low + 0.05
    assert all(valley.r_squared > 0.95 for valley in fit.valleys)


def test_a_parabola_is_fitted_exactly() -> None:
    """L = 3 + 0.1 (ln N - ln 1e8)^2 at one budget and the same around 2e8 at 4 times as much: C^0.5."""
    sizes = np.geomspace(2e7, 5e8, 7)
    rows = [(n, best, c) for best, c in ((1e8, 1e18), (2e8, 4e18)) for n in sizes]
    losses = [3 + 0.1 * np.log(n / best) ** 2 for n, best, _ in rows]
    fit = fit_isoflop(of_arrays([r[0] for r in rows], [r[2] / 6 / r[0] for r in rows], losses), bootstraps=0)
    assert [valley.parameters for valley in fit.valleys] == pytest.approx([1e8, 2e8], rel=1e-6)
    assert fit.exponent_n == pytest.approx(0.5, abs=1e-6)


def test_a_budget_whose_best_size_was_not_trained_is_left_out_and_one_budget_is_no_law() -> None:
    sizes = np.geomspace(1e7, 1e8, 6)
    falling = of_arrays(sizes, 1e18 / 6 / sizes, np.linspace(4, 3, 6) ** 1.1)
    with pytest.raises(ValueError, match=r"at least 2 budgets .* found 0 .*whose"):
        fit_isoflop(falling, bootstraps=0)


def test_the_envelope_of_curves_finds_the_planted_exponent() -> None:
    fit = fit_envelope(curves(), bootstraps=20)
    assert fit.curves == 12
    assert fit.exponent_n == pytest.approx(TRUE_EXPONENT, abs=0.03)
    assert np.allclose(fit.loss, [BESIROGLU.loss(*BESIROGLU.optimum(c)) for c in fit.flops], rtol=0.005)


def test_without_curves_there_is_no_envelope() -> None:
    sizes = np.geomspace(1e7, 1e8, 6)
    with pytest.raises(ValueError, match="approach 1 needs training curves"):
        fit_envelope(of_arrays(sizes, 20 * sizes, np.linspace(4, 3, 6)), bootstraps=0)


def test_porians_tables_give_the_published_exponents(test_data: Path) -> None:
    """15 ways of training and counting, C^0.50 to C^0.87 (Porian et al. 2024); they interpolate where we fit parabolas."""
    folder = test_data / "scaling_discrepancies"
    with (folder / "fits.csv").open(encoding="utf-8") as stream:
        published = list(csv.DictReader(stream))
    assert len(published) == 15
    for row in published:
        runs = read_runs(folder / "isoflop_points.csv", where=[f"{key}={row[key]}" for key in KEYS])
        assert fit_isoflop(runs, bootstraps=0).exponent_n == pytest.approx(float(row["n_exponent"]), abs=0.03)
        assert fit_envelope(runs, bootstraps=0).exponent_n == pytest.approx(float(row["n_exponent"]), abs=0.03)


def test_published_optima_give_the_published_exponent(test_data: Path) -> None:
    folder = test_data / "scaling_discrepancies"
    where = ["table=summary_df", "hparams=tuned"]
    fit = fit_envelope(read_runs(folder / "optimal_pairs.csv", where=where), bootstraps=0)
    assert fit.exponent_n == pytest.approx(0.497, abs=5e-4)
