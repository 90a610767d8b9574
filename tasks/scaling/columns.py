"""Which column of somebody's table is which: the names of the usual public tables, and the numbers in their cells."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from tasks.scaling.files import Columns
from tasks.scaling.laws import FloatArray

# by role, the likeliest first, as `plain_name` spells them; of two that fit, the first is taken and both are shown
NAMES: Mapping[str, tuple[str, ...]] = {
    "parameters": (
        "parameters", "params", "n_params", "num_params", "model_size", "n", "n_parameters", "num_parameters",
        "total_params", "parameter_count", "param_count", "size", "model_parameters", "n_opt", "params_no_embed",
        "nonembed_params", "non_embedding_params", "non_embedding_parameters", "params_non_embedding", "n_non_embedding",
    ),
    "tokens": (
        "tokens", "training_tokens", "train_tokens", "n_tokens", "num_tokens", "d", "tokens_seen", "total_tokens",
        "dataset_size", "data", "d_tokens", "trained_tokens", "dataset_tokens", "tokens_opt",
    ),
    "flops": (
        "flops", "flop", "training_flop", "training_flops", "train_flops", "compute", "c", "compute_flops", "total_flops",
        "training_compute", "budget", "flop_budget", "flops_budget", "isoflop",
    ),
    "loss": (
        "loss", "final_loss", "valid_loss", "val_loss", "validation_loss", "test_loss", "eval_loss", "l",
        "cross_entropy", "nll", "final_val_loss", "train_loss", "training_loss", "value",
    ),
    "perplexity": ("perplexity", "ppl", "valid_perplexity", "val_ppl", "test_ppl", "test_perplexity"),
    "run": ("run", "run_id", "run_name", "name", "model", "model_name", "experiment", "id"),
}  # fmt: skip
ROLES = tuple(NAMES)
SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_NUMBER = re.compile(r"([-+]?[\d.]+(?:e[-+]?\d+)?)\s*([kmbt]?)", re.IGNORECASE)


def parse_mapping(text: str) -> dict[str, str]:
    """ "parameters=N,loss=L" -> {"parameters": "N", "loss": "L"}"""
    found: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = (each.strip() for each in part.partition("="))
        if not equals or role not in ROLES or not column:
            raise ValueError(f"--columns: {part!r}: expected ROLE=COLUMN, where ROLE is one of {', '.join(ROLES)}")
        found[role] = column
    return found


def guess(columns: Columns, named: Mapping[str, str], file: PurePath) -> dict[str, str]:
    """The column of each role; those in `named` are taken at their word. ValueError when a table cannot be fitted."""
    for role, column in named.items():
        if column not in columns:
            raise ValueError(f"{file.name}: has no column {column!r} for {role}; it has {_listed(columns)}")
    found = dict(named)
    for role in ROLES:
        if role not in found and not (role == "perplexity" and "loss" in found):
            likely = _guessed(role, columns, taken=found.values())
            if likely is not None and not (role == "loss" and "perplexity" in named):
                found[role] = likely
    _refuse_too_few(found, columns, file)
    return found


def _guessed(role: str, columns: Columns, taken: Any) -> str | None:
    spelled = {plain_name(column): column for column in reversed(columns) if column not in taken}
    candidates = [spelled[name] for name in NAMES[role] if name in spelled]
    if role == "loss":
        candidates += [column for name, column in reversed(spelled.items()) if re.match(r"(.*_)?loss(_|$)", name)]
    if role == "run":
        return candidates[0] if candidates else None
    return next((column for column in candidates if _holds_numbers(columns[column])), None)


def _refuse_too_few(found: Mapping[str, str], columns: Columns, file: PurePath) -> None:
    if "loss" not in found and "perplexity" not in found:
        raise ValueError(
            f"{file.name}: no column of numbers looks like a loss; name it with --columns loss=NAME: {_listed(columns)}"
        )
    sizes = [role for role in ("parameters", "tokens", "flops") if role in found]
    if len(sizes) < 2:
        missing = ", ".join(role for role in ("parameters", "tokens", "flops") if role not in found)
        raise ValueError(
            f"{file.name}: two of parameters, tokens and flops are needed and no column of numbers looks like {missing}; "
            f"name them with --columns, for example --columns parameters=N,tokens=D: {_listed(columns)}"
        )


def alternatives(found: Mapping[str, str], columns: Columns) -> list[str]:
    """What else could have been meant: ["loss: loss:openlm was taken, there is loss:ptb too"]."""
    said = []
    for role in ("parameters", "tokens", "flops", "loss"):
        others: list[str] = []
        rest = {name: cells for name, cells in columns.items() if name not in found.values()}
        while role in found and (other := _guessed(role, rest, taken=())) is not None:
            others.append(other)
            del rest[other]
        if others:
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            said.append(f"{role}: {found[role]} was taken; there is {', '.join(others[:3])}{more} too")
    return said


def numbers(
    cells: Sequence[Any], rows: Sequence[int], *, column: str, file: PurePath, may_be_zero: bool = False
) -> FloatArray:
    """The cells as numbers above 0, NaN where one is empty or NaN; ValueError names the first that is none by its row.

    A table of checkpoints may begin with untrained ones: with `may_be_zero` 0 counts as empty.
    """
    found = np.full(len(cells), np.nan)
    for place, cell in enumerate(cells):
        if cell is None:
            continue
        number = to_number(cell)
        if number == 0 and may_be_zero:
            continue
        if number is None or math.isinf(number) or number <= 0:
            what = "is not a number" if number is None else "must be a finite number above 0"
            raise ValueError(
                f"{file.name}: row {rows[place]}: {column}: {cell!r} {what}; mend it, or empty the cell to leave the row out"
            )
        found[place] = number
    if np.isnan(found).all():
        raise ValueError(f"{file.name}: {column}: there is not one number in it; name another column with --columns")
    return found


def to_number(cell: Any) -> float | None:
    """1.5, "1e9", "1,000" and "70M" are numbers; None for all else."""
    if isinstance(cell, bool):
        return None
    if isinstance(cell, int | float):
        return float(cell)
    text = str(cell).strip().replace(",", "").replace("_", "")
    if text.lower() in ("nan", "inf", "-inf"):
        return float(text)
    match = _NUMBER.fullmatch(text)
    try:
        return float(match[1]) * SUFFIXES.get(match[2].lower(), 1.0) if match else None
    except ValueError:
        return None


def plain_name(column: str) -> str:
    """ "Training FLOP" -> training_flop, "loss:c4/val" -> loss_c4_val"""
    return re.sub(r"[^a-z0-9]+", "_", column.strip().lower()).strip("_")


def _holds_numbers(cells: Sequence[Any]) -> bool:
    """Whether most are numbers: a single bad cell is to be named, not the column passed over."""
    given = [cell for cell in cells if cell is not None]
    return bool(given) and sum(to_number(cell) is not None for cell in given) > len(given) / 2


def _listed(columns: Columns) -> str:
    names = [name or "(no name)" for name in columns]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
