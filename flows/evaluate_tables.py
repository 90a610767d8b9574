"""The table of `espalier evaluate MODEL`: benchmarks down, examples and modes across, each figure with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.safety_tables import safety_report
from flows.tables import plain, plain_table

Row = Mapping[str, Any]
MAIN = ("exact_match", "acc", "acc_norm")  # the figures of the matrix; the first that a row has
RANGES = {"order_range": "order", "template_range": "wording"}


def evaluation_report(document: Mapping[str, Any], *, width: int = 80) -> RenderableType:
    """The matrix first, then what order and wording change; below it what is counted."""
    rows = document["rows"]
    model = document["model"]
    parts: list[RenderableType] = [Text(f"{plain(model['name'])}, suite {document['suite']}", style="bold")]
    if document["suite"] == "safety":
        return Group(
            *parts, *safety_report(rows, width=width), Text(f"identity {document['identity'][:16]}", style="dim")
        )
    parts.append(_matrix([row for row in rows if row["metric"] in MAIN]))
    ranges = [row for row in rows if row["metric"] in RANGES]
    if ranges:
        parts.append(_ranges(ranges))
    counted = "share right with its 95 % interval; ? the share in which no answer was found, counted as not right"
    return Group(*parts, Text(counted, style="dim"), Text(f"identity {document['identity'][:16]}", style="dim"))


def _matrix(rows: Sequence[Row]) -> Table:
    """A line for each benchmark and mode, a column for each number of examples: five columns fit in 80 cells."""
    shots = sorted({row["shots"] for row in rows})
    lines: dict[tuple[str, str], dict[int, Row]] = {}
    for row in rows:
        mode = row["mode"] if row["mode"] != "likelihood" else row["metric"]
        lines.setdefault((row["benchmark"], mode), {}).setdefault(row["shots"], row)
    table = plain_table("benchmark", "mode")
    for each in shots:
        table.add_column(f"{each}-shot", justify="right", no_wrap=True)
    before = ""
    for (benchmark, mode), found in lines.items():
        name = "" if benchmark == before else plain(benchmark)
        table.add_row(Text(name, style="bold"), mode, *(_figure(found.get(each)) for each in shots))
        before = benchmark
    return table


def _figure(row: Row | None) -> Text:
    if row is None:
        return Text("–", style="dim")
    said = Text(f"{row['value']:.2f}")
    said.append(f" {_short(row['low'])}–{_short(row['high'])}", style="dim")
    if row["unparsed"]:
        said.append(f" ?{row['unparsed_share']:.2f}".replace("0.", "."), style="yellow")
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
