"""Whether a law that was fitted to the small budgets of a table foretells the runs of its largest."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.scaling.isoflop import budgets
from tasks.scaling.laws import Chinchilla, FloatArray
from tasks.scaling.parametric import FEWEST_ROWS, fit_parametric
from tasks.scaling.runs import Runs

CONFIDENCE = 0.95
_FEWEST_NEAR = 5
PARAMETERS = 5  # of approach 3: E, A, B, alpha, beta


def held_out(
    runs: Runs, *, starts_SP: FloatArray | None = None, bootstraps: int = 500, seed: int = 0
) -> dict[str, Any]:
    """Fit approach 3 to all budgets but the largest, foretell that one's runs, and say how far off it was.

    A run's interval covers the law's own doubt (refits) and a run's scatter: residuals of the third of the fitted rows
    whose tokens per parameter are nearest, since a law misses starved models by more than balanced ones. A law of p
    parameters lies nearer to its own n rows than to new ones, so the residuals grow by sqrt(n / (n - p)), their mean
    leverage (Davison and Hinkley 1997, section 6.2.3), and so do the deviations of the refits, since rows drawn again lie as
    near. That the intervals of planted ladders then hold what they say is tested.
    """
    if bootstraps < 1:
        raise ValueError("a held-out check needs refits for its interval: at least 1 bootstrap sample")
    large, small = _largest_budget(runs)
    fit = fit_parametric(runs.only(small), starts_SP=starts_SP, bootstraps=bootstraps, seed=seed)
    random = np.random.default_rng((seed, 1))
    held = runs.only(large)
    fitted = runs.only(small)
    ratios = np.log(fitted.tokens / fitted.parameters)
    nearest = [
        np.argsort(np.abs(ratios - ratio), kind="stable")[: max(_FEWEST_NEAR, len(fitted) // 3)]
        for ratio in np.log(held.tokens / held.parameters)
    ]
    noise_KR = np.stack([random.choice(fit.residuals[near], size=bootstraps) for near in nearest], axis=1)
    predicted_R = _losses(fit.law, held)
    doubt_KR = np.log(np.stack([_losses(law, held) for law in fit.draws()])) - np.log(predicted_R)
    widened = np.sqrt(len(small) / (len(small) - PARAMETERS))
    drawn_KR = predicted_R * np.exp(widened * (doubt_KR - noise_KR))
    low_R, high_R = np.quantile(drawn_KR, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    inside_R = (held.loss >= low_R) & (held.loss <= high_R)
    best = int(np.argmin(held.loss))
    return {
        "flops": float(held.flops[best]),
        "times_the_largest_fitted": float(held.flops[best] / runs.flops[small].max()),
        "rows_fitted": len(small),
        "rows_held_out": len(held),
        "inside": int(inside_R.sum()),
        "best": {
            "parameters": float(held.parameters[best]),
            "tokens": float(held.tokens[best]),
            "loss": float(held.loss[best]),
            "predicted": float(predicted_R[best]),
            "interval": [float(low_R[best]), float(high_R[best])],
            "inside": bool(inside_R[best]),
            "half_width": float((high_R[best] - low_R[best]) / 2 / held.loss[best]),
        },
        "mean_absolute_error": float(np.abs(predicted_R / held.loss - 1).mean()),
    }


def _losses(law: Chinchilla, runs: Runs) -> FloatArray:
    return np.array([law.loss(n, d) for n, d in zip(runs.parameters, runs.tokens, strict=True)])


def _largest_budget(runs: Runs) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    groups = budgets(runs.flops)
    if len(groups) < 2 or len(runs) - len(groups[-1]) < FEWEST_ROWS:
        raise ValueError(
            f"a held-out check needs two budgets at least and {FEWEST_ROWS} rows below the largest; "
            f"the table has {len(groups)} budgets and {len(runs)} rows"
        )
    return groups[-1], np.concatenate(groups[:-1])
