"""Kaplan et al. 2020 on a table: L(N), L(D) and L(C) by themselves, and L(N, D) = [(Nc/N)^(aN/aD) + Dc/D]^aD together.

The single laws hold where nothing else is short, so each goes through the rows that no smaller size (text, budget) beats.
The joint one is fitted to ln L with the same Huber losses as Chinchilla's third approach; Kaplan's own fit is not published.
Shapes: S starts, R rows, P = 4 parameters (ln Nc, ln Dc, aN, aD), K bootstrap samples.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from tasks.scaling.descent import Law, bootstrap, descend, polish
from tasks.scaling.laws import FloatArray, KaplanJoint, PowerLaw, fit_power
from tasks.scaling.runs import Runs

FEWEST_ROWS = 5
FEWEST_POINTS = 3
_ALPHAS = (0.03, 0.076, 0.15, 0.3, 0.6)
_SHARES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, kw_only=True)
class Single:
    """A law of one variable, the rows it went through, and percentile samples of its exponent."""

    law: PowerLaw
    points: int
    samples: FloatArray


@dataclass(frozen=True, kw_only=True)
class KaplanFit:
    """`singles` by variable (N, D, C), those the table can tell; `samples` of the joint law are (aN, aD) x K."""

    singles: dict[str, Single]
    joint: KaplanJoint
    objective: float
    residuals: FloatArray
    samples: FloatArray

    @property
    def exponents(self) -> tuple[float, float]:
        """Of N and D at the joint law's optimum for C = 6 N D: aD / (aN + aD) and aN / (aN + aD)."""
        total = self.joint.alpha_n + self.joint.alpha_d
        return self.joint.alpha_d / total, self.joint.alpha_n / total


def fit_kaplan(runs: Runs, *, bootstraps: int = 1000, seed: int = 0) -> KaplanFit:
    if len(runs) < FEWEST_ROWS:
        raise ValueError(f"Kaplan's joint law has four numbers and needs at least {FEWEST_ROWS} rows, not {len(runs)}")
    for name, values in (("parameters", runs.parameters), ("tokens", runs.tokens)):
        if len(np.unique(np.round(np.log(values), 3))) < 2:
            raise ValueError(f"Kaplan's joint law needs at least 2 different values of {name}; the table has one")
    singles = {
        name: single
        for name, values in (("N", runs.parameters), ("D", runs.tokens), ("C", runs.flops))
        if (single := _single(values, runs.loss, bootstraps, seed)) is not None
    }
    law, centre_P = _law(runs)
    target_R = np.log(runs.loss)
    theta_SP, objective_S = descend(law, target_R, _starts(float(target_R.mean())))
    first_P = theta_SP[np.argmin(objective_S)]
    best_P, best, _ = polish(law, target_R, first_P)
    if not best < float(objective_S.min()):
        best_P, best = first_P, float(objective_S.min())
    n_c, d_c, alpha_n, alpha_d = best_P + centre_P
    return KaplanFit(
        singles=singles,
        joint=KaplanJoint(
            n_c=float(np.exp(n_c)), d_c=float(np.exp(d_c)), alpha_n=float(alpha_n), alpha_d=float(alpha_d)
        ),
        objective=best,
        residuals=law(best_P[None])[0][0] - target_R,
        samples=bootstrap(law, target_R, best_P[None], bootstraps, seed)[:, 2:],
    )


def _single(x_R: FloatArray, loss_R: FloatArray, bootstraps: int, seed: int) -> Single | None:
    """The power law through the rows that no row of the same or a smaller x beats."""
    order = np.lexsort((loss_R, x_R))
    lowest = np.minimum.accumulate(loss_R[order])
    front = order[np.flatnonzero(np.r_[True, loss_R[order][1:] < lowest[:-1]])]
    if len(front) < FEWEST_POINTS or len(np.unique(x_R[front])) < FEWEST_POINTS:
        return None
    (intercept,), (slope,) = fit_power(x_R[front], loss_R[front])
    counts = np.random.default_rng(seed).multinomial(len(front), np.full(len(front), 1 / len(front)), size=bootstraps)
    samples = -fit_power(x_R[front], loss_R[front], counts.astype(np.float64))[1]
    scale = np.exp(min(700.0, -intercept / slope))
    return Single(law=PowerLaw(scale=float(scale), exponent=float(-slope)), points=len(front), samples=samples)


def _law(runs: Runs) -> tuple[Law, FloatArray]:
    """ln L = aD LSE((aN/aD)(ln Nc - ln N), ln Dc - ln D), logarithms less their means; the vector gives those back."""
    x_R, y_R = np.log(runs.parameters), np.log(runs.tokens)
    centre_P = np.array([x_R.mean(), y_R.mean(), 0.0, 0.0])
    x_R, y_R = x_R - x_R.mean(), y_R - y_R.mean()

    def law(theta_SP: FloatArray) -> tuple[FloatArray, FloatArray]:
        n_c, d_c, alpha_n, alpha_d = (theta_SP[:, place, None] for place in range(4))
        alpha_d = np.where(alpha_d > 1e-4, alpha_d, np.nan)  # no law: such a step is never taken
        size_SR, text_SR = (alpha_n / alpha_d) * (n_c - x_R), d_c - y_R
        with np.errstate(invalid="ignore"):
            inner_SR = np.logaddexp(size_SR, text_SR)
        share_SR = np.exp(size_SR - inner_SR)
        jacobian_SPR = np.stack(
            [
                alpha_n * share_SR,
                alpha_d * (1 - share_SR),
                share_SR * (n_c - x_R),
                inner_SR - share_SR * size_SR,
            ],
            axis=1,
        )
        return alpha_d * inner_SR, jacobian_SPR

    return law, centre_P


def _starts(level: float) -> FloatArray:
    """Laws that give the mean ln L (`level`) at the middle of the table, with either term the larger one."""
    found = []
    for alpha_n, alpha_d, share in itertools.product(_ALPHAS, _ALPHAS, _SHARES):
        inner = level / alpha_d
        found.append(((inner + np.log(share)) * alpha_d / alpha_n, inner + np.log(1 - share), alpha_n, alpha_d))
    return np.array(found)
