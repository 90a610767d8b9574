"""A user's files become documents, and whatever cannot become one is kept aside with its reason."""

import gzip
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GOOD = "A line that anyone may read.\n"

REFUSED = {
    "invalid UTF-8": ("latin.txt", "café au lait\n".encode("latin-1"), "invalid encoding"),
    "NUL": ("image.txt", b"GIF89a\x00\x01\x02", "not text"),
    "empty file": ("empty.txt", b"", "empty file"),
    "endless line": ("line.txt", b"x" * 1_000_000, "line too long"),
    "endless row": ("row.jsonl", b'{"text": "' + b"y" * 7_000_000, "row too long"),
    "long row": ("long.jsonl", json.dumps({"text": "z" * 1_100_000}).encode(), "row too long"),
    "lone surrogate": ("surrogate.jsonl", rb'{"text": "half \ud83d of a face"}', "lone surrogate"),
    "half a row": ("half.jsonl", b'{"text": "cut off', "invalid JSON"),
    "row in Latin-1": ("latin.jsonl", b'{"text": "caf\xe9"}', "invalid encoding"),
    "deep JSON": ("deep.json", b"[" * 100_000, "invalid JSON"),
    "no text": ("numbers.jsonl", b'{"a": 1, "b": 2}', "no text field"),
    "two texts": ("two.jsonl", b'{"question": "why", "answer": "so"}', "no text field"),
    "no Parquet": ("broken.parquet", b"PAR1 and nothing else", "broken Parquet"),
    "no gzip": ("broken.txt.gz", b"\x1f\x8b but no more", "broken archive"),
    "no zip": ("broken.zip", b"PK\x03\x04 but no more", "broken archive"),
    "cut gzip": ("cut.txt.gz", gzip.compress(os.urandom(5000))[:3000], "broken archive"),
}


@pytest.mark.parametrize(("name", "data", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_and_counted_and_the_rest_is_kept(
    name: str, data: bytes, reason: str, checkout: Callable[..., Any], tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / name).write_bytes(data)
    (files / "good.txt").write_text(GOOD)
    own = checkout(files).run("inventory", "ingest")
    assert own.texts() == [GOOD]
    counts = own.counts("ingest")
    assert reason in counts["refused"]
    assert counts["input"] == counts["kept"] + sum(counts["refused"].values())
    assert all(record["id"].startswith(f"own/{name.removesuffix('.gz')}") for record in own.refused("ingest"))


READ = {
    "byte order mark": ("bom.txt", b"\xef\xbb\xbfmarked\n", ["marked\n"]),
    "UTF-16": ("wide.txt", "breit 넓은\n".encode("utf-16"), ["breit 넓은\n"]),
    "UTF-16 big-endian": ("wide.txt", b"\xfe\xff" + "breit\n".encode("utf-16-be"), ["breit\n"]),
    "line ends": ("ends.txt", b"one\r\ntwo\rthree\n", ["one\r\ntwo\rthree\n"]),
    "line separator": ("ls.jsonl", '{"text": "a\u2028b"}\n'.encode(), ["a\u2028b"]),
    "Markdown": ("read.md", b"# Head\n\nBody.\n", ["# Head\n\nBody.\n"]),
    "JSON lines": ("rows.jsonl", b'{"text": "one"}\n\n"two"\n{"content": "three"}\n', ["one", "two", "three"]),
    "row with mark": ("rows.ndjson", b'\xef\xbb\xbf{"text": "one"}\n', ["one"]),
    "JSON list": ("rows.json", b'["one", {"text": "two"}]', ["one", "two"]),
    "JSON object": ("row.json", b'{"id": 7, "title": "only text"}', ["only text"]),
    "gzip": ("rows.jsonl.gz", gzip.compress(b'{"text": "packed"}\n'), ["packed"]),
    "emoji": ("face.txt", "👩‍👩‍👧 family\n".encode(), ["👩‍👩‍👧 family\n"]),
}


@pytest.mark.parametrize(("name", "data", "texts"), READ.values(), ids=READ)
def test_every_kind_of_file_is_read(
    name: str, data: bytes, texts: list[str], checkout: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    own = checkout(tmp_path / name).run("inventory", "ingest")
    assert own.texts() == texts
    assert own.counts("ingest") == {"input": len(texts), "kept": len(texts), "refused": {}}


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_parquet_of_every_kind_of_string_is_read(kind: Any, checkout: Callable[..., Any], tmp_path: Path) -> None:
    column = pa.array(["first", None, "third"], pa.string()).cast(kind)
    table = pa.table({"id": ["a", "b", "c"], "text": column, "score": [0.5, 0.25, 1.0]})
    pq.write_table(table, tmp_path / "rows.parquet")
    own = checkout(tmp_path / "rows.parquet").run("inventory", "ingest")
    assert [(document.id, document.text) for document in own.documents()] == [
        ("own/rows.parquet#a", "first"),
        ("own/rows.parquet#c", "third"),
    ]
    assert own.counts("ingest")["refused"] == {"no text field": 1}


def test_parquet_inside_a_zip_is_read(checkout: Callable[..., Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["packed row"]}), tmp_path / "rows.parquet")
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.write(tmp_path / "rows.parquet", "rows.parquet")
    assert checkout(tmp_path / "rows.zip").run("inventory", "ingest").texts() == ["packed row"]


def test_a_bad_byte_and_an_endless_line_spoil_only_their_own_piece(
    checkout: Callable[..., Any], tmp_path: Path
) -> None:
    paragraphs = [f"Paragraph {number} of many, each a few dozen bytes long.\n\n" for number in range(200)]
    bad = "".join(paragraphs[:100]).encode() + b"bad \xff byte\n\n" + "".join(paragraphs[100:]).encode()
    (tmp_path / "text.txt").write_bytes(bad + b"w" * 1_000_000 + b"\nafter the endless line\n")
    own = checkout(tmp_path / "text.txt").run("inventory", "ingest")
    kept = "".join(own.texts())
    assert own.counts("ingest")["refused"] == {"invalid encoding": 1, "line too long": 1}
    assert "after the endless line\n" in kept
    assert sum(paragraph in kept for paragraph in paragraphs) >= 100
    assert all(len(record["text"]) <= 50_000 for record in own.refused("ingest"))


def test_a_named_encoding_and_a_named_field_are_used(checkout: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes("한국어 문서\n".encode("cp949"))
    (tmp_path / "rows.jsonl").write_text('{"text": "wrong", "body": "right"}\n')
    sources = [
        {"path": str(tmp_path / "old.txt"), "name": "old", "encoding": "cp949"},
        {"path": str(tmp_path / "rows.jsonl"), "name": "rows", "text_field": "body"},
    ]
    assert checkout(sources=sources).run("inventory", "ingest").texts() == ["한국어 문서\n", "right"]
    with pytest.raises(ValueError, match="Python knows no latin-99; for example utf-8"):
        checkout(sources=[{"path": "x", "name": "x", "encoding": "latin-99"}]).run("inventory")


def test_hidden_files_and_links_are_passed_over(checkout: Callable[..., Any], tmp_path: Path) -> None:
    files = tmp_path / "files"
    (files / ".git").mkdir(parents=True)
    (files / ".git" / "config").write_text("secret")
    (files / ".hidden").write_text("secret")
    (files / "seen.txt").write_text(GOOD)
    (tmp_path / "outside.txt").write_text("secret")
    (files / "link.txt").symlink_to(tmp_path / "outside.txt")
    (files / "folder").symlink_to(tmp_path)
    assert checkout(files).run("inventory", "ingest").texts() == [GOOD]


def test_a_rows_own_id_is_used_only_where_it_can_be_written(checkout: Callable[..., Any], tmp_path: Path) -> None:
    rows = [
        {"id": 7, "text": "one"},
        {"id": "b", "text": "two"},
        {"id": "\ud800", "text": "three"},
        {"id": True, "text": "four"},
        {"id": "x" * 5000, "text": "five"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ids = [
        document.id.partition("#")[2]
        for document in checkout(tmp_path / "rows.jsonl").run("inventory", "ingest").documents()
    ]
    assert ids[:2] == ["7", "b"]
    assert all(len(id) == 16 for id in ids[2:])


def test_a_long_file_is_grouped_in_stretches_and_its_documents_are_named_by_content(
    checkout: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "book.txt"
    path.write_text("".join(f"Chapter {number}.\n\n{'word ' * 150}\n\n" for number in range(300)))
    before = checkout(path).run("inventory", "ingest").documents()
    assert len({document.group for document in before}) >= 5
    assert all(1000 <= len(document.text) <= 8192 + 1000 for document in before[:-1])
    assert "".join(document.text for document in before) == path.read_text()

    path.write_text(path.read_text() + "One more line at the end.\n")
    after = checkout(path).run("inventory", "ingest").documents()
    changed = {document.id for document in after} ^ {document.id for document in before}
    assert len(changed) <= 2


def test_an_empty_folder_is_a_wrong_call_that_names_the_source(checkout: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match=r"sources: own: no file at .*nothing; name a file, a folder or a glob"):
        checkout(tmp_path / "nothing").run("inventory")
