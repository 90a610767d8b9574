"""Several checkpoints in one table: benchmarks and ways of asking down, models across."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from flows.evaluate_tables import BESIDE, COUNTED, FIGURE_CELLS, MAIN, Row, aligned, evaluation_report, figure
from flows.tables import plain
from tasks.evaluation.comparable import comparable

ASKED_CELLS = len("  0-shot acc_norm")
Document = Mapping[str, Any]
Asked = tuple[int, str]  # 0, "direct"


def evaluations_report(documents: Sequence[Document]) -> RenderableType:
    """The matrix of all of them; a suite without one is shown a model at a time."""
    names = [str(document["model"]["name"]) for document in documents]
    lines = _lines(documents)
    if not lines:
        return Group(*map(evaluation_report, documents))
    parts: list[RenderableType] = [Text(f"suite {documents[0]['suite']}", style="bold"), Text()]
    for start in range(0, len(names), BESIDE):
        some = slice(start, start + BESIDE)
        parts.append(aligned([["", *map(_heading, names[some])]], "dim", first=ASKED_CELLS))
        for benchmark, asked in lines.items():
            parts.append(Text(plain(benchmark), style="bold"))
            parts.append(aligned([_line(each, found[some]) for each, found in asked.items()], first=ASKED_CELLS))
        parts.append(Text())
    parts += [Text(each, style="dim") for each in _otherwise(names, lines)]
    elsewhere = "orders, wordings, other figures and what was seen in training: the page of each model"
    return Group(*parts, Text(COUNTED, style="dim"), Text(elsewhere, style="dim"))


def _heading(name: str) -> str:
    """A name that is too long for its column breaks at a joint."""
    name = plain(name)
    return name if len(name) <= FIGURE_CELLS else name.replace("-", "-\n", 1)


def _line(asked: Asked, found: Sequence[Row | None]) -> list[str | Text]:
    shots, mode = asked
    return [f"  {shots}-shot {mode}", *map(figure, found)]


def _lines(documents: Sequence[Document]) -> dict[str, dict[Asked, list[Row | None]]]:
    """{"arithmetic": {(0, "direct"): [a row of each model]}} in the order in which they were asked."""
    lines: dict[str, dict[Asked, list[Row | None]]] = {}
    for place, document in enumerate(documents):
        for row in document["rows"]:
            if row["metric"] in MAIN and "subset" not in row:
                mode = row["mode"] if row["mode"] != "likelihood" else row["metric"]
                asked = lines.setdefault(row["benchmark"], {})
                asked.setdefault((row["shots"], mode), [None] * len(documents))[place] = row
    return lines


def _otherwise(names: Sequence[str], lines: Mapping[str, Mapping[Asked, Sequence[Row | None]]]) -> Iterator[str]:
    """Of each model that was not asked as the first one was, the first difference: such figures do not compare."""
    for place, name in enumerate(names[1:], start=1):
        for asked in lines.values():
            pairs = [(found[0], found[place]) for found in asked.values()]
            reasons = [comparable(first, other)[1] for first, other in pairs if first and other]
            reason = next(filter(None, reasons), "")
            if reason:
                yield f"{plain(name)} (B) was not asked as {plain(names[0])} (A) was: {plain(reason)}"
                break
