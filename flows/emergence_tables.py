"""The tables of `espalier scaling emergence`: exact match and nats by size with the verdict, and the scratchpad's gain."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.tables import plain

STYLES = {"sharp under both": "bold red", "metric-induced": "yellow", "smooth": "green", "not resolved": "dim"}


def verdicts_table(rows: Sequence[Mapping[str, Any]], verdicts: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line per ability: exact match over nats per token for each size, the largest's on trained items, the verdict."""
    sizes = sorted({row["parameters"] for row in rows})
    table = _table()
    table.add_column("ability, mode", no_wrap=True)
    for size in sizes:
        table.add_column(short(size), justify="right", no_wrap=True)
    table.add_column("train", justify="right")
    table.add_column("verdict", overflow="fold")
    for verdict in verdicts:
        here = [row for row in rows if all(row[key] == verdict[key] for key in ("ability", "digits", "mode"))]
        cells = [_cell([row for row in here if row["parameters"] == size]) for size in sizes]
        known = fmean(row["train_exact_match"] for row in here if row["parameters"] == sizes[-1])
        named = Text(plain(verdict["verdict"]), style=STYLES[verdict["verdict"]])
        table.add_row(f"{verdict['ability']} {verdict['digits']}\n{verdict['mode']}", *cells, f"{known:.2f}", named)
    said = "exact match over nats per token, held-out items, means over seeds; train: the largest's on trained items"
    reasons = [
        Text(f"{each['ability']} {each['digits']} {each['mode']}: {plain(each['reason'])}", style="dim")
        for each in verdicts
    ]
    return Group(table, Text(said, style="dim"), *reasons)


def _cell(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"{fmean(row['exact_match'] for row in rows):.2f}\n{fmean(row['token_nats'] for row in rows):.2f}"


def effects_table(effects: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What the scratchpad adds to exact match, by problem and size; nothing where no ability has one."""
    if not effects:
        return Group()
    sizes = sorted({effect["parameters"] for effect in effects})
    table = _table("gain")
    for size in sizes:
        table.add_column(short(size), justify="right", no_wrap=True)
    for name, digits in dict.fromkeys((effect["ability"], effect["digits"]) for effect in effects):
        here = {each["parameters"]: each for each in effects if (each["ability"], each["digits"]) == (name, digits)}
        cells = ["\n".join(f"{here[size][key]:+.2f}" for key in ("gain", "low", "high")) for size in sizes]
        table.add_row(f"{name} {digits}\n  from\n  to", *cells)
    said = "exact match with the scratchpad less that without it, and its interval over seeds"
    return Group(table, Text(said, style="dim"))


def short(parameters: int) -> str:
    """11234 -> 11k"""
    return f"{parameters / 1e6:.1f}M" if parameters >= 1_000_000 else f"{parameters / 1e3:.0f}k"


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", highlight=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
