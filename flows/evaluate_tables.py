"""The table of `espalier evaluate MODEL`: benchmarks down, examples and modes across, each figure with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.tables import plain, plain_table

Row = Mapping[str, Any]
MAIN = ("exact_match", "acc", "acc_norm", "mc2")  # the figures of the matrix
FEW = "few-shot"
RANGES = {"order_range": "order", "template_range": "wording"}


def evaluation_report(document: Mapping[str, Any], *, width: int = 80) -> RenderableType:
    """The matrix first, then what order and wording change; below it what is counted."""
    del width
    rows = document["rows"]
    model = document["model"]
    parts: list[RenderableType] = [Text(f"{plain(model['name'])}, suite {document['suite']}", style="bold")]
    parts.append(_matrix([row for row in rows if row["metric"] in MAIN]))
    ranges = [row for row in rows if row["metric"] in RANGES]
    if ranges:
        parts.append(_ranges(ranges))
    counted = "share right with its 95 % interval; ? the share in which no answer was found, counted as not right"
    return Group(*parts, Text(counted, style="dim"), Text(f"identity {document['identity'][:16]}", style="dim"))


def _matrix(rows: Sequence[Row]) -> Table:
    """A line for each benchmark and mode, a column for each number of examples; three columns fit in 80 cells."""
    lines: dict[str, dict[str, dict[int, Row]]] = {}
    for row in rows:
        mode = row["mode"] if row["mode"] != "likelihood" else row["metric"]
        lines.setdefault(row["benchmark"], {}).setdefault(mode, {}).setdefault(row["shots"], row)
    columns = _columns(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", highlight=False)
    for heading in ("benchmark", *columns):
        table.add_column(heading, no_wrap=True)
    for benchmark, modes in lines.items():
        most = max(shots for found in modes.values() for shots in found)
        shown = Text(f" few = {most}" if FEW in columns and most > 1 else "", style="dim")
        table.add_row(Text.assemble((plain(benchmark), "bold"), shown))
        for mode, found in modes.items():
            by_column = {(FEW if FEW in columns and shots > 1 else _column(shots)): row for shots, row in found.items()}
            table.add_row(f"  {mode}", *(_figure(by_column.get(each)) for each in columns))
    return table


def _columns(rows: Sequence[Row]) -> list[str]:
    """Where benchmarks differ in how many examples are a few, these share a column."""
    shots = sorted({row["shots"] for row in rows})
    several = {(row["benchmark"], row["shots"]) for row in rows if row["shots"] > 1}
    one_each = len(several) == len({benchmark for benchmark, _ in several})
    if one_each and len([each for each in shots if each > 1]) > 1:
        return [*(_column(each) for each in shots if each < 2), FEW]
    return [_column(each) for each in shots]


def _column(shots: int) -> str:
    return f"{shots}-shot"


def _figure(row: Row | None) -> Text:
    """0.54 .40–.67 ?.16"""
    if row is None:
        return Text("–", style="dim")
    said = Text.assemble(f"{row['value']:.2f} ", (f"{_short(row['low'])}–{_short(row['high'])}", "dim"))
    if row["unparsed"]:
        said.append(f" ?{_short(row['unparsed_share'])}", style="yellow")
    return said


def _short(number: float) -> str:
    """0.25 -> .25"""
    return f"{number:.2f}".removeprefix("0") if number < 0.995 else "1"


def _ranges(rows: Sequence[Row]) -> Table:
    table = plain_table("benchmark", "best minus worst")
    for heading in ("ways", "range", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        what = f"{RANGES[row['metric']]}, {row['shots']}-shot {row['mode']}"
        interval = f"{row['low']:.2f} to {row['high']:.2f}"
        table.add_row(plain(row["benchmark"]), what, str(row["ways"]), f"{row['value']:.2f}", interval)
    return table
