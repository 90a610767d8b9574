"""Scaling fits: how long the full grid and its refits take, and every public table's published fit beside ours.

    ESPALIER_TEST_DATA=... make prove scaling      kept in tests/benchmarks/results/scaling.txt

The aims: 250 rows with all 4,500 starts in 30 s, 1,000 refits in 60 s, on two cores. tests/benchmarks/test_scaling.py
holds a small form of the same against three times as much.
"""

import csv
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TypeVar

import numpy as np
import scipy

from tasks.scaling.envelope import fit_envelope
from tasks.scaling.held_out import held_out
from tasks.scaling.isoflop import fit_isoflop
from tasks.scaling.parametric import fit_parametric, grid
from tasks.scaling.runs import Runs, read_runs
from tests.scaling.planted import TRUE_EXPONENT, planted

Result = TypeVar("Result")
KINDS = ("table", "dataset", "hparams", "warmup", "decay", "param_count", "val")
C4 = "loss:c4_val/shard-{0000000..0000010}"


def main() -> None:
    print(f"{date.today()}  python -m tests.benchmarks.scaling")
    print(
        f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, scipy {scipy.__version__}\n"
    )
    times(rows_of_250(), grid())
    folder = Path(os.environ["ESPALIER_TEST_DATA"])
    discrepancies(folder / "scaling_discrepancies")
    over_training(folder / "scaling_overtraining" / "models_flat.csv")
    pythia(folder / "scaling_pythia" / "pythia_v1_evals_flat.csv.gz")


def rows_of_250() -> Runs:
    return planted(0.01, 0, budgets=10, sizes=25)


def times(runs: Runs, starts: np.ndarray) -> tuple[float, float]:
    """Seconds of the fit from all starts, and of 1,000 refits of resampled rows."""
    fit, grid_seconds = timed(lambda: fit_parametric(runs, starts_SP=starts, bootstraps=0))
    few = starts[:: len(starts) // 50]
    _, once = timed(lambda: fit_parametric(runs, starts_SP=few, bootstraps=0))
    _, both = timed(lambda: fit_parametric(runs, starts_SP=few, bootstraps=1000))
    print(f"a planted table of {len(runs)} rows with 1 % noise")
    print(f"{len(starts):,} starts: {grid_seconds:.1f} s; {fit.starts_at_optimum:,} of them end at the optimum")
    print(f"sum of Huber losses {fit.objective:.6g}, by BFGS {fit.second_objective:.6g}")
    print(f"exponent {fit.law.exponents[0]:.4f}, planted {TRUE_EXPONENT:.4f}; 1,000 refits: {both - once:.1f} s\n")
    return grid_seconds, both - once


def discrepancies(folder: Path) -> None:
    """The exponent of N of each kind; Porian et al. interpolate where approach 2 fits parabolas."""
    with (folder / "fits.csv").open(encoding="utf-8") as stream:
        published = list(csv.DictReader(stream))
    print("scaling_discrepancies (Porian et al. 2024): N_opt ~ C^p")
    print(f"{'':64}published   approach 2 (95 %)       approach 1   their optima")
    for row in published:
        where = [f"{key}={row[key]}" for key in KINDS]
        runs = read_runs(folder / "isoflop_points.csv", where=where)
        second, first = fit_isoflop(runs), fit_envelope(runs, bootstraps=0)
        optima = fit_envelope(read_runs(folder / "optimal_pairs.csv", where=where), bootstraps=0)
        low, high = np.nanquantile(second.samples[:, 0], [0.025, 0.975])
        print(
            f"{' '.join(row[key] for key in KINDS):64}{float(row['n_exponent']):9.3f}   "
            f"{second.exponent_n:.3f} ({low:.3f}-{high:.3f})   {first.exponent_n:10.3f}   {optima.exponent_n:12.3f}"
        )


def over_training(path: Path) -> None:
    """Gadre et al. publish no table of constants beside this data; their form is approach 3 with alpha = beta."""
    print("\nscaling_overtraining (Gadre et al. 2024), loss on C4: approach 3; SOURCE.md names no published constants")
    for kind in ("c4_original", "rpj", "rw_original"):
        runs = read_runs(path, columns={"loss": C4}, where=[f"dataset={kind}"])
        print(f"{kind:12} {law_of(runs)}")


def pythia(path: Path) -> None:
    print("\nscaling_pythia (Biderman et al. 2023), perplexity on LAMBADA at every checkpoint: no published fit")
    runs = read_runs(path, where=["shots=zero-shot"])
    later = runs.only(runs.tokens > 1e10)
    print(f"tokens > 1e10 {law_of(later)}")


def law_of(runs: Runs) -> str:
    fit = fit_parametric(runs, bootstraps=200)
    law, intervals = fit.law, fit.intervals(0.95)
    constants = ", ".join(f"{name} {getattr(law, name):.4g}" for name in ("E", "A", "B", "alpha", "beta"))
    said = (
        f"{len(runs)} rows: {constants}; p {law.exponents[0]:.3f} "
        f"({intervals['N'][0]:.3f}-{intervals['N'][1]:.3f}); median |residual| {np.median(np.abs(fit.residuals)):.2%}"
    )
    try:
        found = held_out(runs, bootstraps=200)["best"]
    except ValueError:
        return said
    return (
        f"{said}; largest budget foretold {found['predicted']:.3f}, measured {found['loss']:.3f} "
        f"({'inside' if found['inside'] else 'outside'}, half-width {found['half_width']:.1%})"
    )


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


if __name__ == "__main__":
    main()
