"""The tables of `espalier evaluate --replay`: the figures of each benchmark, and the first answers that are not right."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.tables import WIDE, plain, plain_table

SHOWN = 8
LONGEST = 32  # characters of an answer


def replay_report(document: Mapping[str, Any], *, width: int = 80) -> RenderableType:
    """Figures first; of the decisions those that were not right, since all of them are in the document."""
    decisions = document["decisions"]
    missed = [each for each in decisions if each["verdict"] != "right"]
    parts: list[RenderableType] = [_figures(document["rows"], width)]
    if missed:
        parts += [Text(f"the first of {len(missed):,} not right", style="dim"), _missed(missed[:SHOWN])]
    noun = "decision" if len(decisions) == 1 else "decisions"
    said = f"{len(decisions):,} {noun}, all of them with --json; identity {document['identity'][:12]}"
    return Group(*parts, Text(said, style="dim"))


def _figures(rows: Sequence[Mapping[str, Any]], width: int) -> Table:
    table = plain_table("benchmark")
    wide = width >= WIDE
    for heading in ("shots", "mode") if wide else ():
        table.add_column(heading, overflow="fold")
    for heading in ("metric", "value", "95 % interval", "n", "unparsed"):
        table.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=True)
    for row in rows:
        shots = "–" if row["shots"] is None else str(row["shots"])
        about = [shots, row["mode"]] if wide else []
        name = plain(row["benchmark"]) if wide or row["shots"] is None else f"{plain(row['benchmark'])}, {shots}-shot"
        table.add_row(
            Text(name if wide or row["mode"] == "auto" else f"{name}, {row['mode']}"),
            *about,
            row["metric"],
            f"{row['value']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            f"{row['n']:,}",
            f"{row['unparsed']:,} ({row['unparsed_share']:.1%})" if row["unparsed"] else "0",
        )
    return table


def _missed(decisions: Sequence[Mapping[str, Any]]) -> Table:
    table = plain_table("line", "benchmark", "verdict", "extracted", "gold", "rule")
    for each in decisions:
        gold = each["gold"] if isinstance(each["gold"], str) else each["gold"][0]
        found = each.get("reason") or each["extracted"]
        texts = (each["benchmark"], each["verdict"], "–" if found is None else found, gold, each["rule"])
        table.add_row(str(each["line"]), *map(_shortened, texts))
    return table


def _shortened(text: str) -> Text:
    shown = plain(text)
    return Text(shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…")
