"""Files of rows: JSON, JSON lines, Parquet, CSV and TSV, also in gzip, zip and tar. No format is known here."""

import csv
import io
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tasks.corpus.archives import ArchiveLimit, BrokenArchive, Member, is_archive, members, suffix_of
from tasks.corpus.files import list_files, plain_name
from tasks.corpus.rows import ROW_FILES, Rows, read_rows
from tasks.corpus.sources import Limits, Refusal, Source

TABLES = (".tsv", ".txt", ".csv")
LIMITS = Limits(max_json_bytes=1_000_000_000, max_row_bytes=16_000_000)
FEWEST_NAMES = 2  # a first line with so many names that are known is a header


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A file, or a member of an archive, with its rows: (place, value), (place, cells) or (place, Refusal)."""

    name: str
    path: Path
    rows: Rows


def opened(path: Path, columns: Collection[str]) -> Iterator[Opened | Refusal]:
    """Every file at a path, a folder or a glob, to be read one after another; `columns` are the names a header may have.

    ValueError when nothing is there.
    """
    source = Source(path=str(path.expanduser().absolute()), name=plain_name(path))
    try:
        files = list_files(source, Path.cwd())
    except ValueError as error:
        raise ValueError(f"{path}: there is no such file; name a file, a folder or a glob") from error
    for name, file in files:
        with file.open("rb") as stream:
            if not is_archive(name):
                yield _opened(Member(name=name, stream=stream), file, columns)
                continue
            for member in members(name, stream, file.stat().st_size, LIMITS):
                yield member if isinstance(member, Refusal) else _opened(member, file, columns)


def _opened(member: Member, file: Path, columns: Collection[str]) -> Opened | Refusal:
    if suffix_of(member.name) not in (*ROW_FILES, *TABLES):
        return Refusal(id=member.name, text="", reason="not .json, .jsonl, .parquet, .csv or .tsv")
    return Opened(name=member.name, path=file, rows=_guarded(member, columns))


def _guarded(member: Member, columns: Collection[str]) -> Rows:
    is_table = suffix_of(member.name) in TABLES
    try:
        yield from _table_rows(member, columns) if is_table else read_rows(member, LIMITS)
    except ArchiveLimit as error:
        yield "", Refusal(id=member.name, text="", reason="archive beyond limits", detail=str(error))
    except BrokenArchive as error:
        yield "", Refusal(id=member.name, text="", reason="broken archive", detail=str(error))


def _table_rows(member: Member, columns: Collection[str]) -> Rows:
    """With a header rows are {name: cell}, and a cell may be quoted as CSV quotes; without one they are lists of cells
    between tabs, in which a quotation mark is a quotation mark.
    """
    # surrogateescape: a bad byte spoils its own row, not the file
    lines = io.TextIOWrapper(member.stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    first = lines.readline()
    mark = max(",;\t", key=first.count) if suffix_of(member.name) == ".csv" else "\t"
    names = [name.strip() for name in next(csv.reader([first], delimiter=mark), [])]
    if len({name.lower() for name in names} & set(columns)) >= FEWEST_NAMES:
        yield from _named_cells(member.name, lines, mark, names)
    else:
        for number, line in enumerate(chain([first], lines), start=1):
            if line.strip():
                yield f"line {number}", line.rstrip("\r\n").split(mark)
    lines.detach()


def _named_cells(name: str, lines: Iterable[str], mark: str, names: list[str]) -> Rows:
    reader = csv.reader(lines, delimiter=mark, strict=True)  # strict: a stray quotation mark swallows no further lines
    while True:
        place = f"line {reader.line_num + 2}"  # the header is the first
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield place, Refusal(id=name, text="", reason="a broken line of the table", detail=str(error))
            continue
        if cells is None:
            return
        if len(cells) == len(names):
            yield place, dict(zip(names, cells, strict=True))
        elif cells:
            detail = f"{len(cells)} cells, and the first line names {len(names)}"
            yield place, Refusal(id=name, text="", reason="a broken line of the table", detail=detail)
