"""The tables of `espalier data look`: what was read as what, what was dropped and why, and two of the conversations."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.tables import WIDE, plain

MOST_FILES, MOST_NAMES = 12, 10
NUMBER_CELLS, FORMAT_CELLS, SHORTEST_NAME = 10, 24, 16
MOST_LINES, MOST_CHARACTERS = 8, 480  # of a message in an example
STYLES = {"assistant": "green", "rejected": "red", "tool": "magenta", "system": "yellow"}
Record = Mapping[str, Any]


def look_tables(document: Record, *, width: int = 80) -> RenderableType:
    parts: list[RenderableType] = [Text(), _facts(document)]
    parts += [_files(document["files"], width)] if len(document["files"]) > 1 else []
    parts += [_dropped(document)] if document["dropped"] else []
    for number, example in enumerate(document["examples"], start=1):
        parts += [Text(f"\nexample {number}: {plain(example['source'])}", style="bold"), _example(example)]
    said = "green: what an assistant would learn to say"
    return Group(*parts, Padding(Text(said, style="dim"), (1, 0, 0, 0)))


def _facts(document: Record) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    formats = {each["format"]: each for each in document["files"] if each["kept"]}
    grid.add_row("format", Text("\n".join(_format(each) for each in formats.values())))
    what = "preference pair" if document["pairs"] == document["kept"] else "conversation"
    grid.add_row("kept", f"{counted(document['kept'], what)} of {counted(document['rows'], 'row')}")
    if document["repeated"]:
        grid.add_row("repeated", f"{document['repeated']:,} say the same as an earlier one; they are kept")
    for name, heading in (("turns", "turns"), ("prompt_characters", "prompt"), ("answer_characters", "answer")):
        unit = "" if name == "turns" else "character"
        grid.add_row(heading, _spread(document[name], unit))
    for name in ("tasks", "categories"):
        if document[name]:
            grid.add_row(name, Text(_named(document[name])))
    for number, (note, count) in enumerate(document["notes"].items()):
        grid.add_row("" if number else "noted", Text(f"{count:,} {plain(note)}"))
    for number, said in enumerate(_passed_over(document["passed_over"])):
        grid.add_row("" if number else "passed over", Text(said))
    return grid


def _passed_over(files: Mapping[str, str]) -> list[str]:
    """ "SOURCE.md: not .json, …", or "24 files, annotations.antonyms.json the first: wordings of a task" """
    said = []
    for reason in dict.fromkeys(files.values()):
        names = [name for name, why in files.items() if why == reason]
        which = plain(names[0]) if len(names) == 1 else f"{len(names):,} files, {plain(names[0])} the first"
        said.append(f"{which}: {plain(reason)}")
    return said[:MOST_NAMES] + ([f"and {len(said) - MOST_NAMES} more"] if len(said) > MOST_NAMES else [])


def _format(file: Record) -> str:
    """ "gsm8k, guessed from question, answer (question-answer fits too)" """
    guessed = f", guessed from {', '.join(map(plain, file['guessed_from']))}" if file["guessed_from"] else ", as named"
    also = f" ({', '.join(file['also'])} would fit too)" if file["also"] else ""
    return f"{file['format']}{guessed}{also}"


def _spread(spread: Record, unit: str) -> str:
    """ "2", or "median 31 characters, 2 to 140" """
    middle = counted(round(spread["median"]), unit) if unit else f"{spread['median']:,.0f}"
    if spread["least"] == spread["most"]:
        return middle
    return f"median {middle}, {spread['least']:,} to {spread['most']:,}"


def _named(counts: Mapping[str, int]) -> str:
    """ "open_qa 12, brainstorming 3 and 4 more" """
    shown = ", ".join(f"{plain(name)} {count:,}" for name, count in list(counts.items())[:MOST_NAMES])
    return shown + (f" and {len(counts) - MOST_NAMES} more" if len(counts) > MOST_NAMES else "")


def _files(files: Sequence[Record], width: int) -> RenderableType:
    """A line a file; a name that is too long gives up its middle."""
    headings = ["kept", "dropped", "prompt", "answer"]
    headings[2:2] = ["turns"] if width >= WIDE else []
    columns = ("file", "format") if len({each["format"] for each in files}) > 1 else ("file",)
    room = width - sum(NUMBER_CELLS for _ in headings) - FORMAT_CELLS * (len(columns) - 1)
    table = _table(*columns, numbers=headings)
    for each in files[:MOST_FILES]:
        names = [Text(_fitted(plain(each["file"]), max(room, SHORTEST_NAME)), style="bold"), each["format"]]
        numbers = [f"{each['kept']:,}", f"{each['rows'] - each['kept']:,}"]
        numbers += [_median(each["turns"])] if width >= WIDE else []
        numbers += [_median(each["prompt_characters"]), _median(each["answer_characters"])]
        table.add_row(*names[: len(columns)], *numbers)
    if len(files) > MOST_FILES:
        table.add_row(f"and {counted(len(files) - MOST_FILES, 'more file')}")
    return table


def _fitted(name: str, cells: int) -> str:
    """ "task126_scan_structured.head400.json" -> "task126_sca…00.json" """
    if cell_len(name) <= cells:
        return name
    head = set_cell_size(name, cells // 2)
    tail = set_cell_size(name[::-1], cells - cells // 2 - 1)[::-1]
    return f"{head}…{tail}"


def counted(number: int, what: str) -> str:
    """(1, "row") -> 1 row; (1200, "row") -> 1,200 rows"""
    return f"{number:,} {what}" + "s" * (number != 1)


def _median(spread: Record | None) -> str:
    return "–" if spread is None else f"{spread['median']:,.0f}"


def _dropped(document: Record) -> RenderableType:
    table = _table("dropped because of", "the first", numbers=("rows",))
    for reason, rows in document["dropped"].items():
        file = next(each for each in document["files"] if reason in each["dropped"])
        first = file["dropped"][reason]
        said = first["first"] if len(document["files"]) == 1 else f"{file['file']}, {first['first']}"
        detail = f": {first['detail']}" if first["detail"] else ""
        table.add_row(Text(plain(reason), style="yellow"), Text(plain(f"{said}{detail}")), f"{rows:,}")
    return table


def _example(example: Record) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for message in example["messages"]:
        calls = "".join(f"\n→ {json.dumps(call, ensure_ascii=False)}" for call in message.get("tool_calls", ()))
        content = f"{message['content']}{calls}".strip()
        grid.add_row(message["role"], Text(_shortened(content), style=STYLES.get(message["role"], "")))
    if example["rejected"]:
        grid.add_row("rejected", Text(_shortened(example["rejected"]), style=STYLES["rejected"]))
    if example["tools"]:
        grid.add_row("tools", f"{len(example['tools'])} defined")
    return grid


def _shortened(text: str) -> str:
    """The beginning, with its lines; what is left out is said."""
    lines = text[:MOST_CHARACTERS].split("\n")[:MOST_LINES]
    shown = "\n".join(plain(line) for line in lines)
    left = len(text) - len("\n".join(lines))
    return f"{shown} … ({left:,} characters more)" if left else shown


def _table(*headings: str, numbers: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", highlight=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
