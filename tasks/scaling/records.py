"""Fits as plain records, for people's tables and for --json: constants, intervals, what was left out, every convention."""

from typing import Any

import numpy as np

from tasks.scaling.descent import DELTA
from tasks.scaling.envelope import EnvelopeFit
from tasks.scaling.fit import KEYS, Approach, Fitted, named_row
from tasks.scaling.isoflop import RISE, SAME_BUDGET, IsoFlopFit
from tasks.scaling.kaplan import KaplanFit
from tasks.scaling.laws import FloatArray
from tasks.scaling.parametric import NAMES, ParametricFit
from tasks.scaling.runs import Runs

CONFIDENCE = 0.95
MOST_SAMPLES = 250  # bootstrap samples that go into the record, for `plan` to draw its intervals from
OUTLIERS = 5
NO_FLOOR = 0.01  # of the lowest loss
ALIKE = 0.98  # correlation of ln N and ln D beyond which a law of both is a guess
OUTLYING = 3.0  # standard deviations, by the median absolute residual


def record(fitted: Fitted, approach: Approach) -> dict[str, Any]:
    """{"approach_1": {...}, ...} of all; of a single approach the object itself."""
    records = {name: _record(fitted, name) for name in fitted.fits}
    if approach != "all":
        return records[approach]
    return {key: records[name] if name in records else {"refused": fitted.refused[name]} for name, key in KEYS.items()}


def _record(fitted: Fitted, name: str) -> dict[str, Any]:
    fit = fitted.fits[name]
    rows = fitted.all_rows if name == "1" else fitted.points
    if isinstance(fit, ParametricFit):
        own = _parametric(fit, rows)
    elif isinstance(fit, IsoFlopFit):
        own = _isoflop(fit)
    elif isinstance(fit, EnvelopeFit):
        own = _envelope(fit)
    else:
        own = _kaplan(fit, rows)
    return {
        **own,
        "approach": name,
        "confidence": CONFIDENCE,
        "rows_used": len(rows),
        "dropped": dict(rows.dropped),
        "dropped_rows": list(fitted.left_out),
        "columns": dict(rows.columns),
        "conventions": {**rows.conventions, **own["conventions"]},
        "notes": [*rows.notes, *own.get("notes", ())],
    }


def _parametric(fit: ParametricFit, runs: Runs) -> dict[str, Any]:
    p, q = fit.law.exponents
    thinned = fit.samples[:: max(1, len(fit.samples) // MOST_SAMPLES)][:MOST_SAMPLES]
    return {
        **{name: getattr(fit.law, name) for name in ("E", "A", "B", "alpha", "beta")},
        "objective": fit.objective,
        "exponents": {"N": p, "D": q},
        "intervals": {name: list(pair) for name, pair in fit.intervals(CONFIDENCE).items()},
        "standard_errors": _standard_errors(fit),
        **_residuals(fit.residuals, runs),
        "check": {
            "starts": fit.starts,
            "starts_at_the_optimum": fit.starts_at_optimum,
            "objective_by_bfgs": fit.second_objective,
            "largest_derivative": fit.gradient,
        },
        "notes": _doubts(fit, runs),
        "samples": [[float(f"{value:.6g}") for value in _constants(theta)] for theta in thinned],
        "conventions": {
            "law": "L = E + A / N^alpha + B / D^beta",
            "objective": f"the sum over rows of the Huber loss (delta {DELTA:g}) of ln predicted - ln measured",
            "intervals": "percentiles of refits of resampled rows",
            "samples": "E, A, B, alpha, beta of some of the refits",
        },
    }


def _doubts(fit: ParametricFit, runs: Runs) -> list[str]:
    """Signs that the law does not hold on these rows, or that they cannot tell it."""
    said = []
    lowest = float(runs.loss.min())
    if lowest < fit.law.E:
        said.append(f"approach 3: E {fit.law.E:.3f} lies above the lowest loss {lowest:.3f}: the law does not describe "
                    "these rows; fit one kind of run, or leave out the worst with --drop-highest")  # fmt: skip
    if NO_FLOOR * lowest > fit.law.E:
        said.append("approach 3: E came out as nothing: these rows show no floor under the loss")
    alike = abs(float(np.corrcoef(np.log(runs.parameters), np.log(runs.tokens))[0, 1]))
    if alike > ALIKE:
        said.append(f"approach 3: parameters and tokens go together in these rows (correlation {alike:.3f}): what size "
                    "gives and what text gives cannot be told apart")  # fmt: skip
    return said


def _constants(theta_P: FloatArray) -> tuple[float, ...]:
    a, b, e, alpha, beta = theta_P
    return float(np.exp(e)), float(np.exp(a)), float(np.exp(b)), float(alpha), float(beta)


def _standard_errors(fit: ParametricFit) -> dict[str, float]:
    if len(fit.samples) < 2:
        return {}
    constants = np.column_stack([np.exp(fit.samples[:, :3]), fit.samples[:, 3:]])
    return dict(zip(NAMES, constants.std(0, ddof=1).tolist(), strict=True))


def _isoflop(fit: IsoFlopFit) -> dict[str, Any]:
    return {
        "exponents": {"N": fit.exponent_n, "D": fit.exponent_d},
        "coefficients": {"N": float(np.exp(fit.intercept_n)), "D": float(np.exp(fit.intercept_d))},
        "intervals": _exponent_intervals(fit.samples),
        "budgets": [
            {
                "flops": valley.flops, "rows": len(valley.places), "parameters": valley.parameters,
                "tokens": valley.tokens, "loss": valley.loss, "r_squared": valley.r_squared,
            }
            for valley in fit.valleys
        ],
        "budgets_left_out": fit.left_out,
        "conventions": {
            "law": "N_opt = coefficient C^exponent through the lowest points of parabolas L(ln N); the same for D",
            "budgets": f"FLOPs within {SAME_BUDGET:.0%} are one budget; rows whose loss is more than {RISE:g} times its "
            "lowest are not in its parabola",
            "intervals": "percentiles of refits of rows resampled within each budget",
        },
    }  # fmt: skip


def _envelope(fit: EnvelopeFit) -> dict[str, Any]:
    return {
        "exponents": {"N": fit.exponent_n, "D": fit.exponent_d},
        "coefficients": {"N": float(np.exp(fit.intercept_n)), "D": float(np.exp(fit.intercept_d))},
        "intervals": _exponent_intervals(fit.samples),
        "curves": fit.curves,
        "budgets": len(fit.flops),
        "flops": [float(fit.flops.min()), float(fit.flops.max())],
        "conventions": {
            "law": "N_opt = coefficient C^exponent through the lowest curve at each of many budgets; the same for D",
            "curves": fit.said,
            "intervals": "percentiles of refits of resampled curves" if fit.curves else "of resampled rows",
        },
    }


def _kaplan(fit: KaplanFit, runs: Runs) -> dict[str, Any]:
    n, d = fit.exponents
    joint = fit.joint
    total_K = fit.samples.sum(1)
    laws = {
        f"L({name})": {
            f"{name}_c": single.law.scale,
            f"alpha_{name}": single.law.exponent,
            "interval": _interval(single.samples),
            "points": single.points,
        }
        for name, single in fit.singles.items()
    }
    named = {"alpha_N": fit.samples[:, 0], "alpha_D": fit.samples[:, 1], "N": fit.samples[:, 1] / total_K}
    named["D"] = 1 - named["N"]
    return {
        **laws,
        "L(N,D)": {"N_c": joint.n_c, "D_c": joint.d_c, "alpha_N": joint.alpha_n, "alpha_D": joint.alpha_d},
        "objective": fit.objective,
        "exponents": {"N": n, "D": d},
        "intervals": {name: _interval(values) for name, values in named.items() if len(values)},
        **_residuals(fit.residuals, runs),
        "conventions": {
            "law": "L(x) = (x_c / x)^alpha; L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D",
            "objective": f"of L(N, D): the sum of Huber losses (delta {DELTA:g}) of ln predicted - ln measured",
            "exponents": "of the joint law's optimum with C = 6 N D",
            "intervals": "percentiles of refits of resampled rows",
        },
    }


def _residuals(residuals_R: FloatArray, runs: Runs) -> dict[str, Any]:
    """How far the law is from the rows, in ln L, and the rows furthest from it."""
    spread = 1.4826 * float(np.median(np.abs(residuals_R - np.median(residuals_R))))
    standard_R = residuals_R / spread if spread > 0 else np.zeros_like(residuals_R)
    furthest = np.argsort(-np.abs(standard_R), kind="stable")[:OUTLIERS]
    return {
        "residuals": {
            "root_mean_square": float(np.sqrt((residuals_R**2).mean())),
            "median_absolute": float(np.median(np.abs(residuals_R))),
            "beyond_three_deviations": int((np.abs(standard_R) > OUTLYING).sum()),
        },
        "outliers": [
            {
                **named_row(runs, place),
                "predicted": float(runs.loss[place] * np.exp(residuals_R[place])),
                "standardized_residual": float(standard_R[place]),
            }
            for place in furthest.tolist()
        ],
    }


def _exponent_intervals(samples_K2: FloatArray) -> dict[str, list[float]]:
    if not len(samples_K2):
        return {}
    return {name: _interval(samples_K2[:, place]) for place, name in enumerate(("N", "D"))}


def _interval(samples_K: FloatArray) -> list[float]:
    finite = samples_K[np.isfinite(samples_K)]
    if not len(finite):
        return []
    return [float(each) for each in np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])]
