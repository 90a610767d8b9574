"""The table of `espalier evaluate MODEL`: benchmarks down, examples and modes across, each figure with its interval."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.safety_tables import SafetyReport
from flows.tables import plain, plain_table
from tasks.evaluation.stored import CLEAN, DIRTY

Row = Mapping[str, Any]
MAIN = ("exact_match", "acc", "acc_norm", "mc2")  # the figures of the matrix
FEW = "few-shot"
MODE_CELLS = len("  acc_norm")
BESIDE = 3  # columns
FIGURE_CELLS = len("0.54 .40–.67 ?.16")
COUNTED = "share right with its 95 % interval; ? the share in which no answer was found, counted as not right"
RANGES = {"order_range": "orders", "template_range": "wordings"}


def evaluation_report(document: Mapping[str, Any]) -> RenderableType:
    """The matrix first, then what order and wording change; below it what is counted."""
    rows = [row for row in document["rows"] if "subset" not in row]
    model = document["model"]
    parts: list[RenderableType] = [Text(f"{plain(model['name'])}, suite {document['suite']}", style="bold")]
    if document["suite"] == "safety":
        return Group(*parts, SafetyReport(rows), Text(f"identity {document['identity'][:16]}", style="dim"))
    matrix = [row for row in rows if row["metric"] in MAIN]
    if matrix:
        parts.append(_matrix(matrix))
    ranges = [row for row in rows if row["metric"] in RANGES]
    if ranges:
        parts.append(_ranges(ranges))
    others = [row for row in rows if row["metric"] not in (*MAIN, *RANGES)]
    if others:
        parts.append(_others(others))
    seen = _seen_in_training(document)
    if seen.row_count:
        parts.append(seen)
    return Group(*parts, Text(COUNTED, style="dim"), Text(f"identity {document['identity'][:16]}", style="dim"))


def _matrix(rows: Sequence[Row]) -> RenderableType:
    """Under each benchmark a line a mode, a column each number of examples; more than fit in 80 cells follow below."""
    lines: dict[str, dict[str, dict[int, Row]]] = {}
    for row in rows:
        mode = row["mode"] if row["mode"] != "likelihood" else row["metric"]
        lines.setdefault(row["benchmark"], {}).setdefault(mode, {}).setdefault(row["shots"], row)
    columns = _columns(rows)
    parts: list[RenderableType] = [Text()]
    for some in (columns[start : start + BESIDE] for start in range(0, len(columns), BESIDE)):
        parts += [aligned([["", *some]], "dim"), *_block(lines, some), Text()]
    return Group(*parts)


def _block(lines: Mapping[str, Mapping[str, Mapping[int, Row]]], columns: Sequence[str]) -> Iterator[RenderableType]:
    """Those lines that have a figure in one of these columns."""
    for benchmark, modes in lines.items():
        placed = {mode: _by_column(found, columns) for mode, found in modes.items()}
        shown = {mode: found for mode, found in placed.items() if any(found)}
        if not shown:
            continue
        most = max(shots for found in modes.values() for shots in found)
        few = f"  few: {most}" if FEW in columns and most > 1 else ""
        yield Text.assemble((plain(benchmark), "bold"), (few, "dim"))
        yield aligned([[f"  {mode}", *map(figure, found)] for mode, found in shown.items()])


def aligned(lines: Sequence[Sequence[str | Text]], style: str = "", *, first: int = MODE_CELLS) -> Table:
    """Lines whose columns stand below those of other such tables: names between them may be of any length."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=first, style=style)
    for _ in lines[0][1:]:
        grid.add_column(width=FIGURE_CELLS, style=style, overflow="fold")
    for line in lines:
        grid.add_row(*line)
    return grid


def _by_column(found: Mapping[int, Row], columns: Sequence[str]) -> list[Row | None]:
    placed = {(FEW if FEW in columns and shots > 1 else _column(shots)): row for shots, row in found.items()}
    return [placed.get(each) for each in columns]


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


def figure(row: Row | None) -> Text:
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
    """A line for each benchmark: how much the order of the examples changes, how much the wording."""
    lines: dict[tuple[str, int, str], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row["benchmark"], row["shots"], row["mode"]), {})[row["metric"]] = row
    table = plain_table("best minus worst", "asked")
    for heading in RANGES.values():
        table.add_column(heading, no_wrap=True)
    for (benchmark, shots, mode), found in lines.items():
        table.add_row(plain(benchmark), f"{shots}-shot {mode}", *(_range(found.get(each)) for each in RANGES))
    return table


def _range(row: Row | None) -> Text:
    """0.32 .20–.46 of 3"""
    if row is None:
        return Text("–", style="dim")
    interval = f"{_short(row['low'])}–{_short(row['high'])}"
    return Text.assemble(f"{row['value']:.2f} ", (f"{interval} of {row['ways']}", "dim"))


def _seen_in_training(document: Mapping[str, Any]) -> Table:
    """A line for each benchmark of which some items were: its first figure over the others (clean) and over those (dirty)."""
    table = plain_table("seen in training")
    for heading in ("items", "asked", CLEAN, DIRTY):
        table.add_column(heading, justify="left" if heading == "asked" else "right", no_wrap=True)
    for found in (document.get("contamination") or {}).get("benchmarks", ()):
        rows = [row for row in document["rows"] if row["benchmark"] == found["benchmark"] and "subset" in row]
        if not (found["dirty"] and rows):
            continue
        first = (rows[0]["shots"], rows[0]["mode"], rows[0]["metric"])
        parts = {row["subset"]: row for row in rows if (row["shots"], row["mode"], row["metric"]) == first}
        figures = (
            f"{parts[each]['value']:.2f} of {parts[each]['n']}" if each in parts else "–" for each in (CLEAN, DIRTY)
        )
        items = f"{found['dirty']} of {found['checked']}"
        table.add_row(plain(found["benchmark"]), items, f"{first[0]}-shot {first[1]}", *figures)
    return table


def _others(rows: Sequence[Row]) -> Table:
    """Perplexities, and scores under another name than those of the matrix."""
    table = plain_table()
    for heading in ("benchmark", "metric", "asked"):
        table.add_column(heading, no_wrap=heading == "asked", overflow="fold")
    for heading in ("value", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        interval = f"{row['low']:.3g}–{row['high']:.3g}"
        names = (Text(plain(row[each])) for each in ("benchmark", "metric"))  # no markup: exact_match[strict]
        table.add_row(*names, f"{row['shots']}-shot {row['mode']}", f"{row['value']:.4g}", interval)
    return table
