"""A user's files -> documents: text, Markdown, HTML, JSON lines, JSON, Parquet, CSV, TSV, and zip, tar and gzip of these.

Group = the file; a file of more than `group_bytes` is grouped in consecutive stretches, and rows of a large file stand
each for themselves, so that a corpus of one file splits too. Everything is streamed.
"""

import codecs
import glob
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TextIO

from tasks.corpus.archives import ArchiveLimit, BrokenArchive, Member, is_archive, members, printable, suffix_of
from tasks.corpus.documents import Document
from tasks.corpus.rows import ROW_FILES, read_rows, text_mark
from tasks.corpus.sections import Piece, pieces
from tasks.corpus.sources import DEFAULT_ENCODING, Limits, Refusal, Source, local_path
from tasks.corpus.tables import TABLES, TEXT_FIELDS, table_texts, text_column
from tasks.corpus.web_pages import PAGES, declared_encoding, page_text

Found = Document | Refusal

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SNIFFED_BYTES = 8192
_LONGEST_KEY = 200


def list_files(source: Source, checkout: Path) -> list[tuple[str, Path]]:
    """(name inside the source, file), sorted by name; hidden files and links to elsewhere are passed over.

    ValueError when there is nothing at the path.
    """
    path = local_path(source, checkout)
    if path.is_file():
        return [(printable(path.name), path)]
    if path.is_dir():
        found = [item for item in _walk(path) if item.is_file()]
        base = path
    else:
        base = Path(*path.parts[: next((i for i, part in enumerate(path.parts) if glob.has_magic(part)), None)])
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]
        found = [item for item in found if item.is_file() and not item.is_symlink()]
    if not found:
        raise ValueError(f"sources: {source.name}: no file at {source.path}; name a file, a folder or a glob")
    return sorted((printable(item.relative_to(base).as_posix()), item) for item in found)


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in names if not name.startswith(".") and not (path := Path(place, name)).is_symlink())


def file_documents(source: Source, limits: Limits, checkout: Path) -> Iterator[Found]:
    """Every document of a source of kind files, and everything in it that cannot become one."""
    for name, path in list_files(source, checkout):
        inside = f"{source.name}/{name}"
        with path.open("rb") as stream:
            if not is_archive(name):
                yield from _documents(Member(name=inside, stream=stream), path.stat().st_size, source, limits)
                continue
            for member in members(inside, stream, path.stat().st_size, limits):
                if isinstance(member, Refusal):
                    yield member
                else:
                    yield from _documents(member, None, source, limits)


def _documents(member: Member, size: int | None, source: Source, limits: Limits) -> Iterator[Found]:
    """`size` in bytes where it is known beforehand; a packed file's is not, and counts as large for rows."""
    try:
        if suffix_of(member.name) in (*ROW_FILES, *TABLES):
            yield from _row_documents(member, size, source, limits)
        elif suffix_of(member.name) in PAGES:
            yield from _page_documents(member, source, limits)
        else:
            yield from _text_documents(member, source, limits)
    except ArchiveLimit as error:
        yield Refusal(id=member.name, text="", reason="archive beyond limits", detail=str(error))
    except BrokenArchive as error:
        yield Refusal(id=member.name, text="", reason="broken archive", detail=str(error))
    except UnicodeError as error:
        yield Refusal(id=member.name, text="", reason="invalid encoding", detail=str(error))


def _text_documents(member: Member, source: Source, limits: Limits) -> Iterator[Found]:
    stream = member.stream
    head = stream.peek(_SNIFFED_BYTES)[:_SNIFFED_BYTES]
    if not head:
        yield Refusal(id=member.name, text="", reason="empty file")
        return
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), source.encoding)
    if b"\x00" in head and encoding in (DEFAULT_ENCODING, "utf-8-sig"):
        text = head.decode("utf-8", "backslashreplace")
        yield Refusal(id=member.name, text=text, reason="not text", detail="NUL bytes")
        return
    # surrogateescape: a bad byte spoils its own piece, not the file
    errors = "strict" if encoding == "utf-16" else "surrogateescape"
    lines = io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="")
    yield from _pieces(member.name, lines, limits)
    lines.detach()


def _page_documents(member: Member, source: Source, limits: Limits) -> Iterator[Found]:
    data = member.stream.read(limits.max_json_bytes + 1)
    if len(data) > limits.max_json_bytes:
        yield Refusal(id=member.name, text="", reason="HTML file too large", detail=f"> {limits.max_json_bytes} bytes")
        return
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), source.encoding)
    if encoding == DEFAULT_ENCODING:
        encoding = declared_encoding(data) or encoding
    try:
        text = page_text(data.decode(encoding, "strict" if encoding == "utf-16" else "surrogateescape"))
    except UnicodeError:
        raise
    except ValueError as error:
        yield Refusal(id=member.name, text="", reason="broken HTML", detail=str(error)[:200])
        return
    if not text:
        yield Refusal(id=member.name, text="", reason="no text on the page")
    yield from _pieces(member.name, io.StringIO(text, newline=""), limits)


def _pieces(name: str, lines: TextIO, limits: Limits) -> Iterator[Found]:
    cut = pieces(lines, document_bytes=limits.document_bytes, max_line_characters=limits.max_line_characters)
    for piece in cut:
        yield _piece_document(name, piece, limits)


def _piece_document(name: str, piece: Piece, limits: Limits) -> Found:
    id = f"{name}#{text_mark(piece.text)}"
    if piece.endless:
        return Refusal(
            id=id, text=piece.text, reason="line too long", detail=f"> {limits.max_line_characters} characters"
        )
    stretch = piece.start // limits.group_bytes
    group = f"{name}#{stretch}" if stretch else name
    return _document(id, group, piece.text, "invalid encoding")


def _document(id: str, group: str, text: str, reason: str) -> Found:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return Refusal(id=id, text=text, reason=reason, detail=f"at character {error.start}")
    return Document(id=id, group=group, kind="text", text=text)


def _row_documents(member: Member, size: int | None, source: Source, limits: Limits) -> Iterator[Found]:
    apart = size is None or size > limits.group_bytes
    is_table = suffix_of(member.name) in TABLES
    for _, row in table_texts(member, source) if is_table else read_rows(member, limits, text_alone=True):
        if isinstance(row, Refusal):
            yield row
        else:
            yield _row_document(member.name, row, source, limits, apart)


def _row_document(name: str, row: object, source: Source, limits: Limits, apart: bool) -> Found:
    text = row if isinstance(row, str) else _text_field(row, source.text_field)
    if text is None:
        shown = json.dumps(row, default=str)[: limits.max_line_characters]
        return Refusal(id=f"{name}#{text_mark(shown)}", text=shown, reason="no text field")
    id = f"{name}#{_key(row) or text_mark(text)}"
    if len(text.encode("utf-8", "surrogatepass")) > limits.max_row_bytes:
        return Refusal(id=id, text=text, reason="row too long", detail=f"> {limits.max_row_bytes} bytes")
    return _document(id, f"{name}#{text_mark(text)}" if apart else name, text, "lone surrogate")


def _key(row: object) -> str:
    """The row's own id where it is one that can be written and read, else ""."""
    key = row.get("id") if isinstance(row, Mapping) else None
    if isinstance(key, bool) or not isinstance(key, str | int):
        return ""
    text = str(key)
    return text if text.isprintable() and len(text) <= _LONGEST_KEY else ""


def _text_field(row: object, named: str) -> str | None:
    """The named field, else one of the usual names, else the only field that holds text."""
    if not isinstance(row, Mapping):
        return None
    for field in (named,) if named else TEXT_FIELDS:
        if isinstance(row.get(field), str):
            return str(row[field])
    texts = [value for key, value in row.items() if isinstance(value, str) and key != "id"]
    return texts[0] if len(texts) == 1 and not named else None


def text_columns(source: Source, checkout: Path) -> dict[str, str]:
    """{"reviews.csv": "review"}: where in each table the text stands; ValueError for one in which none can be meant.

    Tables in archives are looked at when they are read.
    """
    found = {}
    for name, path in list_files(source, checkout):
        if suffix_of(name) in TABLES:
            with path.open("rb") as stream:
                found[name] = text_column(Member(name=str(path), stream=stream), source)
    return found


def plain_name(path: Path) -> str:
    """What a source at `path` is called unless it is given a name.

    plain_name(Path("/a/b.txt.gz")) -> "b"; of a glob it is the folder: plain_name(Path("/a/texts/*.md")) -> "texts".
    """
    plain = [part for part in path.parts if not glob.has_magic(part)]
    name = printable(PurePosixPath(*plain).name) if plain else ""
    return name.split(".")[0] or name or "files"
