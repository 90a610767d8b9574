"""The tables of `espalier scaling study`: the ladder, then its laws as `espalier scaling fit` shows them."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.scaling_tables import fit_tables
from flows.tables import WIDE, duration, plain_table

Record = Mapping[str, Any]


def study_tables(found: Record, *, width: int) -> RenderableType:
    parts: list[RenderableType] = [Text("\nthe ladder", style="bold"), _ladder(found, width)]
    parts.append(Text("bold: the lowest loss of its budget; nats a token of the data set's tokenizer", style="dim"))
    if found["note"]:
        parts.append(Text(found["note"], style="yellow"))
    parts.append(fit_tables({**found["fit"], "held_out": found["held_out"]}, width=width))
    return Group(*parts)


def kept(found: Record) -> list[str]:
    """Where all of it lies; lines that no terminal may cut."""
    law = f"law    {found['fit_file']}   (espalier scaling plan --fit FILE --flops 1e18)"
    return [f"table  {found['table']}", law, *(f"figure {path}" for path in found["plots"])]


def _ladder(found: Record, width: int) -> Table:
    table = plain_table("FLOPs")
    wide = ("layers x width", "batch", "bits/byte") if width >= WIDE else ()
    for heading in ("parameters", *wide[:2], "tokens", "times read", "loss", *wide[2:], "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    ordered = sorted(found["runs"], key=lambda each: (each["budget"], each["parameters"]))
    for budget, group in groupby(ordered, key=lambda each: each["budget"]):
        rows = list(group)
        best = min(each["loss"] for each in rows)
        for place, row in enumerate(rows):
            shape = row["architecture"]
            cells = {
                "parameters": f"{row['parameters']:,}",
                "layers x width": f"{shape['layers']} x {shape['width']}",
                "batch": f"{row['batch_tokens']:,}",
                "tokens": f"{row['tokens'] / 1e6:.2f}M",
                "times read": f"{row['epochs']:.1f}",
                "loss": f"{row['loss']:.3f}",
                "bits/byte": f"{row['bits_per_byte']:.3f}",
                "time": duration(row["seconds"]),
            }
            shown = [cells[str(column.header)] for column in table.columns[1:]]
            table.add_row("" if place else f"{budget:.2g}", *shown, style="bold" if row["loss"] == best else None)
    return table
