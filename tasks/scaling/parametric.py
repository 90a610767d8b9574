"""Chinchilla's third approach: L = E + A / N^alpha + B / D^beta, fitted to ln L with Huber losses (Hoffmann et al. 2022).

Shapes: S starts, R rows, P = 5 parameters (ln A, ln B, ln E, alpha, beta), K bootstrap samples.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from tasks.scaling.descent import Law, bootstrap, descend, polish
from tasks.scaling.laws import Chinchilla, FloatArray
from tasks.scaling.runs import Runs

# the paper's grid: 5 x 5 x 6 x 6 x 5 = 4,500 starts (appendix D.3)
_EXPONENTS = (0.0, 0.5, 1.0, 1.5, 2.0)
_LOGS = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
_LOG_ES = (-1.0, -0.5, 0.0, 0.5, 1.0)
FEWEST_ROWS, FEWEST_SIZES = 6, 3
NAMES = ("A", "B", "E", "alpha", "beta")
_KEPT_STARTS = 4


@dataclass(frozen=True, kw_only=True)
class ParametricFit:
    """`law` at the lowest sum of Huber losses found; `samples` are bootstrap samples of (ln A, ln B, ln E, alpha, beta)."""

    law: Chinchilla
    objective: float
    residuals: FloatArray  # ln predicted - ln measured
    samples: FloatArray
    starts: int
    starts_at_optimum: int
    second_objective: float
    gradient: float

    def draws(self) -> list[Chinchilla]:
        return [of_theta(theta) for theta in self.samples]

    def intervals(self, level: float) -> dict[str, tuple[float, float]]:
        """Percentiles of the bootstrap samples, of the constants and of the exponents of the optimum."""
        theta = self.samples
        if not len(theta):
            return {}
        share = theta[:, 4] / (theta[:, 3] + theta[:, 4])
        columns = dict(zip(NAMES, (*np.exp(theta[:, :3].T), theta[:, 3], theta[:, 4]), strict=True))
        columns |= {"N": share, "D": 1 - share}
        edges = [(1 - level) / 2, (1 + level) / 2]
        found = {name: np.quantile(values[np.isfinite(values)], edges) for name, values in columns.items()}
        return {name: (float(low), float(high)) for name, (low, high) in found.items()}


def grid() -> FloatArray:
    """(ln A, ln B, ln E, alpha, beta) of every start of the paper."""
    found = itertools.product(_LOGS, _LOGS, _LOG_ES, _EXPONENTS, _EXPONENTS)
    return np.array(list(found), dtype=np.float64)


def fit_parametric(
    runs: Runs, *, starts_SP: FloatArray | None = None, bootstraps: int = 1000, seed: int = 0
) -> ParametricFit:
    """The best of all starts, refined; then refits of resampled rows. ValueError when the rows cannot tell the law."""
    _refuse_too_few(runs)
    law, centre = _law(runs)
    target_R = np.log(runs.loss)
    starts = (grid() if starts_SP is None else starts_SP) @ centre.T
    theta_SP, objective_S = descend(law, target_R, starts)
    order = np.argsort(objective_S, kind="stable")
    best_P, best = theta_SP[order[0]], float(objective_S[order[0]])
    second_P, second, gradient = polish(law, target_R, best_P)
    if second < best:
        best_P, best = second_P, second
    samples_KP = bootstrap(law, target_R, _distinct(theta_SP[order], best_P), bootstraps, seed)
    back = np.linalg.inv(centre).T
    return ParametricFit(
        law=of_theta(best_P @ back),
        objective=best,
        residuals=law(best_P[None])[0][0] - target_R,
        samples=samples_KP @ back,
        starts=len(starts),
        starts_at_optimum=int((objective_S <= best * (1 + 1e-6)).sum()),
        second_objective=second,
        gradient=gradient,
    )


def of_theta(theta_P: FloatArray) -> Chinchilla:
    a, b, e = np.exp(theta_P[:3])
    return Chinchilla(A=float(a), B=float(b), E=float(e), alpha=float(theta_P[3]), beta=float(theta_P[4]))


def _refuse_too_few(runs: Runs) -> None:
    if len(runs) < FEWEST_ROWS:
        raise ValueError(f"approach 3 fits five numbers and needs at least {FEWEST_ROWS} rows; there are {len(runs)}")
    for name, values in (("parameters", runs.parameters), ("tokens", runs.tokens)):
        distinct = len(np.unique(np.round(np.log(values), 3)))
        if distinct < FEWEST_SIZES:
            raise ValueError(
                f"approach 3 needs at least {FEWEST_SIZES} different values of {name}; the table has {distinct}"
            )


def _law(runs: Runs) -> tuple[Law, FloatArray]:
    """ln L = LSE(a - alpha x, b - beta y, e) with x, y = ln N, ln D less their means, so that a and alpha are apart.

    The matrix turns (ln A, ln B, ln E, alpha, beta) into these coordinates.
    """
    x_R, y_R = np.log(runs.parameters), np.log(runs.tokens)
    centre = np.eye(5)
    centre[0, 3], centre[1, 4] = -x_R.mean(), -y_R.mean()
    x_R, y_R = x_R - x_R.mean(), y_R - y_R.mean()

    def law(theta_SP: FloatArray) -> tuple[FloatArray, FloatArray]:
        a, b, e, alpha, beta = (theta_SP[:, place, None] for place in range(5))
        size_SR, text_SR = a - alpha * x_R, b - beta * y_R
        top_SR = np.maximum(np.maximum(size_SR, text_SR), e)
        parts = [np.exp(each - top_SR) for each in (size_SR, text_SR, e)]
        total_SR = parts[0] + parts[1] + parts[2]
        jacobian_SPR = np.empty((len(theta_SP), 5, len(x_R)))
        for place in range(3):
            np.divide(parts[place], total_SR, out=jacobian_SPR[:, place])
        np.multiply(jacobian_SPR[:, 0], -x_R, out=jacobian_SPR[:, 3])
        np.multiply(jacobian_SPR[:, 1], -y_R, out=jacobian_SPR[:, 4])
        return top_SR + np.log(total_SR), jacobian_SPR

    return law, centre


def _distinct(ordered_SP: FloatArray, best_P: FloatArray) -> FloatArray:
    """The optimum and the best starts' ends that are not the same point."""
    kept = [best_P]
    for theta in ordered_SP:
        if len(kept) == _KEPT_STARTS:
            break
        if np.isfinite(theta).all() and all(np.abs(theta - other).max() > 0.05 for other in kept):
            kept.append(theta)
    return np.array(kept)
