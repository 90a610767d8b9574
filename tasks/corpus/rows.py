"""Rows of JSON lines, JSON and Parquet, one at a time and with their place; what cannot be read is a Refusal in its place."""

import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.corpus.archives import Member, suffix_of
from tasks.corpus.sources import Limits, Refusal

ROW_FILES = (".jsonl", ".ndjson", ".json", ".parquet")

Rows = Iterator[tuple[str, object]]  # ("line 3", what stands there)


def read_rows(member: Member, limits: Limits, *, text_alone: bool = False) -> Rows:
    """Every row of a file that ends in one of ROW_FILES; `text_alone` leaves out what holds no text in Parquet."""
    suffix = suffix_of(member.name)
    if suffix == ".parquet":
        return _parquet_rows(member, limits, text_alone)
    return _json_rows(member, limits) if suffix == ".json" else _json_lines(member, limits)


def _json_lines(member: Member, limits: Limits) -> Rows:
    most = 6 * limits.max_row_bytes  # a character may be written as a six-byte escape
    number = 0
    while line := member.stream.readline(most + 1):
        number += 1
        if len(line) > most and not line.endswith(b"\n"):
            text = line[: limits.max_line_characters].decode("utf-8", "backslashreplace")
            while line and not line.endswith(b"\n"):
                line = member.stream.readline(1 << 16)
            id = f"{member.name}#{text_mark(text)}"
            yield f"line {number}", Refusal(id=id, text=text, reason="row too long", detail=f"> {most} bytes")
        elif line.strip():
            yield f"line {number}", _parsed(member.name, line)


def _parsed(name: str, line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        text = line.decode("utf-8", "backslashreplace")
        reason = "invalid encoding" if isinstance(error, UnicodeDecodeError) else "invalid JSON"
        return Refusal(id=f"{name}#{text_mark(text)}", text=text, reason=reason, detail=str(error)[:200])


def _json_rows(member: Member, limits: Limits) -> Rows:
    data = member.stream.read(limits.max_json_bytes + 1)
    if len(data) > limits.max_json_bytes:
        yield "", Refusal(id=member.name, text="", reason="JSON file too large", detail="write it as JSON lines")
        return
    value = _parsed(member.name, data)
    first, _, more = data.partition(b"\n")
    if isinstance(value, Refusal) and more.strip() and not isinstance(_parsed(member.name, first), Refusal):
        # JSON lines under the name of JSON, as many public files are
        yield from _json_lines(Member(name=member.name, stream=io.BufferedReader(io.BytesIO(data))), limits)
    elif isinstance(value, list):
        yield from ((f"row {number}", row) for number, row in enumerate(value, start=1))
    else:
        yield "", value


def _parquet_rows(member: Member, limits: Limits, text_alone: bool) -> Rows:
    stream: io.BufferedReader | io.BytesIO = member.stream
    if not stream.seekable():  # a member of an archive
        data = stream.read(limits.max_json_bytes + 1)
        if len(data) > limits.max_json_bytes:
            yield "", Refusal(id=member.name, text="", reason="packed Parquet too large", detail="name it unpacked")
            return
        stream = io.BytesIO(data)
    read = 0
    try:
        table = pq.ParquetFile(stream)
        wanted = [field.name for field in table.schema_arrow if not text_alone or _holds_text(field)]
        for batch in table.iter_batches(batch_size=256, columns=wanted):
            for row in batch.to_pylist():
                read += 1
                yield f"row {read}", row
    except (pa.ArrowException, OSError) as error:
        yield "", Refusal(id=member.name, text="", reason="broken Parquet", detail=str(error)[:200])


def _holds_text(field: Any) -> bool:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return bool(is_text or field.name == "id")


def text_mark(text: str) -> str:
    """A name for content: the first characters of its digest."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
