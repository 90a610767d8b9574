"""Published laws: the figures that follow from their constants (references, 4.1 to 4.3)."""

import numpy as np
import pytest

from tasks.scaling.laws import (
    BESIROGLU,
    KAPLAN_C_MIN,
    KAPLAN_D,
    KAPLAN_JOINT,
    KAPLAN_N,
    PRINTED,
    TEX,
    Chinchilla,
    fit_power,
    kaplan_compute_exponent,
    kaplan_tokens_needed,
)


@pytest.mark.parametrize(
    ("law", "x", "loss"),
    [
        (KAPLAN_N, 1e6, 4.01588), (KAPLAN_N, 1e8, 2.82996), (KAPLAN_N, 1.5e9, 2.30355),
        (KAPLAN_D, 1e8, 3.50411), (KAPLAN_D, 1e9, 2.81564), (KAPLAN_D, 22e9, 2.09917),
        (KAPLAN_C_MIN, 1e-3, 3.75464), (KAPLAN_C_MIN, 1, 2.65808), (KAPLAN_C_MIN, 100, 2.11139),
    ],
)  # fmt: skip
def test_kaplans_single_laws(law: object, x: float, loss: float) -> None:
    assert law.loss(x) == pytest.approx(loss, abs=1e-4)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("parameters", "tokens", "loss"), [(1e6, 1e8, 4.03131), (1e8, 1e9, 2.95673), (1e9, 22e9, 2.36932)]
)
def test_kaplans_joint_law_has_constants_of_its_own(parameters: float, tokens: float, loss: float) -> None:
    assert KAPLAN_JOINT.loss(parameters, tokens) == pytest.approx(loss, abs=1e-4)


def test_kaplans_text_for_a_size_and_the_exponent_of_compute() -> None:
    assert kaplan_tokens_needed(1e9) == pytest.approx(2.285e10, rel=1e-3)
    assert kaplan_compute_exponent(0.076, 0.76, 0.21) == pytest.approx(0.0520, abs=1e-4)


@pytest.mark.parametrize(("law", "loss"), [(PRINTED, 1.93665), (BESIROGLU, 1.97388)])
def test_chinchillas_own_loss(law: Chinchilla, loss: float) -> None:
    assert law.loss(70e9, 1.4e12) == pytest.approx(loss, abs=1e-4)


@pytest.mark.parametrize(
    ("law", "parameters", "tokens"), [(PRINTED, 1.8242e9, 9.136e10), (BESIROGLU, 2.7785e9, 5.9985e10)]
)
def test_the_best_size_for_a_budget(law: Chinchilla, parameters: float, tokens: float) -> None:
    assert law.optimum(1e21) == pytest.approx((parameters, tokens), rel=1e-3)


@pytest.mark.parametrize(("law", "ratio"), [(BESIROGLU, 18.4), (PRINTED, 92.8), (TEX, 59.0)])
def test_tokens_a_parameter_at_chinchillas_compute(law: Chinchilla, ratio: float) -> None:
    parameters, tokens = law.optimum(5.88e23)
    assert tokens / parameters == pytest.approx(ratio, rel=0.01)


def test_no_other_size_is_better_than_the_optimum() -> None:
    best = BESIROGLU.loss(*BESIROGLU.optimum(1e20))
    sizes = np.geomspace(1e7, 1e11, 2001)
    assert best <= min(BESIROGLU.loss(n, 1e20 / 6 / n) for n in sizes) + 1e-9


def test_a_cap_on_text_is_kept_and_the_budget_too() -> None:
    parameters, tokens = BESIROGLU.optimum(1e18, most_tokens_per_parameter=5)
    assert tokens / parameters == pytest.approx(5)
    assert 6 * parameters * tokens == pytest.approx(1e18)


def test_tokens_for_a_loss_reach_it_and_some_losses_are_out_of_reach() -> None:
    tokens = BESIROGLU.tokens_for(2.5, 1e9)
    assert tokens is not None
    assert BESIROGLU.loss(1e9, tokens) == pytest.approx(2.5)
    assert BESIROGLU.tokens_for(2.0, 1e8) is None


def test_a_power_law_is_found_as_it_was_planted() -> None:
    x = np.geomspace(1, 1e6, 7)
    (intercept,), (slope,) = fit_power(x, 3 * x**-0.5)
    assert (np.exp(intercept), slope) == pytest.approx((3, -0.5))
