"""Chinchilla's first approach: at each of many budgets the run whose training curve is lowest, and power laws through them.

Hoffmann et al. 2022, section 3.1: 1,500 budgets on a log scale. Tables of optima that somebody found are fitted as they are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.scaling.columns import plain_name
from tasks.scaling.laws import FloatArray, fit_power
from tasks.scaling.runs import Runs

BUDGETS = 1500
FEWEST_CURVES = 3


@dataclass(frozen=True, kw_only=True)
class EnvelopeFit:
    """N_opt = exp(intercept) C^exponent, the same for D; the envelope's points in order of FLOPs."""

    flops: FloatArray
    parameters: FloatArray
    loss: FloatArray
    curves: int
    intercept_n: float
    intercept_d: float
    exponent_n: float
    exponent_d: float
    samples: FloatArray
    said: str

    def optimum(self, flops: float) -> tuple[float, float]:
        return (
            float(np.exp(self.intercept_n) * flops**self.exponent_n),
            float(np.exp(self.intercept_d) * flops**self.exponent_d),
        )


@dataclass(frozen=True, kw_only=True)
class _Curve:
    parameters: float
    tokens_per_flop: float
    log_flops: FloatArray
    log_loss: FloatArray


def fit_envelope(runs: Runs, *, bootstraps: int = 1000, seed: int = 0) -> EnvelopeFit:
    """ValueError when there are no curves: at least three sizes with two rows each, and optima that lie between them."""
    if plain_name(runs.columns.get("parameters", "")).endswith("_opt"):
        return _of_optima(runs, bootstraps, seed)
    curves, said = _curves(runs)
    log_c = np.linspace(min(c.log_flops[0] for c in curves), max(c.log_flops[-1] for c in curves), BUDGETS)
    loss_KC = np.array([np.interp(log_c, c.log_flops, c.log_loss, left=np.inf, right=np.inf) for c in curves])
    best_C = _best(curves, loss_KC, np.ones(len(curves), dtype=bool))
    n, d = _laws(curves, best_C, log_c)
    if not np.isfinite(n[1]):
        raise ValueError(
            "approach 1: no budget has its lowest curve between the smallest and the largest size; train more sizes"
        )
    if len(np.unique(best_C[best_C >= 0])) < 2:
        raise ValueError(
            "approach 1: one size is the best at every budget inside; train sizes that lie closer together"
        )
    random = np.random.default_rng(seed)
    drawn = [np.isin(np.arange(len(curves)), random.integers(0, len(curves), len(curves))) for _ in range(bootstraps)]
    samples = [_laws(curves, _best(curves, loss_KC, each), log_c) for each in drawn]
    inside = best_C >= 0
    return EnvelopeFit(
        flops=np.exp(log_c[inside]),
        parameters=np.array([curve.parameters for curve in curves])[best_C[inside]],
        loss=np.exp(loss_KC[best_C[inside], np.flatnonzero(inside)]),
        curves=len(curves),
        intercept_n=n[0],
        intercept_d=d[0],
        exponent_n=n[1],
        exponent_d=d[1],
        samples=np.array([(n[1], d[1]) for n, d in samples]).reshape(-1, 2),
        said=said,
    )


def _of_optima(runs: Runs, bootstraps: int, seed: int) -> EnvelopeFit:
    if len(np.unique(runs.flops)) < FEWEST_CURVES:
        raise ValueError(f"approach 1 needs optima at {FEWEST_CURVES} budgets at least; there are {len(runs)} rows")
    (n0,), (n1,) = fit_power(runs.flops, runs.parameters)
    (d0,), (d1,) = fit_power(runs.flops, runs.tokens)
    counts = np.random.default_rng(seed).multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=bootstraps)
    slopes = [fit_power(runs.flops, values, counts.astype(np.float64))[1] for values in (runs.parameters, runs.tokens)]
    order = np.argsort(runs.flops)
    return EnvelopeFit(
        flops=runs.flops[order],
        parameters=runs.parameters[order],
        loss=runs.loss[order],
        curves=0,
        intercept_n=float(n0),
        intercept_d=float(d0),
        exponent_n=float(n1),
        exponent_d=float(d1),
        samples=np.stack(slopes, axis=1),
        said=f"the rows are optima already, by the name of {runs.columns['parameters']}: the power laws go through them",
    )


def _curves(runs: Runs) -> tuple[list[_Curve], str]:
    """The curves of runs with several rows; where there are none, rows of one size are taken as one curve."""
    groups = [np.flatnonzero(runs.run == run) for run in np.unique(runs.run)]
    said = "each run's rows are its training curve"
    if sum(len(group) >= 2 for group in groups) < FEWEST_CURVES:
        sizes = np.round(np.log(runs.parameters), 3)
        groups = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
        said = "one row a run: rows of one size, each trained to its own end, are taken as that size's curve"
    curves = [_curve(runs, group) for group in groups if len(np.unique(runs.flops[group])) >= 2]
    if len({curve.parameters for curve in curves}) < FEWEST_CURVES:
        raise ValueError(
            f"approach 1 needs training curves: at least {FEWEST_CURVES} sizes with two rows each; "
            f"the table has {len(curves)}"
        )
    said += "; budgets whose best is the smallest or largest size are left out"
    return sorted(curves, key=lambda curve: curve.parameters), said


def _curve(runs: Runs, places: npt.NDArray[np.int64]) -> _Curve:
    order = places[np.argsort(runs.flops[places], kind="stable")]
    return _Curve(
        parameters=float(runs.parameters[order[0]]),
        tokens_per_flop=float(np.median(runs.tokens[order] / runs.flops[order])),
        log_flops=np.log(runs.flops[order]),
        log_loss=np.log(runs.loss[order]),
    )


def _best(curves: list[_Curve], loss_KC: FloatArray, chosen_K: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The lowest of the chosen curves at each budget; -1 where it is of the smallest or largest size, or alone there.

    An optimum at the edge of the sizes says only that the true one lies there or beyond.
    """
    loss_KC = np.where(chosen_K[:, None], loss_KC, np.inf)
    best_C = np.argmin(loss_KC, axis=0)
    sizes_K = np.array([curve.parameters for curve in curves])
    edges = (sizes_K[chosen_K].min(), sizes_K[chosen_K].max())
    kept_C = ~np.isin(sizes_K[best_C], edges) & (np.isfinite(loss_KC).sum(0) >= 2)
    return np.where(kept_C, best_C, -1)


def _laws(
    curves: list[_Curve], best_C: npt.NDArray[np.int64], log_c: FloatArray
) -> tuple[tuple[float, float], tuple[float, float]]:
    """(intercept, exponent) of N_opt and of D_opt; NaN when a single budget is left."""
    inside = best_C >= 0
    if inside.sum() < 2:
        return (np.nan, np.nan), (np.nan, np.nan)
    flops = np.exp(log_c[inside])
    sizes = np.array([curve.parameters for curve in curves])[best_C[inside]]
    texts = np.array([curve.tokens_per_flop for curve in curves])[best_C[inside]] * flops
    (n0,), (n1,) = fit_power(flops, sizes)
    (d0,), (d1,) = fit_power(flops, texts)
    return (float(n0), float(n1)), (float(d0), float(d1))
