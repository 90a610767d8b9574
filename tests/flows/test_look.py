"""`espalier data look`: the document, the tables at two widths, text of others shown as text, and what is refused."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from flows.cli import main
from flows.conversation_tables import look_tables
from flows.instruct import inputs
from tasks.conversations.kept import keep
from tasks.conversations.read import read
from tasks.conversations.summary import summary

CONVERSATION = {
    "messages": [
        {"role": "system", "content": "Be [bold]kind[/bold]."},
        {"role": "user", "content": "한국어로 말해 줘"},
        {"role": "assistant", "content": "네.\x1b[31m"},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "x" * 900},
    ]
}
SHORT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
BAD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Ho"}]}

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["data", "look", *map(str, arguments)])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def shown(path: Path, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False, highlight=False).print(
        look_tables(summary(*read(path)), width=width)
    )
    return stream.getvalue()


def test_the_document_counts_rows_turns_and_characters(said: Said, tmp_path: Path) -> None:
    status, out, err = said(lines(tmp_path / "a.jsonl", CONVERSATION, SHORT, SHORT, BAD, 5), "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert (document["rows"], document["kept"], document["repeated"], document["pairs"]) == (5, 3, 1, 0)
    assert document["dropped"] == {"two user turns in a row": 1, "not an object": 1}
    assert document["turns"] == {"least": 2, "median": 2, "most": 4}
    assert (
        document["prompt_characters"]["most"] == len("Be [bold]kind[/bold].") + len("한국어로 말해 줘") + 3 + 2 + 4 + 2
    )
    assert document["answer_characters"] == {"least": 5, "median": 5, "most": 900}
    (file,) = document["files"]
    assert file["dropped"]["two user turns in a row"] == {"rows": 1, "first": "line 4", "detail": ""}
    assert [example["source"] for example in document["examples"]] == ["a.jsonl, line 1", "a.jsonl, line 2"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_fit_and_show_the_text_of_others_as_text(width: int, tmp_path: Path) -> None:
    lines(tmp_path / f"{'long-' * 30}name.jsonl", CONVERSATION, BAD)
    lines(tmp_path / "short.jsonl", SHORT)
    lines(tmp_path / "greetings.jsonl", {"instruction": "Greet.", "output": "Hi", "category": "manners"})
    table = shown(tmp_path, width)
    assert max(cell_len(line) for line in table.splitlines()) <= width
    assert "3 conversations of 4 rows" in table
    assert "Be [bold]kind[/bold]." in table
    assert "\x1b" not in table
    assert "…" in table
    assert "name.jsonl" in table
    assert "(420 characters more)" in table
    assert "two user turns in a row" in table
    assert "manners 1" in table
    assert ("turns" in table.split("kept", 2)[2].splitlines()[0]) == (width == 120)


def test_pairs_and_calls_are_shown(tmp_path: Path) -> None:
    pair = lines(tmp_path / "p.jsonl", {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"})
    assert re.search(r"rejected +Go away", shown(pair, 80))
    call = {"id": "c1", "function": {"name": "weather"}}
    turns = [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "dry"},
        {"role": "assistant", "content": "No."},
    ]
    table = shown(lines(tmp_path / "t.jsonl", {"messages": turns, "tools": [{"type": "function"}]}), 80)
    assert '→ {"id": "c1", "function": {"name": "weather"}}' in table
    assert "1 defined" in table


def test_wrong_use_is_one_sentence_and_status_2(said: Said, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", BAD)
    for arguments in ((path,), (path, "--format", "alpacca"), (tmp_path / "none",)):
        status, out, err = said(*arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("espalier: ")


def test_conversations_are_given_to_instruction_tuning(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ESPALIER_CHECKOUT", str(workspace))
    path = lines(tmp_path / "a.jsonl", CONVERSATION, SHORT, SHORT, BAD)
    assert main(["data", "instruct", str(path), "--corpus", "tiny", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    file = workspace / ".espalier" / "conversations" / "tiny.jsonl"
    assert document == {"conversations": str(file), "in_all": 2, "dropped": 1, "left_out": {"said before": 1}}
    assert len(file.read_text(encoding="utf-8").splitlines()) == 2
    assert main(["data", "instruct", str(path), "--corpus", "none"]) == 2
    assert "params.yaml names no such data set" in capsys.readouterr().err


def test_given_conversations_are_part_of_what_instruction_tuning_is(tmp_path: Path) -> None:
    session: Any = SimpleNamespace(
        settings=SimpleNamespace(home=tmp_path),
        recipe=SimpleNamespace(data="mine"),
        artifact=lambda stage, name: {"digest": f"{stage} {name}", "path": name},
    )
    assert list(inputs(session)) == ["base", "instructions"]
    digests = []
    for said in (SHORT, CONVERSATION):
        readings, _ = read(lines(tmp_path / "a.jsonl", said))
        file, *_ = keep(tmp_path, "mine", readings[0].conversations, replace=True)
        digests.append(inputs(session)["conversations"]["digest"])
        assert inputs(session)["conversations"]["path"] == str(file)
    assert digests[0] != digests[1]
