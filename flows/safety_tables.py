"""The table of `espalier evaluate MODEL --suite safety`: a line for each figure, with its interval and what is best."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from flows.tables import plain, plain_table

Row = Mapping[str, Any]


def safety_report(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """The figures, and below them who judged what."""
    table = plain_table("figure", "what it says")
    for heading in ("value", "95 % interval", "best", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    before = ""
    for row in rows:
        if row["benchmark"] != before:
            table.add_row(Text(plain(row["benchmark"]), style="bold"), *[""] * 5)
            before = row["benchmark"]
        best = "–" if row["best"] is None else f"{row['best']:g}"
        interval = f"{row['low']:.2f} to {row['high']:.2f}"
        table.add_row(
            f"  {plain(row['metric'])}", plain(row["says"]), f"{row['value']:.2f}", interval, best, str(row["n"])
        )
    yield table
    for benchmark, source in dict.fromkeys((row["benchmark"], row["source"]) for row in rows if "source" in row):
        yield Text(f"{plain(benchmark)}: {plain(source)}", style="dim")
