"""`--data`: files of published benchmarks -> items to ask and examples to show, their format recognised and told."""

import csv
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.conversations import induction
from tasks.conversations.conversation import BadRow, check_text
from tasks.conversations.fields import fields_of, kind_of
from tasks.conversations.opening import Opened, opened
from tasks.corpus.sources import Refusal
from tasks.evaluation.benchmark import Benchmark, Item, benchmarks
from tasks.evaluation.golds import golds_of
from tasks.evaluation.published import COLUMNS, FORMATS, Published, Raw

LOOKED_AT = 20  # rows, to recognise a format by
TRAIN = (
    "train",
    "dev",
)  # what such a file's name says: examples are shown of it, and it is asked only for want of others
SPLITS = ("train", "dev", "valid", "validation", "val", "test")
COLLECTIONS = ("bbh", "flan_cot", "instruction_induction", "natural_instructions")


@dataclass(kw_only=True)
class Brought:
    """A benchmark's items by the part of the data that their file is."""

    benchmark: Benchmark
    train: list[Item] = field(default_factory=list)
    test: list[Item] = field(default_factory=list)
    empty: int = 0  # without a question, as in the published NSMC, or an answer, as in Natural Instructions
    files: Counter[str] = field(default_factory=Counter)  # how many had a name


def brought(paths: Sequence[Path]) -> list[Brought]:
    """Each benchmark of all files; ValueError in a sentence for a file that is none, that is empty, or a broken row."""
    found: dict[str, Brought] = {}
    for path in dict.fromkeys(paths):
        before = sum(len(each.train) + len(each.test) for each in found.values())
        for file in opened(path, COLUMNS):
            if isinstance(file, Refusal):
                if path.is_file():
                    raise ValueError(f"{path}: {file.reason}; name a file of a benchmark as it was published")
                continue  # a README beside the data
            for benchmark, items in _read(file, path):
                own = found.setdefault(benchmark.name, Brought(benchmark=benchmark))
                own.files[_plain(file.name)] += 1
                if (number := own.files[_plain(file.name)]) > 1:  # a file of that name in another folder
                    items = [replace(item, id=f"{number}/{item.id}") for item in items]
                own.empty += sum(not _says(item) for item in items)
                (own.train if _part(file.name) in TRAIN else own.test).extend(filter(_says, items))
        if sum(len(each.train) + len(each.test) for each in found.values()) == before:
            raise ValueError(f"{path}: there is no question in it; name a file of a benchmark as it was published")
    return list(found.values())


def _read(file: Opened, path: Path) -> Iterator[tuple[Benchmark, list[Item]]]:
    rows = list(_rows(file))
    where = str(path) if path.is_file() else f"{path}: {file.name}"
    if not rows:
        return
    for format in _formats(rows, where, alone=path.is_file()):
        benchmark = _named(benchmarks()[format.name], file.name)
        raws = _instructed(file, _raws(format, rows, where)) if format.by_instruction else _raws(format, rows, where)
        items = [
            _item(benchmark, _at(where, place), f"{_plain(file.name)}/{number}", raw)
            for number, (place, raw) in enumerate(raws, start=1)
        ]
        yield benchmark, items


def _rows(file: Opened) -> Iterator[tuple[str, Any]]:
    """A table without a header is read again as CSV is quoted: a question of MMLU may hold commas and line breaks."""
    first = next(file.rows, None)
    if first is None:
        return
    if isinstance(first[1], list) and file.path.suffix == ".csv":
        yield from _cells(file.path)
        return
    yield first
    yield from file.rows


def _at(*parts: str) -> str:
    """ "bbh.json", "", "example 3" -> "bbh.json, example 3": a whole JSON file has no line."""
    return ", ".join(filter(None, parts))


def _cells(path: Path) -> Iterator[tuple[str, list[str]]]:
    # surrogateescape: a bad byte is told with its own line, not with where the buffer that holds it was read
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        reader = csv.reader(stream)
        try:
            for number, row in enumerate(reader, start=1):
                check_text("a cell", "".join(row))
                yield f"row {number}", row
        except BadRow as bad:
            raise ValueError(f"{path}, line {reader.line_num}: {bad.reason}; write it as CSV in UTF-8") from None
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num + 1}: {error}; write it as CSV in UTF-8") from error


def _formats(rows: Sequence[tuple[str, Any]], where: str, *, alone: bool) -> list[Published]:
    """Those that half of the first rows fit: one, or the two of TruthfulQA. In a folder what is no benchmark is passed."""
    looked_at = [row for _, row in rows[:LOOKED_AT] if not isinstance(row, Refusal)]
    if not looked_at:
        place, refusal = rows[0]
        raise ValueError(f"{_at(where, place)}: {refusal.reason}; mend it, or write one JSON object a line")
    fitting = [each for each in FORMATS if 2 * sum(_fits(each, row) for row in looked_at) >= len(looked_at)]
    if fitting:
        return [each for each in fitting if each.name.split("_")[0] == fitting[0].name.split("_")[0]]
    if not alone:
        return []
    first = looked_at[0]
    nameless = f"lines of {len(first)} cells and no header" if isinstance(first, list) else "rows without names"
    seen = ", ".join(map(str, fields_of(first))) if isinstance(first, dict) else nameless
    known = ", ".join(dict.fromkeys(each.name for each in FORMATS))
    raise ValueError(
        f"{where}: no published benchmark has {seen[:200]}; give one of {known} with the fields it came with"
    )


def _fits(format: Published, row: Any) -> bool:
    try:
        return format.fits(row)
    except BadRow:  # a number, or a question that is no text
        return False


def _raws(format: Published, rows: Sequence[tuple[str, Any]], where: str) -> Iterator[tuple[str, Raw]]:
    for place, row in rows:
        if isinstance(row, Refusal):
            raise ValueError(f"{_at(where, place)}: {row.reason}; mend it or take it out")
        inside = ""
        try:
            for inside, raw in format.items(row):
                yield _at(place, inside), raw
        except (BadRow, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            at = _at(where, place, f"after {inside}" if inside else "")
            raise ValueError(f"{at}: {_wrong(format, error)}; mend it or take it out") from None


def _wrong(format: Published, error: Exception) -> str:
    if isinstance(error, BadRow):
        return error.reason
    if isinstance(error, KeyError):
        return f"a {format.name} needs the field {error}"
    if isinstance(error, ValueError):
        return f"read as {format.name}: {error}"
    return f"its fields do not hold what those of a {format.name} hold ({error})"


def _instructed(file: Opened, raws: Iterator[tuple[str, Raw]]) -> Iterator[tuple[str, Raw]]:
    """With one of the wordings that people gave the task, in the file beside it, or else with its name."""
    task = induction.task_of(file.name)
    wordings = induction.wordings_beside(file.path, task)
    for place, raw in raws:
        said = induction.wording(task, raw.slots["text"], wordings)
        yield place, replace(raw, slots={"instruction": said, **raw.slots})


def _says(item: Item) -> bool:
    """Whether it asks something; where nothing is the answer, to say nothing would be right."""
    return bool(item.slots["text"].strip()) and any(map(str.strip, item.golds))


def _named(benchmark: Benchmark, file: str) -> Benchmark:
    """A collection's task has the name of its file."""
    return replace(benchmark, name=f"{benchmark.name}/{_plain(file)}") if benchmark.name in COLLECTIONS else benchmark


def _plain(file: str) -> str:
    """ "annotations/execute.antonyms.json" -> antonyms, "task073_x.test.json.gz" -> task073_x, "data.jsonl" -> data"""
    parts = PurePosixPath(file).name.split(".")
    kept = [part for part in parts if part not in (*SPLITS, "execute", "induce", "json", "jsonl", "gz")]
    return kept[0] if kept else parts[0]


def _part(file: str) -> str:
    """ "train", "dev" or "test", as the file's own name or its folder says; "" where neither does."""
    words = re.split(r"[^a-z]+", file.lower())
    return next((word for word in words if word in SPLITS), "")


def _item(benchmark: Benchmark, place: str, id: str, raw: Raw) -> Item:
    try:
        slots = {name: _text(name, value) for name, value in raw.slots.items()}
        letters = string.ascii_uppercase[: len(raw.options)]
        if len(raw.options) > len(letters) or not all(map(str.strip, raw.options)):
            most = len(string.ascii_uppercase)
            raise ValueError(f"expected at most {most} options, each with a text; mend it or take it out")
        check_text("an option", "".join(raw.options))
        golds = golds_of(raw.answer, benchmark.answer_type, letters, ())
    except BadRow as bad:
        raise ValueError(f"{place}: {bad.reason} ({bad.detail}); mend it or take it out") from None
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    golds = tuple(filter(str.strip, golds)) or golds  # of several right answers a file may have an empty one
    shown = f"({golds[0]})" if benchmark.answer_type == "choice" else golds[0]
    return Item(
        id=id, place=place, slots=slots, shown=shown, golds=golds, options=raw.options,
        right=raw.right, rationale=raw.rationale,
    )  # fmt: skip


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow("a field that is not a text", f"{name}: {kind_of(value)}")
    check_text(name, str(value))
    return str(value)
