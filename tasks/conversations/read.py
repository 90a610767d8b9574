"""Files of conversations -> conversations: the format guessed or named, what cannot be one dropped and counted by reason."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tasks.conversations import induction
from tasks.conversations.conversation import BadRow, Conversation, check, in_one_line
from tasks.conversations.fields import (
    CATEGORY_NAMES,
    ID_NAMES,
    TASK_NAMES,
    Fields,
    fields_of,
    first_of,
    kind_of,
    name_of,
    objects,
)
from tasks.conversations.format import File, Format, Item
from tasks.conversations.formats import COLUMNS, FORMATS, labels_in
from tasks.conversations.opening import Opened, opened
from tasks.corpus.sources import Refusal

LOOKED_AT = 100  # rows, to guess a format by
TOLD_EVERY = 5000  # rows, of the progress
_SHOWN_FIELDS = 12

Progress = Callable[[float], None]
Placed = Sequence[tuple[str, object]]  # rows with their places


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """How many rows of a file had one fault, where the first of them stands, and what more there is to say of it."""

    rows: int
    place: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One file: `guessed_from` are its fields (none where the format was named), `also` other formats that fit."""

    name: str
    format: str
    guessed_from: tuple[str, ...]
    also: tuple[str, ...]
    conversations: tuple[Conversation, ...]
    dropped: dict[str, Dropped]
    notes: dict[str, int]

    @property
    def rows(self) -> int:
        return len(self.conversations) + sum(each.rows for each in self.dropped.values())


def read(path: Path, format: str = "", progress: Progress = lambda _: None) -> tuple[list[Reading], dict[str, str]]:
    """Every file at a path, a folder or a glob: (what was read, {a file that was passed over: why}).

    `progress` is told now and then which share of all bytes is read. ValueError in one sentence when no conversation
    comes of it.
    """
    named = format_named(format) if format else None
    found: list[Reading] = []
    passed_over: dict[str, str] = {}
    for each in opened(path, COLUMNS):
        if isinstance(each, Refusal):
            passed_over[each.id] = each.reason + (f" ({in_one_line(each.detail)})" if each.detail else "")
            continue
        try:
            found.append(_reading(each, named, progress))
        except ValueError as error:
            passed_over[each.name] = str(error)
    if not any(reading.conversations for reading in found):
        raise ValueError(_nothing(path, found, passed_over))
    return found, passed_over


def format_named(name: str) -> Format:
    known = {each.name: each for each in FORMATS}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise ValueError(f"{name}: no such format; {mend}")
    return known[name]


def _reading(file: Opened, named: Format | None, progress: Progress) -> Reading:
    begin, rows = file.share(), []
    for row in file.rows:
        rows.append(row)
        if len(rows) % TOLD_EVERY == 0:
            progress((begin + file.share()) / 2)  # making conversations of the rows takes the other half
    end = file.share()
    fitting = [named] if named else guess(rows)
    told = _context(file, fitting[0], rows)
    kept: list[Conversation] = []
    faults: dict[str, list[tuple[str, str]]] = {}
    for number, (place, made) in enumerate(_conversations(file, fitting[0], told, rows), start=1):
        if number % TOLD_EVERY == 0:
            progress(end - (end - begin) / 2 * max(0.0, 1 - number / len(rows)))
        if isinstance(made, Conversation):
            kept.append(made)
        else:
            faults.setdefault(made.reason, []).append((place, made.detail))
    return Reading(
        name=file.name,
        format=fitting[0].name,
        guessed_from=() if named else _fields_in(rows),
        also=tuple(each.name for each in fitting[1:]),
        conversations=tuple(kept),
        dropped={reason: Dropped(rows=len(all), place=all[0][0], detail=all[0][1]) for reason, all in faults.items()},
        notes=dict(+told.notes),
    )


def guess(rows: Placed) -> list[Format]:
    """The formats that half of the first rows fit, the most particular first; ValueError when none does."""
    looked_at = [row for _, row in rows[:LOOKED_AT] if not isinstance(row, Refusal)]
    if looked_at and all(induction.are_wordings(row) for row in looked_at):
        raise ValueError("wordings of a task; they are read with the examples beside them")
    fitting = [
        each for each in FORMATS if looked_at and 2 * sum(_fits(each, row) for row in looked_at) >= len(looked_at)
    ]
    if not fitting:
        raise ValueError(_unknown(rows, looked_at))
    return fitting


def _fits(format: Format, row: Item) -> bool:
    try:
        return format.fits(row)
    except BadRow:
        return False


def _context(file: Opened, format: Format, rows: Placed) -> File:
    task = ""
    if format.named_by_file:
        task = induction.task_of(file.name)
    wordings = induction.wordings_beside(file.path, task) if format.name == "instruction-induction" else ()
    labels = labels_in([row for _, row in rows]) if format.name == "labelled" else ()
    return File(task=task, wordings=wordings, labels=labels)


def _conversations(
    file: Opened, format: Format, told: File, rows: Placed
) -> Iterator[tuple[str, Conversation | BadRow]]:
    for place, row in rows:
        try:
            for inside, item in _items(format, told, row):
                at = ", ".join(part for part in (place, inside) if part)
                try:
                    yield at, _conversation(f"{file.name}, {at}" if at else file.name, format, told, item)
                except BadRow as bad:
                    yield at, bad
        except BadRow as bad:
            yield place, bad


def _items(format: Format, told: File, row: Item) -> Iterator[tuple[str, Item]]:
    if isinstance(row, Refusal):
        raise BadRow(row.reason, row.detail)
    if format.items is None:
        yield "", row
    else:
        yield from format.items(row, told)


def _conversation(place: str, format: Format, told: File, item: Item) -> Conversation:
    messages, rejected = format.make(item, told)
    fields = fields_of(item) if isinstance(item, dict) else {}
    conversation = Conversation(
        messages=tuple(messages),
        source=_source(place, fields),
        rejected=rejected,
        task=name_of(fields, TASK_NAMES) or told.task,
        category=name_of(fields, CATEGORY_NAMES),
        tools=objects(fields.get("tools")),
    )
    check(conversation)
    return conversation


def _source(place: str, fields: Fields) -> str:
    """The row's own id in its place where it has one."""
    id = first_of(fields, ID_NAMES)
    return f"{place} ({id})" if isinstance(id, str | int) else place


def _fields_in(rows: Placed) -> tuple[str, ...]:
    """The names in the first rows, by how many have them."""
    names = Counter(in_one_line(str(name)) for _, row in rows[:LOOKED_AT] if isinstance(row, dict) for name in row)
    cells = Counter(
        f"{len(row)} cell{'s' * (len(row) != 1)} a line, no header"
        for _, row in rows[:LOOKED_AT]
        if isinstance(row, list)
    )
    return tuple(name for name, _ in (names or cells).most_common(_SHOWN_FIELDS))


def _unknown(rows: Placed, looked_at: Sequence[Item]) -> str:
    if not rows:
        return "there is no row in it; name a file of conversations"
    if not looked_at:
        (place, refusal) = rows[0]
        said = f"{refusal.reason} ({in_one_line(refusal.detail)})" if isinstance(refusal, Refusal) else ""
        return f"{place + ': ' if place else ''}{said}; mend it, or write one JSON object a line"
    fields = ", ".join(_fields_in(rows)) or kind_of(looked_at[0])
    place = next(place for place, row in rows if not isinstance(row, Refusal))
    return (
        f"{place + ': ' if place else ''}no known format in {fields}; name one with --format "
        f"({', '.join(each.name for each in FORMATS)}), or rename its fields, for example to instruction and output"
    )


def _nothing(path: Path, found: Sequence[Reading], passed_over: dict[str, str]) -> str:
    """One sentence on the first file that might have been one."""
    for reading in found:
        for reason, dropped in reading.dropped.items():
            where = f", {dropped.place}" if dropped.place else ""
            more = f" ({dropped.detail})" if dropped.detail else ""
            return (
                f"{_shown(path, reading.name)}{where}: {reason}{more}; none of its {reading.rows:,} rows is left as "
                f"{reading.format}: mend them, or name another format with --format"
            )
    for name, reason in passed_over.items():
        joint = ", " if reason.startswith(("line ", "row ")) else ": "
        mend = "" if ";" in reason else "; name another file, or write it as JSON lines"
        return f"{_shown(path, name)}{joint}{reason}{mend}"
    return f"{path}: there is no row in it; name a file of conversations"


def _shown(path: Path, name: str) -> str:
    """The file as the caller named it, or as it lies below what the caller named."""
    return str(path) if path.is_file() and PurePosixPath(name).name in path.name else f"{path}: {name}"
