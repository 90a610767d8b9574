"""The exercises of a task whose source is a file: JSON lines, JSON, Parquet, CSV or TSV, one exercise a row."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.exercises.exercise import Exercise
from tasks.exercises.task_files import ALWAYS, TaskFile

TABLES = {".csv": ",", ".tsv": "\t"}
Placed = Iterator[tuple[str, Any]]  # ("line 3", the row)
# (answer, its type, options) -> (it can be given, why not)
Answerable = Callable[[str, str, Sequence[str]], tuple[bool, str]]


def file_exercises(task: TaskFile, answerable: Answerable) -> list[Exercise]:
    """ValueError with file, line and mend for a row that is no exercise of this task, or that nobody could answer."""
    file = task.source.file
    assert file is not None
    rows = _table_rows(file) if file.suffix.lower() in TABLES else _json_or_parquet_rows(file)
    try:
        found = [_exercise(task, f"{file}, {place}" if place else str(file), row, answerable) for place, row in rows]
    except PermissionError as error:
        raise ValueError(f"{file}: may not be read; change its rights") from error
    if not found:
        raise ValueError(f"{file}: there is no row in it; {task.path} needs exercises")
    return found


def _table_rows(file: Path) -> Placed:
    """Rows of {column: cell}; the first line names the columns."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, delimiter=TABLES[file.suffix.lower()], strict=True)
        try:
            names = reader.fieldnames or ()
            if len(set(names)) < len(names):
                raise ValueError(f"a column is named twice ({', '.join(names)}); give each a name of its own")
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(f"other than the {len(names)} cells that the first line names; mend the quotes")
                yield f"line {reader.line_num}", row
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: not in UTF-8 ({error}); save it as UTF-8") from error
        except csv.Error as error:
            raise ValueError(
                f"{file}, line {reader.reader.line_num}: {error}; mend the quotes, or shorten the cell"
            ) from error
        except ValueError as error:
            raise ValueError(f"{file}, line {reader.line_num}: {error}") from error


def _json_or_parquet_rows(file: Path) -> Placed:
    # pyarrow, behind these readers, is not there on a machine that only trains
    from tasks.corpus.archives import Member, suffix_of
    from tasks.corpus.rows import ROW_FILES, read_rows
    from tasks.corpus.sources import Limits, Refusal

    if suffix_of(file.name) not in ROW_FILES:
        raise ValueError(f"{file}: not read as rows; write it as one of {', '.join((*ROW_FILES, *TABLES))}")
    with file.open("rb") as stream:
        for place, row in read_rows(Member(name=file.name, stream=stream), Limits()):
            if isinstance(row, Refusal):
                where, what = (f"{file}, {place}", "row") if place else (file, "file")
                raise ValueError(f"{where}: {row.reason} ({row.detail}); mend this {what}")
            yield place, row


def _exercise(task: TaskFile, where: str, row: Any, answerable: Answerable) -> Exercise:
    fields = task.source.fields or {}
    if not isinstance(row, Mapping):
        raise ValueError(f"{where}: expected fields and values, found {type(row).__name__}")
    values = {name: _value(where, row, field, name) for name, field in fields.items() if name != "options"}
    options = _options(where, row, fields["options"]) if "options" in fields else task.options
    if options and values["answer"] not in options:
        raise ValueError(
            f"{where}: the answer {values['answer']!r} is none of the options {', '.join(options)}; "
            f"correct it, or add it to the options in {task.path}"
        )
    can_be_given, reason = answerable(values["answer"], task.answer_type, options)
    if not can_be_given:
        raise ValueError(f"{where}: {reason}, or another answer_type into {task.path}")
    return Exercise(
        text=values["text"],
        answer=values["answer"],
        slots={name: value for name, value in values.items() if name not in (*ALWAYS, "rationale")},
        rationale=values.get("rationale", ""),
        options=options,
    )


def _value(where: str, row: Mapping[str, Any], field: str, name: str) -> str:
    if field not in row:
        raise ValueError(f"{where}: no field {field}; it has {', '.join(map(str, row))}: name one for {name} in fields")
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{where}: {field} is {type(value).__name__}; write a text or a number")
    if not str(value).strip():
        raise ValueError(f"{where}: {field} is empty; write the {name} there, or leave the row out")
    if any("\ud800" <= letter <= "\udfff" for letter in str(value)):
        raise ValueError(f"{where}: {field} has half a character, which no file holds; mend its escapes")
    return str(value).strip()


def _options(where: str, row: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = row.get(field)
    if not isinstance(value, list | tuple) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{where}: {field} is no list of texts; write one, in JSON lines as a table has none")
    return tuple(value)
