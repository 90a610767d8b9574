"""The runs of a scaling table: parameters, tokens, FLOPs and loss of each, with every convention that was assumed.

What was left out is counted under its reason.
"""

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tasks.scaling.columns import alternatives, guess, numbers, plain_name, to_number
from tasks.scaling.files import Columns, read_columns
from tasks.scaling.laws import FLOPS_PER_PARAMETER_TOKEN, FloatArray

LossUnit = Literal["auto", "nats", "bits"]
MOST_FAMILIES = 50


@dataclass(frozen=True, kw_only=True)
class Runs:
    """One entry per row: `run` numbers the training it belongs to, `row` is its place in the file, from 1."""

    parameters: FloatArray
    tokens: FloatArray
    flops: FloatArray
    loss: FloatArray
    run: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    columns: Mapping[str, str]
    conventions: Mapping[str, str]
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.loss)

    def only(self, chosen_R: Any, reason: str | None = None) -> "Runs":
        """The chosen rows (a mask or places); with a reason the others are counted under it."""
        arrays = ("parameters", "tokens", "flops", "loss", "run", "row")
        kept = {name: getattr(self, name)[chosen_R] for name in arrays}
        lost = len(self) - len(kept["loss"])
        dropped = {**self.dropped, reason: lost} if reason and lost else self.dropped
        return replace(self, **kept, dropped=dropped)

    def finals(self) -> "Runs":
        """The last row of each run: the one with the most tokens."""
        last: dict[int, int] = {}
        for place in np.argsort(self.tokens, kind="stable"):
            last[int(self.run[place])] = int(place)
        return self.only(np.sort(np.fromiter(last.values(), dtype=np.int64)), "not the last row of its run")

    def without_highest(self, count: int) -> "Runs":
        """Without the `count` rows of the highest loss (Besiroglu et al. leave out 5 of the 245 of Chinchilla)."""
        if count < 0 or count >= len(self):
            raise ValueError(f"--drop-highest {count}: must be at least 0 and below the {len(self)} rows of the table")
        order = np.argsort(-self.loss, kind="stable")
        kept = np.ones(len(self), dtype=bool)
        kept[order[:count]] = False
        return self.only(kept, f"the {count} of the highest loss (--drop-highest)")


def of_arrays(parameters: Any, tokens: Any, loss: Any, *, flops: Any = None, run: Any = None) -> Runs:
    """Runs that are at hand as numbers, as our own study's are."""
    n, d, found = (np.asarray(each, dtype=np.float64) for each in (parameters, tokens, loss))
    c = FLOPS_PER_PARAMETER_TOKEN * n * d if flops is None else np.asarray(flops, dtype=np.float64)
    return Runs(
        parameters=n,
        tokens=d,
        flops=c,
        loss=found,
        run=np.arange(len(n)) if run is None else np.asarray(run, dtype=np.int64),
        row=np.arange(1, len(n) + 1),
        columns={},
        conventions={"flops": "6 N D" if flops is None else "as the table gives them", "loss": "nats a token"},
    )


def read_runs(
    path: Path, *, columns: Mapping[str, str] | None = None, where: Sequence[str] = (), unit: LossUnit = "auto"
) -> Runs:
    """The runs in somebody's file; ValueError in one sentence when there are none to be read."""
    cells = read_columns(path)
    rows = list(range(1, 1 + len(next(iter(cells.values())))))
    cells, rows, dropped = _filtered(cells, rows, where, path)
    found = guess(cells, columns or {}, path)
    cells, rows, metric = _one_metric(cells, rows, found, path)
    read = {
        role: numbers(cells[name], rows, column=name, file=path, may_be_zero=role in ("tokens", "flops"))
        for role, name in found.items()
        if role != "run"
    }
    loss, loss_said = _losses(read, found, unit, metric)
    sizes, flops_said = _sizes(read)
    run, curves = _run_numbers(cells, found)
    runs = Runs(
        **sizes,
        loss=loss,
        run=run,
        row=np.asarray(rows, dtype=np.int64),
        columns=found,
        conventions={"parameters": _parameters_said(found), "flops": flops_said, "loss": loss_said},
        dropped=dropped,
        notes=(*alternatives(found, cells), *_families(cells, found), *curves),
    )
    return _without_empty(runs)


def _filtered(
    columns: Columns, rows: list[int], where: Sequence[str], file: Path
) -> tuple[Columns, list[int], dict[str, int]]:
    total = len(rows)
    for condition in where:
        name, equals, wanted = (each.strip() for each in condition.partition("="))
        if not equals or name not in columns:
            raise ValueError(f"--where {condition}: expected COLUMN=VALUE with a column of {file.name}")
        values = list(dict.fromkeys(_spelled(cell) for cell in columns[name]))
        if wanted not in values:
            raise ValueError(f"--where {condition}: no row of {file.name} has it; {name} is {', '.join(values[:8])}")
        columns, rows = _kept(columns, rows, [_spelled(cell) == wanted for cell in columns[name]])
    lost = total - len(rows)
    return columns, rows, {"not what --where asks for": lost} if lost else {}


def _kept(columns: Columns, rows: list[int], kept: Sequence[bool]) -> tuple[Columns, list[int]]:
    chosen = {name: list(itertools.compress(cells, kept)) for name, cells in columns.items()}
    return chosen, list(itertools.compress(rows, kept))


def _spelled(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _one_metric(columns: Columns, rows: list[int], found: dict[str, str], file: Path) -> tuple[Columns, list[int], str]:
    """Of a table with one figure a row, named in a column `metric`: its losses, or else its perplexities."""
    metric = next((name for name in columns if plain_name(name) == "metric"), None)
    column = found.get("loss") or found.get("perplexity")
    if metric is None or column is None or plain_name(column) != "value":
        return columns, rows, ""
    values = sorted({_spelled(cell) for cell in columns[metric]})
    for role, names in (("loss", ("loss", "nll", "cross_entropy")), ("perplexity", ("ppl", "perplexity"))):
        for wanted in (value for value in values if plain_name(value) in names):
            found.pop("loss", None)
            found[role] = column
            columns, rows = _kept(columns, rows, [_spelled(cell) == wanted for cell in columns[metric]])
            return columns, rows, f", of the rows whose {metric} is {wanted}"
    raise ValueError(f"{file.name}: none of the figures in {metric} is a loss or a perplexity: {', '.join(values)}")


def _losses(
    read: Mapping[str, FloatArray], found: Mapping[str, str], unit: LossUnit, metric: str
) -> tuple[FloatArray, str]:
    if "loss" not in read:
        return np.log(read["perplexity"]), f"nats: the logarithm of {found['perplexity']}{metric}"
    name = plain_name(found["loss"])
    if unit == "bits" or (unit == "auto" and re.search(r"(^|_)(bits?|bpb|bpc)(_|$)", name)):
        return read["loss"] * np.log(2), "bits in the table, turned into nats (times ln 2)"
    said = "nats" if unit == "nats" else "taken to be nats (the table does not say; --loss-unit bits otherwise)"
    return read["loss"], said + metric


def _sizes(read: Mapping[str, FloatArray]) -> tuple[dict[str, FloatArray], str]:
    """Parameters, tokens and FLOPs; whichever the table lacks follows from C = 6 N D, and that is said."""
    n, d, c = (read.get(role) for role in ("parameters", "tokens", "flops"))
    six = FLOPS_PER_PARAMETER_TOKEN
    if n is not None and d is not None:
        said = "6 N D: the table has none"
        if c is not None:
            share = np.nanmedian(c / (six * n * d))
            said = f"as the table gives them, {share:.3g} times 6 N D at the median"
        return {"parameters": n, "tokens": d, "flops": six * n * d if c is None else c}, said
    assert c is not None
    if n is None:
        assert d is not None
        return {"parameters": c / (six * d), "tokens": d, "flops": c}, "as given; parameters follow from N = C / (6 D)"
    return {"parameters": n, "tokens": c / (six * n), "flops": c}, "as given; tokens follow from D = C / (6 N)"


def _parameters_said(found: Mapping[str, str]) -> str:
    if "parameters" not in found:
        return "from FLOPs and tokens"
    name = plain_name(found["parameters"])
    if re.search(r"no_?n?_?emb|non_?emb|without_emb", name):
        return f"without embeddings, by the name of {found['parameters']}"
    if re.search(r"total|with_emb", name):
        return f"with embeddings, by the name of {found['parameters']}"
    return f"as {found['parameters']} counts them (with or without embeddings: the table does not say)"


def _run_numbers(columns: Columns, found: dict[str, str]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Rows of one name and one size are one run's curve; without a name each row is a run of its own."""
    if "run" not in found:
        return np.arange(len(next(iter(columns.values())))), ()
    keys = [_spelled(cell) for cell in columns[found["run"]]]
    sizes = [_spelled(cell) for cell in columns[found["parameters"]]] if "parameters" in found else keys
    others = [columns[name] for name in _family_columns(columns, found)]
    identities = list(zip(keys, sizes, *([_spelled(cell) for cell in cells] for cells in others), strict=True))
    places = {identity: place for place, identity in enumerate(dict.fromkeys(identities))}
    numbered = np.array([places[identity] for identity in identities], dtype=np.int64)
    most = max(Counter(numbered.tolist()).values())
    return numbered, (f"{len(places)} runs by {found['run']}, up to {most} rows each",) if most > 1 else ()


def _families(columns: Columns, found: Mapping[str, str]) -> list[str]:
    """Columns that tell kinds of runs apart: a law is fitted to one kind, so a mixture is said."""
    said = []
    for name in _family_columns(columns, found):
        values = list(dict.fromkeys(_spelled(cell) for cell in columns[name]))
        shown = ", ".join(values[:6]) + (" ..." if len(values) > 6 else "")
        said.append(f"{name} differs between rows ({shown}): --where {name}={values[0]} fits one kind")
    return said


def _family_columns(columns: Columns, found: Mapping[str, str]) -> list[str]:
    names = []
    for name, cells in columns.items():
        values = {_spelled(cell) for cell in cells}
        is_text = not any(to_number(cell) is not None for cell in cells if cell is not None)
        if name not in found.values() and is_text and 1 < len(values) <= min(MOST_FAMILIES, len(cells) // 2):
            names.append(name)
    return names


def _without_empty(runs: Runs) -> Runs:
    for name, reason in (
        ("parameters", "parameters are empty or NaN"),
        ("tokens", "tokens are empty, NaN or 0 (untrained)"),
        ("flops", "FLOPs are empty, NaN or 0 (untrained)"),
        ("loss", "loss is empty or NaN"),
    ):
        runs = runs.only(~np.isnan(getattr(runs, name)), reason)
    return runs
