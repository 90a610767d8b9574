"""Rows that are no conversation are dropped with a reason a person understands; a file without one is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.conversations.read import read

GOOD = {"instruction": "Greet.", "output": "Hi"}


def said(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def pair(chosen: str, rejected: str) -> dict[str, str]:
    return {"chosen": f"\n\nHuman: Hi\n\nAssistant: {chosen}", "rejected": f"\n\nHuman: Hi\n\nAssistant: {rejected}"}


# what each row is beside, what it is, the reason
TURNS = said(("user", "Hi"), ("assistant", "Hello"))
COT = "Why?\tso\tIt is so.\n"
PREFERENCE = {"prompt": "Hi", "chosen": "Hello", "rejected": "No"}
GSM8K = {"question": "How many?", "answer": "Two.\n#### 2"}
NATURAL: dict[str, Any] = {"Definition": "Do.", "Instances": [{"input": "a", "output": "b"}]}
FAULTY: dict[str, tuple[Any, Any, str]] = {
    "two users": (TURNS, said(("user", "Hi"), ("user", "Ho"), ("assistant", "Hello")), "two user turns in a row"),
    "two assistants": (
        TURNS, said(("user", "Hi"), ("assistant", "Hello"), ("assistant", "Ho")), "two assistant turns in a row",
    ),
    "assistant first": (TURNS, said(("assistant", "Ho"), ("user", "Hi"), ("assistant", "Ho")), "begins with the assistant"),
    "assistant after system": (TURNS, said(("system", "Be."), ("assistant", "Hello")), "begins with the assistant"),
    "late system": (
        TURNS, said(("user", "Hi"), ("assistant", "Hello"), ("system", "Be.")), "a system message that is not the first",
    ),
    "tool unasked": (TURNS, said(("user", "Hi"), ("tool", "dry")), "a tool's result that nobody asked for"),
    "tool unanswered": (
        TURNS, said(("user", "Hi"), ("assistant", "Wait."), ("tool", "dry"), ("user", "Well?"), ("assistant", "Dry.")),
        "a tool's result that the assistant does not answer",
    ),
    "tool last": (TURNS, said(("user", "Hi"), ("assistant", "Wait."), ("tool", "dry")), "ends with a tool's result"),
    "user last": (TURNS, said(("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")), "ends with the user"),
    "no assistant": (TURNS, said(("user", "Hi")), "no assistant turn"),
    "no messages": (TURNS, said(), "no messages"),
    "empty answer": (TURNS, said(("user", "Hi"), ("assistant", " \n")), "an empty answer"),
    "empty user": (TURNS, said(("user", ""), ("assistant", "Hello")), "an empty user turn"),
    "empty system": (TURNS, said(("system", ""), ("user", "Hi"), ("assistant", "Hello")), "an empty system message"),
    "role": (TURNS, said(("narrator", "Hi"), ("assistant", "Hello")), "an unknown role"),
    "no role": (TURNS, {"messages": [{"content": "Hi"}]}, "a message without a role"),
    "no text": (TURNS, said(("user", "Hi"), ("assistant", None)), "a message without a text"),
    "image": (
        TURNS, said(("user", [{"type": "image_url", "image_url": {}}]), ("assistant", "A cat.")),
        "a message that is not a text",
    ),
    "number": (TURNS, said(("user", 5), ("assistant", "Hello")), "a message that is not a text"),
    "calls": (
        TURNS, {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": "f()"}]},
        "tool calls that are not a list of objects",
    ),
    "no list": (TURNS, {"messages": {"role": "user"}}, "a field that is not a list of messages"),
    "messages missing": (TURNS, {"message": []}, "a missing field (messages or conversations)"),
    "half a character": (TURNS, said(("user", "\ud83d"), ("assistant", "Hello")), "not UTF-8 text"),
    "half a character in a call": (
        TURNS,
        {"messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"a": "\ud83d"}}]},
        ]},
        "not UTF-8 text",
    ),
    "no object": (GOOD, 5, "not an object"),
    "field missing": (GOOD, {"instruction": "Greet."}, "a missing field (output)"),
    "field null": (GOOD, {"instruction": "Greet.", "output": None}, "a missing field (output)"),
    "field NaN": (GOOD, '{"instruction": "Greet.", "output": NaN}', "a missing field (output)"),
    "field of another kind": (GOOD, {"instruction": "Greet.", "output": {"a": 1}}, "a field that is not a text (output)"),
    "broken line": (GOOD, '{"instruction": "Gre', "invalid JSON"),
    "Latin-1": (GOOD, b'{"instruction": "caf\xe9"}', "invalid encoding"),
    "same answers": (pair("Hello", "No"), pair("Hello", "Hello"), "chosen and rejected are the same"),
    "other prompts": (
        pair("Hello", "No"), {**pair("Hello", "No"), "rejected": "\n\nHuman: Ho\n\nAssistant: No"},
        "chosen and rejected answer different prompts",
    ),
    "empty rejected": (pair("Hello", "No"), pair("Hello", ""), "an empty answer"),
    "no transcript": (pair("Hello", "No"), {"chosen": "Hello", "rejected": "No"}, "not a transcript of Human and Assistant"),
    "same preference": (PREFERENCE, {**PREFERENCE, "rejected": "Hello"}, "chosen and rejected are the same"),
    "half a rejected answer": (PREFERENCE, {**PREFERENCE, "rejected": "\udc00"}, "not UTF-8 text"),
    "no gold answer": (GSM8K, {"question": "How many?", "answer": "Two.\n#### two"},
                       "an answer that does not end with #### and a number"),
    "no instances": (NATURAL, {"Definition": "Do."}, "a missing field (Definition or Instances)"),
    "an instance": (NATURAL, {"Definition": "Do.", "Instances": [5]}, "not an object"),
    "no examples": ({"examples": {"1": {"input": "a", "output": "b"}}}, {"examples": []}, "a missing field (examples)"),
    "no items": (
        {"examples": {"1": {"input": "a", "output": "b"}}}, {"examples": {"1": {"concept": "a"}}}, "a missing field (items)",
    ),
    "two cells": (COT, "Why?\tso\n", "not question, answer and rationale"),
    "no rationale": (COT, "Why?\tso\t\n", "an empty rationale"),
    "no answer": (COT, "Why?\t\tso\n", "an empty answer"),
    "fewer cells": ("text\tlabel\ngood\t1\n", "bad\n", "a broken line of the table"),
    "stray quotation mark": ("text\tlabel\ngood\t1\n", '"bad" film\t0\n', "a broken line of the table"),
    "unclosed quotation mark": ("text\tlabel\ngood\t1\n", '"bad\t0\n', "a broken line of the table"),
    "empty text": ("text\tlabel\ngood\t1\n", " \t0\n", "an empty user turn"),
    "empty label": ("text\tlabel\ngood\t1\n", "bad\t\n", "an empty answer"),
}  # fmt: skip


def line_of(row: Any) -> bytes:
    if isinstance(row, bytes):
        return row + b"\n"
    return row.encode() if isinstance(row, str) and "\t" in row else f"{_text(row)}\n".encode()


def _text(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row)


@pytest.mark.parametrize(("good", "bad", "reason"), FAULTY.values(), ids=FAULTY)
def test_a_bad_row_is_dropped_with_its_reason_and_its_place(good: Any, bad: Any, reason: str, tmp_path: Path) -> None:
    is_table = isinstance(good, str)
    path = tmp_path / ("rows.tsv" if is_table else "rows.jsonl")
    path.write_bytes(line_of(good) + line_of(bad) + (line_of(good) if not is_table or "label" not in good else b""))
    (reading,), _ = read(path)
    assert {why: each.rows for why, each in reading.dropped.items()} == {reason: 1}
    place = reading.dropped[reason].place
    assert place.startswith("line 3" if is_table and "label" in good else "line 2")
    assert len(reading.conversations) == (1 if is_table and "label" in good else 2)
    assert reading.rows == len(reading.conversations) + 1


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "unknown fields": ("a.jsonl", b'{"song": "la", "year": 1}\n', "line 1: no known format in song, year; name one with"),
    "line breaks in a name": ("a.json", b'[{"so\\nng\\u001b[31m": "la"}]', "row 1: no known format in so ng [31m; name one"),
    "one text": ("a.jsonl", b'"just a text"\n', "line 1: no known format in a text; name one"),
    "unknown table": ("a.csv", b"song,year\nla,1\n", "no known format in 2 cells a line, no header; name one"),
    "plain text": ("a.txt", b"Once upon a time.\n", "no known format in 1 cell a line, no header"),
    "UTF-16": ("a.tsv", "prompt\tcompletion\na\tb\n".encode("utf-16"), "a.tsv, line 1: invalid encoding (UTF-16; save it"),
    "no JSON": ("a.json", b"[1,", "a.json: invalid JSON (Expecting value"),
    "nothing": ("a.jsonl", b"", "a.jsonl: there is no row in it; name a file of conversations"),
    "an empty list": ("a.json", b"[]", "a.json: there is no row in it"),
    "no row left": (
        "a.jsonl", b'{"instruction": "Greet.", "output": ""}\n' * 3,
        "a.jsonl, line 1: an empty answer; none of its 3 rows is left as alpaca: mend them, or name another format",
    ),
    "another ending": ("a.docx", b"PK", "a.docx: not .json, .jsonl, .parquet, .csv or .tsv; name another file"),
    "no gzip": ("a.jsonl.gz", b"\x1f\x8b but no more", "broken archive"),
    "no zip": ("a.zip", b"PK\x03\x04 but no more", "a.zip: broken archive"),
    "no Parquet": ("a.parquet", b"PAR1 and nothing else", "a.parquet: broken Parquet"),
    "a column twice": ("a.csv", b"prompt,completion,prompt\na,b,c\n", "a.csv, line 1: a column that is named twice (prompt)"),
    "wordings alone": ("annotations.x.json", b'{"annotations": ["Do."]}', "wordings of a task; they are read with"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_file_without_a_conversation_is_refused_in_one_sentence(
    name: str, content: bytes, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as refused:
        read(tmp_path / name)
    assert sentence in str(refused.value)
    assert str(tmp_path / name) in str(refused.value)
    assert str(refused.value).isprintable()
    assert ";" in str(refused.value)


def test_a_path_without_a_file_and_a_format_without_a_meaning_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file; name a file, a folder or a glob"):
        read(tmp_path / "none.json")
    with pytest.raises(ValueError, match="alpacca: no such format; did you mean alpaca"):
        read(tmp_path, "alpacca")
    with pytest.raises(ValueError, match="there are hh-rlhf, preferences, openai"):
        read(tmp_path, "?")


def test_a_named_format_is_taken_at_its_word(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text(json.dumps(GSM8K) + "\n", encoding="utf-8")
    (reading,), _ = read(tmp_path / "g.jsonl", "question-answer")
    assert (reading.format, reading.guessed_from, reading.also) == ("question-answer", (), ())
    (guessed,), _ = read(tmp_path / "g.jsonl")
    assert guessed.also == ("question-answer",)
    with pytest.raises(
        ValueError, match=r"line 1: a missing field \(instruction\); none of its 1 rows is left as alpaca"
    ):
        read(tmp_path / "g.jsonl", "alpaca")


def test_a_folder_gives_what_it_has_and_names_what_it_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(GOOD) + "\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"instruction": "Greet.", "output": ""}\n', encoding="utf-8")
    (tmp_path / "notes.md").write_text("# Notes\n", encoding="utf-8")
    (tmp_path / "songs.jsonl").write_text('{"song": "la"}\n', encoding="utf-8")
    found, passed_over = read(tmp_path)
    assert [(each.name, len(each.conversations)) for each in found] == [("a.jsonl", 1), ("b.jsonl", 0)]
    assert list(passed_over) == ["notes.md", "songs.jsonl"]
