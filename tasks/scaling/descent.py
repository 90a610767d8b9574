"""Robust fits of many starts at once: the sum of Huber losses on ln L, by damped Gauss-Newton steps over a whole grid.

Shapes: S starts (or bootstrap samples), R rows, P parameters of the law. The objective is a sum, never a mean: a mean
over hundreds of rows is so small that optimizers with absolute tolerances stop early (Besiroglu et al. 2024).
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from tasks.scaling.laws import FloatArray

DELTA = 1e-3
_BLOCK = 256  # starts at once: their Jacobians stay in the processor's cache
_RIDGE = 1e-10
_MOST_DAMPING, _LEAST_DAMPING = 1e10, 1e-4

# theta_SP -> (ln L of each row, S x R; its derivatives, S x P x R)
Law = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def huber(residual: FloatArray, delta: float = DELTA) -> FloatArray:
    """r^2 / 2 up to delta, delta (|r| - delta / 2) beyond."""
    size = np.abs(residual)
    inside = np.minimum(size, delta)
    return np.asarray(inside * (size - 0.5 * inside))


def descend(
    law: Law, target_R: FloatArray, theta_SP: FloatArray, counts_SR: FloatArray | None = None, *, steps: int = 100
) -> tuple[FloatArray, FloatArray]:
    """From every start to where it leads: (theta_SP, objective_S). `counts_SR` says how often each row counts."""
    found = [
        _descend_block(
            law,
            target_R,
            theta_SP[at : at + _BLOCK],
            None if counts_SR is None else counts_SR[at : at + _BLOCK],
            steps,
        )
        for at in range(0, len(theta_SP), _BLOCK)
    ]
    return np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])


def _descend_block(
    law: Law, target_R: FloatArray, start_SP: FloatArray, counts_SR: FloatArray | None, steps: int
) -> tuple[FloatArray, FloatArray]:
    theta_SP = start_SP.copy()
    objective_S, gradient_SP, inner_SPP, outer_SPP = _expand(law, target_R, theta_SP, counts_SR)
    damping_S = np.ones(len(theta_SP))
    at = np.arange(len(theta_SP))  # the starts that still move
    for _ in range(steps):
        step = _damped_step(gradient_SP[at], inner_SPP[at], outer_SPP[at], damping_S[at])
        trial = theta_SP[at] + step
        counts = None if counts_SR is None else counts_SR[at]
        objective, gradient, inner, outer = _expand(law, target_R, trial, counts)
        better = objective < objective_S[at]
        gained = np.where(better, objective_S[at] - objective, 0.0)
        small = gained <= 1e-11 * objective_S[at]
        moved = at[better]
        theta_SP[moved], objective_S[moved], gradient_SP[moved] = trial[better], objective[better], gradient[better]
        inner_SPP[moved], outer_SPP[moved] = inner[better], outer[better]
        damping_S[at] = np.clip(damping_S[at] * np.where(better, 0.3, 6.0), _LEAST_DAMPING, _MOST_DAMPING)
        done = np.where(better, small, damping_S[at] >= _MOST_DAMPING / 10)
        at = at[~done]
        if not len(at):
            break
    return theta_SP, objective_S


def _damped_step(
    gradient_SP: FloatArray, inner_SPP: FloatArray, outer_SPP: FloatArray, damping_S: FloatArray
) -> FloatArray:
    """Newton on the rows inside delta, held back by the bound that iterative reweighting puts on all of them."""
    damping = damping_S[:, None, None]
    curvature = inner_SPP + damping * outer_SPP
    size = np.trace(curvature, axis1=1, axis2=2)[:, None, None]
    identity = np.eye(gradient_SP.shape[1])
    curvature = curvature + (_RIDGE * (1 + damping) * (size + 1e-12)) * identity
    return np.asarray(-np.linalg.solve(curvature, gradient_SP[:, :, None])[:, :, 0])


def _expand(
    law: Law, target_R: FloatArray, theta_SP: FloatArray, counts_SR: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Objective, gradient, and the two curvatures: of the rows inside delta, and the bound over all rows."""
    predicted_SR, jacobian_SPR = law(theta_SP)
    residual_SR = predicted_SR - target_R
    size_SR = np.abs(residual_SR)
    counts = 1.0 if counts_SR is None else counts_SR
    objective_S = (counts * huber(residual_SR)).sum(1)
    objective_S = np.where(np.isfinite(objective_S), objective_S, np.inf)
    gradient_SP = (jacobian_SPR @ (counts * np.clip(residual_SR, -DELTA, DELTA))[:, :, None])[:, :, 0]
    bound_SR = counts * (DELTA / np.maximum(size_SR, DELTA))
    inside_SR = counts * (size_SR <= DELTA)
    transposed = jacobian_SPR.transpose(0, 2, 1)
    inner_SPP = (jacobian_SPR * inside_SR[:, None, :]) @ transposed
    outer_SPP = (jacobian_SPR * bound_SR[:, None, :]) @ transposed
    return objective_S, gradient_SP, inner_SPP, outer_SPP


def polish(law: Law, target_R: FloatArray, theta_P: FloatArray) -> tuple[FloatArray, float, float]:
    """The same minimum by scipy's BFGS: (theta, objective, largest derivative of the objective over delta).

    The objective is scaled by 1 / delta^2, so that scipy's absolute tolerances mean something.
    """
    scale = 1 / DELTA**2

    def scaled(theta: FloatArray) -> tuple[float, FloatArray]:
        predicted, jacobian = law(theta[None])
        residual = predicted[0] - target_R
        gradient = jacobian[0] @ np.clip(residual, -DELTA, DELTA)
        return float(huber(residual).sum() * scale), gradient * scale

    found = minimize(scaled, theta_P, jac=True, method="BFGS", options={"gtol": 1e-6, "maxiter": 2000})
    value, gradient = scaled(found.x)
    return np.asarray(found.x), value / scale, float(np.abs(gradient).max()) / scale / DELTA


def bootstrap(law: Law, target_R: FloatArray, starts_SP: FloatArray, samples: int, seed: int) -> FloatArray:
    """Rows drawn with replacement, refitted from the optimum and a few other starts; the best of each sample."""
    if not samples:
        return np.empty((0, starts_SP.shape[1]))
    rows = len(target_R)
    counts_KR = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=samples).astype(np.float64)
    best_KP, best_K = descend(law, target_R, np.tile(starts_SP[0], (samples, 1)), counts_KR)
    for start_P in starts_SP[1:]:
        theta_KP, objective_K = descend(law, target_R, np.tile(start_P, (samples, 1)), counts_KR)
        better_K = objective_K < best_K
        best_KP[better_K], best_K[better_K] = theta_KP[better_K], objective_K[better_K]
    return best_KP
