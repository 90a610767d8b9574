"""Chinchilla's second approach: a parabola in ln N for each budget, and a power law through their lowest points.

Shapes: R rows, G budgets, K bootstrap samples. Hoffmann et al. 2022, section 3.2.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.scaling.laws import FloatArray, fit_power
from tasks.scaling.runs import Runs

SAME_BUDGET = 0.10  # FLOPs that differ by less than this are one budget: tables round them
FEWEST_SIZES, FEWEST_BUDGETS = 4, 2
RISE = 1.10  # a parabola is a valley's bottom: rows whose loss is more than this times the lowest are left out of it
_FEWEST_NEAR = 5


@dataclass(frozen=True, kw_only=True)
class Valley:
    """One budget: L = c0 + c1 u + c2 u^2 with u = ln N - ln `centre`; `places` are its rows inside the window."""

    flops: float
    places: npt.NDArray[np.int64]
    centre: float
    coefficients: FloatArray
    parameters: float
    tokens: float
    loss: float
    r_squared: float

    def at(self, parameters: FloatArray) -> FloatArray:
        u = np.log(parameters / self.centre)
        c0, c1, c2 = self.coefficients
        return np.asarray(c0 + c1 * u + c2 * u * u)


@dataclass(frozen=True, kw_only=True)
class IsoFlopFit:
    """N_opt = exp(intercept) C^exponent, the same for D; `samples` are exponents (of N, of D) of bootstrap samples."""

    valleys: tuple[Valley, ...]
    left_out: dict[str, int]
    intercept_n: float
    intercept_d: float
    exponent_n: float
    exponent_d: float
    samples: FloatArray

    def optimum(self, flops: float) -> tuple[float, float]:
        return (
            float(np.exp(self.intercept_n) * flops**self.exponent_n),
            float(np.exp(self.intercept_d) * flops**self.exponent_d),
        )


def budgets(flops_R: FloatArray) -> list[npt.NDArray[np.int64]]:
    """Places of the rows of each budget, smallest first; a budget spans at most SAME_BUDGET of its smallest FLOPs."""
    order = np.argsort(flops_R, kind="stable")
    groups: list[list[int]] = []
    for place in order:
        if groups and flops_R[place] <= flops_R[groups[-1][0]] * (1 + SAME_BUDGET):
            groups[-1].append(int(place))
        else:
            groups.append([int(place)])
    return [np.array(group, dtype=np.int64) for group in groups]


def fit_isoflop(runs: Runs, *, bootstraps: int = 1000, seed: int = 0) -> IsoFlopFit:
    """ValueError when fewer than two budgets have a valley whose bottom lies among the sizes that were trained."""
    valleys, left_out = [], dict[str, int]()
    for places in budgets(runs.flops):
        valley, reason = _valley(runs, places)
        if valley is None:
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            valleys.append(valley)
    if len(valleys) < FEWEST_BUDGETS:
        why = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise ValueError(
            f"approach 2 needs at least {FEWEST_BUDGETS} budgets (FLOPs within {SAME_BUDGET:.0%}) with at least "
            f"{FEWEST_SIZES} sizes and their best size in between; found {len(valleys)} ({why})"
        )
    flops, n, d = (np.array([getattr(v, name) for v in valleys]) for name in ("flops", "parameters", "tokens"))
    (n0,), (n1,) = fit_power(flops, n)
    (d0,), (d1,) = fit_power(flops, d)
    return IsoFlopFit(
        valleys=tuple(valleys),
        left_out=left_out,
        intercept_n=float(n0),
        intercept_d=float(d0),
        exponent_n=float(n1),
        exponent_d=float(d1),
        samples=_bootstrap(runs, valleys, bootstraps, seed),
    )


def _valley(runs: Runs, places: npt.NDArray[np.int64]) -> tuple[Valley | None, str]:
    """The parabola through a budget's rows near its best size, or why there is none."""
    if len(np.unique(runs.parameters[places])) < FEWEST_SIZES:
        return None, f"with fewer than {FEWEST_SIZES} sizes"
    centre = float(runs.parameters[places][np.argmin(runs.loss[places])])
    nearest = places[np.argsort(np.abs(np.log(runs.parameters[places] / centre)), kind="stable")[:_FEWEST_NEAR]]
    near = places[(runs.loss[places] <= RISE * runs.loss[places].min()) | np.isin(places, nearest)]
    u_R, loss_R = np.log(runs.parameters[near] / centre), runs.loss[near]
    coefficients = _parabolas(u_R, loss_R, np.ones((1, len(near))))[0]
    bottom = _bottoms(coefficients[None])[0]
    if not np.isfinite(bottom):
        return None, "whose losses bend the wrong way"
    if not u_R.min() <= bottom <= u_R.max():
        return None, "whose best size lies outside the sizes trained"
    flops = float(np.exp(np.log(runs.flops[near]).mean()))
    text_0, text_1 = (float(each[0]) for each in fit_power(runs.parameters[near], runs.tokens[near]))
    parameters = float(centre * np.exp(bottom))
    c0, c1, c2 = coefficients
    rest = loss_R - (c0 + c1 * u_R + c2 * u_R**2)
    spread = float(((loss_R - loss_R.mean()) ** 2).sum())
    return Valley(
        flops=flops,
        places=near,
        centre=centre,
        coefficients=coefficients,
        parameters=parameters,
        tokens=float(np.exp(text_0) * parameters**text_1),
        loss=float(c0 + c1 * bottom + c2 * bottom**2),
        r_squared=1 - float((rest**2).sum()) / spread if spread else 1.0,
    ), ""


def _parabolas(u_R: FloatArray, loss_R: FloatArray, counts_KR: FloatArray) -> FloatArray:
    """Least squares of each sample: (c0, c1, c2), K x 3; NaN where a sample has fewer than three sizes."""
    powers_3R = np.stack([np.ones_like(u_R), u_R, u_R**2])
    normal_K33 = np.einsum("ir,kr,jr->kij", powers_3R, counts_KR, powers_3R)
    right_K3 = (counts_KR * loss_R) @ powers_3R.T
    sizes_K = np.array([len(np.unique(u_R[counts > 0])) for counts in counts_KR])
    singular = (sizes_K < 3)[:, None, None]
    solved = np.linalg.solve(np.where(singular, np.eye(3), normal_K33), right_K3[:, :, None])[:, :, 0]
    return np.where(singular[:, :, 0], np.nan, solved)


def _bottoms(coefficients_K3: FloatArray) -> FloatArray:
    """ln N of the lowest point less the centre; NaN where the parabola opens downward."""
    _, c1, c2 = coefficients_K3.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(c2 > 0, -c1 / (2 * c2), np.nan)


def _bootstrap(runs: Runs, valleys: list[Valley], samples: int, seed: int) -> FloatArray:
    """Rows resampled within each budget; a sample's budget without a valley is left out of its power law."""
    if not samples:
        return np.empty((0, 2))
    random = np.random.default_rng(seed)
    bottoms_KG = np.empty((samples, len(valleys)))
    texts_KG = np.empty((samples, len(valleys)))
    for place, valley in enumerate(valleys):
        near = valley.places
        counts_KR = random.multinomial(len(near), np.full(len(near), 1 / len(near)), size=samples).astype(np.float64)
        u_R = np.log(runs.parameters[near] / valley.centre)
        bottom_K = _bottoms(_parabolas(u_R, runs.loss[near], counts_KR))
        inside_K = (bottom_K >= u_R.min()) & (bottom_K <= u_R.max())
        bottoms_KG[:, place] = np.where(inside_K, np.log(valley.centre) + bottom_K, np.nan)
        text_0, text_1 = fit_power(runs.parameters[near], runs.tokens[near])
        texts_KG[:, place] = text_0[0] + text_1[0] * bottoms_KG[:, place]
    flops_G = np.array([valley.flops for valley in valleys])
    given_KG = np.isfinite(bottoms_KG).astype(np.float64)
    exponents = [_weighted(flops_G, values_KG, given_KG) for values_KG in (bottoms_KG, texts_KG)]
    return np.stack(exponents, axis=1)


def _weighted(flops_G: FloatArray, logs_KG: FloatArray, given_KG: FloatArray) -> FloatArray:
    """The exponent of each sample, over the budgets that have a value in it."""
    logs_KG = np.where(given_KG > 0, logs_KG, 0.0)
    u_KG = np.broadcast_to(np.log(flops_G), logs_KG.shape)
    total_K = given_KG.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        u_KG = u_KG - ((given_KG * u_KG).sum(1) / total_K)[:, None]
        found = (given_KG * u_KG * logs_KG).sum(1) / (given_KG * u_KG**2).sum(1)
    return np.where(total_K >= FEWEST_BUDGETS, found, np.nan)
