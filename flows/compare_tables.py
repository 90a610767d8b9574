"""The tables of `espalier compare`: both values, the difference with its interval, a plain word; then what was refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.tables import plain
from tasks.evaluation.comparison import LEAST_DIFFERING, UNSHOWN

NAMED = 6  # refused figures under a reason; all of them are in the document
STYLES = {"better": "green", "worse": "red"}


def comparison(document: Mapping[str, Any]) -> RenderableType:
    """What is compared first; refused figures under the reason that they share."""
    rows, refused = document["rows"], document["refused"]
    parts: list[RenderableType] = [_model(letter, document[letter.lower()]) for letter in "AB"]
    if rows:
        parts += [Text(), _figures(rows)]
        parts.append(Text("B − A with its 95 % interval over the same items; –: no difference shown", style="dim"))
        if any(row["verdict"] == UNSHOWN and not row["low"] <= 0 <= row["high"] for row in rows):
            said = f"– beside an interval without 0: fewer than {LEAST_DIFFERING} items differ, as few as chance makes"
            parts.append(Text(said, style="dim"))
        if any(not row["paired"] for row in rows):
            parts.append(
                Text("~: from the intervals of A and B alone, since the figure is no mean of kept scores", style="dim")
            )
    if refused:
        parts += [Text(), Text(f"not compared: {len(refused):,}", style="bold"), *_refused(refused)]
    return Group(*parts)


def _model(letter: str, about: Mapping[str, Any]) -> Text:
    made = str(about["made"] or "")[:16].replace("T", " ")
    said = f"{plain(about['model'].get('name'))}, evaluation {about['identity'][:12]}{f' of {made}' if made else ''}"
    return Text.assemble((f"{letter}  ", "bold"), said)


def _figures(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A heading for each benchmark and metric, below it each number of shots and mode."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", highlight=False)
    table.add_column("")
    for heading in ("n", "A", "B", "B − A", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("B is", no_wrap=True)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((_name(row), plain(row["metric"])), []).append(row)
    for (name, metric), found in groups.items():
        table.add_row(Text.assemble((name, "bold"), (f" {metric}", "dim")))
        for row in found:
            word = "–" if row["verdict"] == UNSHOWN else row["verdict"]
            interval = f"{'' if row['paired'] else '~ '}{_signed(row['low'])} to {_signed(row['high'])}"
            figures = [f"{row['n']:,}", f"{row['a']:.3f}", f"{row['b']:.3f}", _signed(row["difference"]), interval]
            table.add_row(Text(f"  {_asked(row)}"), *figures, Text(word, style=STYLES.get(word, "dim")))
    return table


def _refused(refused: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Each reason once, under it all the figures that it keeps apart."""
    by_reason: dict[str, list[str]] = {}
    for row in refused:
        named = f"{_name(row)} {_asked(row)} {plain(row['metric'])}"
        by_reason.setdefault(row["reason"], []).append(named)
    parts: list[RenderableType] = []
    for reason, names in by_reason.items():
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        parts += [Text(plain(reason)), Text(f"{', '.join(names[:NAMED])}{more}", style="dim")]
    return parts


def _name(row: Mapping[str, Any]) -> str:
    return plain(row["benchmark"]) + (f" ({plain(row['subset'])} items)" if row["subset"] else "")


def _asked(row: Mapping[str, Any]) -> str:
    return f"{'–' if row['shots'] is None else row['shots']}-shot {plain(row['mode'])}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
