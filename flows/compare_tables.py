"""The tables of `espalier compare`: both values, the difference with its interval, a plain word; then what was refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.tables import WIDE, plain, plain_table

STYLES = {"better": "green", "worse": "red"}


def comparison(document: Mapping[str, Any], *, width: int = 80) -> RenderableType:
    """What is compared first; refused figures under the reason that they share."""
    parts: list[RenderableType] = [_model(letter, document[letter.lower()]) for letter in "AB"]
    if document["rows"]:
        parts += [Text(), _figures(document["rows"], width)]
        if any(not row["paired"] for row in document["rows"]):
            parts.append(Text("~ from the two intervals alone: not a mean over items", style="dim"))
    if document["refused"]:
        parts += [
            Text(),
            Text(f"not compared: {len(document['refused']):,}", style="bold"),
            *_refused(document["refused"]),
        ]
    return Group(*parts)


def _model(letter: str, about: Mapping[str, Any]) -> Text:
    made = str(about["made"] or "")[:16].replace("T", " ")
    said = f"{plain(about['model'].get('name'))}, evaluation {about['identity'][:12]}{f' of {made}' if made else ''}"
    return Text.assemble((f"{letter}  ", "bold"), said)


def _figures(rows: Sequence[Mapping[str, Any]], width: int) -> Table:
    wide = width >= WIDE
    table = plain_table("benchmark", *(("shots", "mode", "metric") if wide else ()))
    for heading in ("A", "B", "B − A", "95 % interval", "n"):
        if wide or heading != "n":
            table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("B is", no_wrap=wide)
    for row in rows:
        name, shots = _name(row), _shots(row)
        about = [Text(name), shots, Text(plain(row["mode"])), Text(plain(row["metric"]))]
        if not wide:
            about = [Text(f"{name}, {shots}-shot {plain(row['mode'])}, {plain(row['metric'])}")]
        figures = [f"{row['a']:.3f}", f"{row['b']:.3f}", _signed(row["difference"])]
        interval = f"{'' if row['paired'] else '~ '}{_signed(row['low'])} to {_signed(row['high'])}"
        count = [f"{row['n']:,}"] if wide else []
        table.add_row(*about, *figures, interval, *count, Text(row["verdict"], style=STYLES.get(row["verdict"], "dim")))
    return table


def _refused(refused: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Each reason once, under it all the figures that it keeps apart."""
    by_reason: dict[str, list[str]] = {}
    for row in refused:
        named = f"{_name(row)} {_shots(row)}-shot {plain(row['mode'])} {plain(row['metric'])}"
        by_reason.setdefault(row["reason"], []).append(named)
    parts: list[RenderableType] = []
    for reason, names in by_reason.items():
        parts += [Text(plain(reason)), Text(f"  {', '.join(names)}", style="dim")]
    return parts


def _name(row: Mapping[str, Any]) -> str:
    return plain(row["benchmark"]) + (f" ({plain(row['subset'])} items)" if row["subset"] else "")


def _shots(row: Mapping[str, Any]) -> str:
    return "–" if row["shots"] is None else str(row["shots"])


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
