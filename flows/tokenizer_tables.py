"""The table of `espalier tokenizers measure`: texts one after another, the tokenizers of each side by side."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from flows.tables import WIDE, plain


def tokenizers_table(rows: Sequence[Mapping[str, Any]], *, width: int = 80) -> RenderableType:
    """One line for each text and tokenizer; the most bytes in a token and the fewest tokens in a word stand out.

    Not among those that lose text: an unknown token costs little, whatever it swallows.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", highlight=False)
    table.add_column("text\n  tokenizer", overflow="fold")
    headings = ["bytes\n/ token", "tokens\n/ word", "split\nwords", "unknown\ntokens", "MB/s"]
    headings[:0] = ["vocabulary", "bytes", "tokens"] if width >= WIDE else []
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    ordered = sorted(rows, key=lambda row: [each["text"] for each in rows].index(row["text"]))
    for text, group in groupby(ordered, key=lambda row: row["text"]):
        _add(table, plain(text), list(group), wide=width >= WIDE)
    return table


def _add(table: Table, text: str, rows: Sequence[Mapping[str, Any]], *, wide: bool) -> None:
    lossless = [row for row in rows if not row["unknown_share"]]
    densest = max((row["bytes_per_token"] for row in lossless), default=None)
    gentlest = min((row["fertility"] for row in lossless if row["fertility"] is not None), default=None)
    table.add_row(Text(text, style="bold"))
    for row in rows:
        counts = [f"{row[name]:,}" for name in ("vocabulary", "bytes", "tokens")] if wide else []
        table.add_row(
            f"  {plain(row['tokenizer'])}",
            *counts,
            _figure(row, "bytes_per_token", best=densest),
            _figure(row, "fertility", best=gentlest),
            _share(row["split_word_share"]),
            _share(row["unknown_share"]),
            f"{row['megabytes_per_second']:.1f}",
            end_section=row is rows[-1],
        )


def _figure(row: Mapping[str, Any], name: str, *, best: float | None) -> Text:
    if row[name] is None:
        return Text("–")
    style = "dim" if row["unknown_share"] else "bold green" if row[name] == best else ""
    return Text(f"{row[name]:.2f}", style=style)


def _share(value: float | None) -> str:
    """0.0004 -> 0.04%, and 0 -> 0"""
    if not value:
        return "–" if value is None else "0"
    return f"{value:.1%}" if value >= 0.001 else f"{value:.2%}"
