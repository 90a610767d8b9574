"""CSV and TSV: rows by the names of the first line, and which column holds text."""

import csv
import difflib
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from tasks.corpus.archives import Member, suffix_of
from tasks.corpus.sources import DEFAULT_ENCODING, Refusal, Source

TABLES = (".csv", ".tsv")
TEXT_FIELDS = ("text", "content", "document", "body", "markdown", "article", "contents")
_LOOKED_AT = 200  # rows, to see which columns hold text
_FEWEST_CHARACTERS, _FEWEST_WORDS = 12, 2  # of a cell on average, in a column of text

csv.field_size_limit(16_000_000)  # characters, of the whole process; a book in one cell is none too long

Rows = Iterator[tuple[str, object]]  # ("line 3", what stands there)


def mark_of(name: str, first: str) -> str:
    """What stands between cells: a tab, or in a .csv file the most frequent of , ; and tab in its first line."""
    return max(",;\t", key=first.count) if suffix_of(name) == ".csv" else "\t"


def table_texts(member: Member, source: Source) -> Rows:
    """("line 2", the text of its text column) of every row; a Refusal for the file where no column can be meant."""
    with _lines(member, source) as lines:
        names, rows = _read(member.name, lines)
        looked_at = list(itertools.islice(rows, _LOOKED_AT))
        try:
            column = _text_column(names, looked_at, source.text_field)
        except ValueError as error:
            yield "line 1", Refusal(id=member.name, text="", reason="no text column", detail=str(error))
            return
        for place, row in itertools.chain(looked_at, rows):
            yield place, row[column] if isinstance(row, dict) else row


def text_column(member: Member, source: Source) -> str:
    """The column that `table_texts` reads; ValueError with file and line where none can be meant."""
    with _lines(member, source) as lines:
        names, rows = _read(member.name, lines)
        try:
            return _text_column(names, list(itertools.islice(rows, _LOOKED_AT)), source.text_field)
        except ValueError as error:
            raise ValueError(f"{member.name}, line 1: {error}") from None


@contextmanager
def _lines(member: Member, source: Source) -> Iterator[io.TextIOWrapper]:
    encoding = "utf-8-sig" if source.encoding == DEFAULT_ENCODING else source.encoding
    # surrogateescape: a bad byte spoils its own row, not the file
    lines = io.TextIOWrapper(member.stream, encoding=encoding, errors="surrogateescape", newline="")
    yield lines
    lines.detach()


def _read(name: str, lines: io.TextIOWrapper) -> tuple[list[str], Rows]:
    first = lines.readline()
    mark = mark_of(name, first)
    names = [cell.strip() for cell in next(csv.reader([first], delimiter=mark), [])]
    return names, named_cells(name, lines, mark, names)


def _text_column(names: Sequence[str], rows: Sequence[tuple[str, object]], wanted: str) -> str:
    listed = ", ".join(names) or "none"
    if any("\udc80" <= letter <= "\udcff" for letter in listed):
        raise ValueError("the names of the columns are not in its encoding; save the table as UTF-8")
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise ValueError(f"two columns are called {doubled or 'nothing'}; give each a name of its own")
    if wanted:
        if wanted not in names:
            near = difflib.get_close_matches(wanted, names, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"there is no column {wanted}; the columns are {listed}{meant}")
        return wanted
    usual = [name for name in names if name.lower() in TEXT_FIELDS]
    cells = [row for _, row in rows if isinstance(row, dict)]
    found = usual or [name for name in names if _is_text([str(row[name]) for row in cells])]
    if len(found) != 1:
        several = f"{', '.join(found)} hold text" if found else "none of them holds text"
        raise ValueError(f"the columns are {listed}, and {several}; name the one that is meant with --column")
    return found[0]


def _is_text(cells: Sequence[str]) -> bool:
    said = [cell for cell in cells if cell.strip()]
    if not said:
        return False
    words = sum(len(cell.split()) for cell in said) / len(said)
    return words >= _FEWEST_WORDS and sum(map(len, said)) / len(said) >= _FEWEST_CHARACTERS


def named_cells(name: str, lines: Iterable[str], mark: str, names: Sequence[str]) -> Rows:
    """("line 2", {name: cell}) of every line after the first, or a Refusal for one that is broken."""
    reader = csv.reader(lines, delimiter=mark, strict=True)  # strict: a stray quotation mark swallows nothing unseen
    while True:
        before = reader.line_num + 1  # the header is the first
        reason = ""
        cells: list[str] | None = []
        try:
            cells = next(reader, None)
        except csv.Error as error:
            reason = str(error)
        if cells is None:
            return
        last = reader.line_num + 1
        place = f"line {before + 1}" + (f" to {last}" if reason and last > before + 1 else "")
        if len(cells) == len(names):
            yield place, dict(zip(names, cells, strict=True))
        elif cells or reason:
            reason = reason or f"{len(cells)} cells, and the first line names {len(names)}"
            yield place, Refusal(id=name, text="", reason="a broken line of the table", detail=reason)
        if "field larger" in reason:
            return  # the reader forgets that it is inside a cell: what follows would be taken for rows
