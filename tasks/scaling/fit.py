"""All the fits of one table: which rows each approach sees, and which approaches the table does not allow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from tasks.scaling.envelope import EnvelopeFit, fit_envelope
from tasks.scaling.isoflop import IsoFlopFit, fit_isoflop
from tasks.scaling.kaplan import KaplanFit, fit_kaplan
from tasks.scaling.parametric import FEWEST_ROWS, FEWEST_SIZES, ParametricFit, fit_parametric
from tasks.scaling.runs import Runs

Approach = Literal["1", "2", "3", "kaplan", "all"]
KEYS: Mapping[str, str] = {"1": "approach_1", "2": "approach_2", "3": "approach_3", "kaplan": "kaplan"}


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """`all_rows` are every row, as approach 1 uses them; `points` one row a run, as the others do."""

    all_rows: Runs
    points: Runs
    left_out: tuple[dict[str, float], ...]  # the rows of --drop-highest
    fits: Mapping[str, ParametricFit | IsoFlopFit | EnvelopeFit | KaplanFit]
    refused: Mapping[str, str] = field(default_factory=dict)


def fit_runs(
    runs: Runs, *, approach: Approach = "all", drop_highest: int = 0, bootstraps: int = 1000, seed: int = 0
) -> Fitted:
    """Every approach asked for. With `all` one that the table does not allow is named in `refused`, else ValueError."""
    if bootstraps < 0:
        raise ValueError(f"--bootstraps {bootstraps}: must be at least 0")
    if not len(runs):
        raise ValueError("no row of the table has all of parameters, tokens and loss")
    kept = runs.without_highest(drop_highest)
    left_out = [place for place, row in enumerate(runs.row) if row not in set(kept.row.tolist())]
    points = _points(kept)
    work: dict[str, Callable[[], ParametricFit | IsoFlopFit | EnvelopeFit | KaplanFit]] = {
        "1": lambda: fit_envelope(kept, bootstraps=bootstraps, seed=seed),
        "2": lambda: fit_isoflop(points, bootstraps=bootstraps, seed=seed),
        "3": lambda: fit_parametric(points, bootstraps=bootstraps, seed=seed),
        "kaplan": lambda: fit_kaplan(points, bootstraps=bootstraps, seed=seed),
    }
    fits, refused = {}, {}
    for name in work if approach == "all" else (approach,):
        try:
            fits[name] = work[name]()
        except ValueError as error:
            if approach != "all":
                raise
            refused[name] = str(error)
    if not fits:
        raise ValueError("; ".join(refused.values()))
    return Fitted(
        all_rows=kept,
        points=points,
        left_out=tuple(named_row(runs, place) for place in left_out),
        fits=fits,
        refused=refused,
    )


def _points(runs: Runs) -> Runs:
    """The end of each run; every row where the ends are too few or too alike to tell what text gives."""
    finals = runs.finals()
    if len(finals) == len(runs):
        return runs
    values = (finals.parameters, finals.tokens)
    if len(finals) >= FEWEST_ROWS and all(len(np.unique(np.round(np.log(each), 3))) >= FEWEST_SIZES for each in values):
        return finals
    said = "the runs end at too few different lengths: approaches 2, 3 and Kaplan's use every row, also mid-training"
    return replace(runs, notes=(*runs.notes, said))


def named_row(runs: Runs, place: int) -> dict[str, float]:
    return {
        "row": int(runs.row[place]),
        "parameters": float(runs.parameters[place]),
        "tokens": float(runs.tokens[place]),
        "loss": float(runs.loss[place]),
    }
