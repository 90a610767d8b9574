"""Files of rows: JSON, JSON lines, Parquet, CSV and TSV, also in gzip, zip and tar. No format is known here."""

import csv
import io
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from pathlib import Path

from tasks.corpus.archives import ArchiveLimit, BrokenArchive, Member, is_archive, members, suffix_of
from tasks.corpus.files import list_files, plain_name
from tasks.corpus.rows import ROW_FILES, Rows, read_rows
from tasks.corpus.sources import Limits, Refusal, Source
from tasks.corpus.tables import mark_of, named_cells

TABLES = (".tsv", ".txt", ".csv")
LIMITS = Limits(max_json_bytes=1_000_000_000, max_row_bytes=16_000_000)
# how a table begins that a spreadsheet saved as "Unicode text", read as below
UTF_16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")
FEWEST_NAMES = 2  # a first line with so many names that are known is a header


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A file, or a member of an archive, with its rows: (place, value), (place, cells) or (place, Refusal).

    `share` says how much of all the files has been read, 0 to 1.
    """

    name: str
    path: Path
    rows: Rows
    share: Callable[[], float]


def opened(path: Path, columns: Collection[str]) -> Iterator[Opened | Refusal]:
    """Every file at a path, a folder or a glob, to be read one after another; `columns` are the names a header may have.

    ValueError when nothing is there.
    """
    source = Source(path=str(path.expanduser().absolute()), name=plain_name(path))
    try:
        files = list_files(source, Path.cwd())
    except ValueError as error:
        raise ValueError(f"{path}: there is no such file; name a file, a folder or a glob") from error
    sizes = [file.stat().st_size for _, file in files]
    for (name, file), before in zip(files, accumulate(sizes, initial=0), strict=False):
        if not os.access(file, os.R_OK):
            yield Refusal(id=name, text="", reason="may not be read")
            continue
        with file.open("rb") as stream:
            share = partial(_share, stream, before, max(1, sum(sizes)))
            if not is_archive(name):
                yield _opened(Member(name=name, stream=stream), file, columns, share)
                continue
            for member in members(name, stream, file.stat().st_size, LIMITS):
                yield member if isinstance(member, Refusal) else _opened(member, file, columns, share)


def _share(stream: io.BufferedReader, before: int, all_bytes: int) -> float:
    return (before + stream.tell()) / all_bytes


def _opened(member: Member, file: Path, columns: Collection[str], share: Callable[[], float]) -> Opened | Refusal:
    if suffix_of(member.name) not in (*ROW_FILES, *TABLES):
        return Refusal(id=member.name, text="", reason="not .json, .jsonl, .parquet, .csv or .tsv")
    return Opened(name=member.name, path=file, rows=_guarded(member, columns), share=share)


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
    if first.startswith(UTF_16_MARKS):
        yield "line 1", Refusal(id=member.name, text="", reason="invalid encoding", detail="UTF-16; save it as UTF-8")
        lines.detach()
        return
    mark = mark_of(member.name, first)
    names = [name.strip() for name in next(csv.reader([first], delimiter=mark), [])]
    twice = next((name for name in names if names.count(name) > 1), None)
    if len({name.lower() for name in names} & set(columns)) < FEWEST_NAMES:
        for number, line in enumerate(chain([first], lines), start=1):
            if line.strip():
                yield f"line {number}", line.rstrip("\r\n").split(mark)
    elif twice is not None:
        yield "line 1", Refusal(id=member.name, text="", reason="a column that is named twice", detail=twice)
    else:
        yield from named_cells(member.name, lines, mark, names)
    lines.detach()
