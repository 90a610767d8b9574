"""The table of `espalier generations`: what each idea bought on one text, and what each model can do."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.tables import WIDE, duration, plain, plain_table

COUNTED = "FLOPs are those of products, a backward pass as two forward ones; n-grams count as parameters"


def comparison(found: Mapping[str, Any], *, width: int) -> RenderableType:
    rows: Sequence[Mapping[str, Any]] = found["rows"]
    parts: list[RenderableType] = [Text(), _headline(found["text"]), Text(), _table(rows, width), Text()]
    parts += [_aside(f"{plain(row['model'])}: {plain(row['note'])}") for row in rows if row["note"]]
    parts += [_aside(COUNTED), Text()]
    for row in rows:
        parts += _said(row)
    parts += [Text(), Text.assemble(("table  ", "bold"), (f"{found['folder']}/table.json", "cyan"))]
    if found.get("plot"):
        parts.append(Text.assemble(("plot   ", "bold"), (str(found["plot"]), "cyan")))
    return Group(*parts)


def _aside(said: str) -> RenderableType:
    return Padding(Text(said, style="dim"), (0, 0, 0, 2))


def _headline(text: Mapping[str, Any]) -> Text:
    splits = ", ".join(f"{name} {split['pieces']:,}" for name, split in text["splits"].items())
    unit = {"word": "words", "subword": "subwords", "char": "letters"}[text["level"]]
    test = text["splits"]["test"]
    unknown = f"; {test['unknown'] / test['pieces']:.1%} of the test text unknown" if test["unknown"] else ""
    return Text(f"{unit}, line ends among them: {splits}; vocabulary {text['vocabulary']:,}{unknown}")


def _table(rows: Sequence[Mapping[str, Any]], width: int) -> Table:
    table = plain_table()
    table.add_column("model", no_wrap=True)
    table.add_column("year", no_wrap=True)
    if width >= WIDE:
        table.add_column("idea", overflow="fold", ratio=1)
    figures = ("valid", "test") if width >= WIDE else ("test",)
    for heading in ("parameters", "FLOPs", "time", *figures, "bits/byte"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        counted = [
            _short(row["parameters"]),
            f"{row['train_flops']:.1e}" if row["train_flops"] else "",
            duration(row["seconds"]),
        ]
        measured = [_figure(row[f"{name}_perplexity"]) for name in figures]
        if row["measure"] != "perplexity":
            measured = [f"({each})" if each else "" for each in measured]
        bits = "" if row["bits_per_byte"] is None else f"{row['bits_per_byte']:.3f}"
        idea = [Text(plain(row["idea"]), style="dim")] if width >= WIDE else []
        beaten = "has not beaten" not in row["note"]
        name = Text(plain(row["model"]), style="bold" if beaten else "yellow")
        table.add_row(name, str(row["year"]), *idea, *counted, *measured, bits)
    return table


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _short(number: float) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(int(number))


def _said(row: Mapping[str, Any]) -> list[RenderableType]:
    """What the model says of itself: a sample, its probe."""
    lines = [f"“{' '.join(sample.split())[:200]}”" for sample in row["samples"][:1] if sample.strip()]
    lines += [f"{question}: {answer}" for question, answer in row["probe"].items()]
    if not lines:
        return []
    said = Text("\n".join(plain(line) for line in lines))
    return [Text(plain(row["model"]), style="bold"), Padding(said, (0, 0, 0, 2))]
