"""The table of `espalier evaluate MODEL --suite safety`: a line for each figure, with its interval and what is best."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from flows.tables import plain, plain_table

Row = Mapping[str, Any]
WIDE = 100  # cells


class SafetyReport:
    """The figures, and below them who judged what; what a figure says is left out where there is no room for it."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        yield _table(self._rows, is_wide=options.max_width >= WIDE)
        for benchmark, source in dict.fromkeys(
            (row["benchmark"], row["source"]) for row in self._rows if "source" in row
        ):
            yield Text(f"{plain(benchmark)}: {plain(source)}", style="dim")


def _table(rows: Sequence[Row], *, is_wide: bool) -> Table:
    table = plain_table("figure", *(["what it says"] if is_wide else []))
    for heading in ("value", "95 % interval", "best", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    before = ""
    for row in rows:
        if row["benchmark"] != before:
            before = row["benchmark"]
            table.add_row(Text(plain(before), style="bold"))
        said = [Text(plain(row["says"]))] if is_wide else []
        best = "–" if row["best"] is None else f"{row['best']:g}"
        interval = f"{row['low']:.2f} to {row['high']:.2f}"
        table.add_row(f"  {plain(row['metric'])}", *said, f"{row['value']:.2f}", interval, best, str(row["n"]))
    return table
