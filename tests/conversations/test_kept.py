"""Conversations given to instruction tuning: kept once each, beside earlier ones or in their place."""

from pathlib import Path
from typing import Any

import pytest

from tasks.conversations.conversation import Conversation, Message
from tasks.conversations.kept import keep, read_kept


def said(*contents: str, source: str = "a.jsonl, line 1", rejected: str = "") -> Conversation:
    roles = ("user", "assistant") * len(contents)
    turns = tuple(Message(role=role, content=content) for role, content in zip(roles, contents, strict=False))
    return Conversation(messages=turns, source=source, rejected=rejected)


RAIN = {"type": "function", "function": {"name": "rain", "parameters": {}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "rain", "arguments": "{}"}}


def calling(call: dict[str, Any]) -> Conversation:
    turns = (
        Message(role="user", content="Rain?"),
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="dry", tool_call_id="c1"),
        Message(role="assistant", content="No."),
    )
    return Conversation(messages=turns, source="t.jsonl, line 1", tools=(RAIN,))


def test_conversations_join_earlier_ones_and_each_is_kept_once(tmp_path: Path) -> None:
    file, count, left_out = keep(
        tmp_path, "mine", [said("Hi", "Hello"), said("Hi", "Hello", source="b")], replace=False
    )
    assert (count, left_out) == (1, {"said before": 1})
    again = [said("Hi", "Hello", source="c"), said("Why?", "So\u2028so.", "And?", "넓은")]
    file, count, left_out = keep(tmp_path, "mine", again, replace=False)
    assert (count, left_out) == (2, {"said before": 1})
    assert file == tmp_path / "conversations" / "mine.jsonl"
    assert [each.turns for each in read_kept(file)] == [
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        [
            {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So\u2028so."},
            {"role": "user", "content": "And?"}, {"role": "assistant", "content": "넓은"},
        ],
    ]  # fmt: skip


def test_replacing_leaves_nothing_of_before_and_a_repetition_changes_no_byte(tmp_path: Path) -> None:
    file, *_ = keep(tmp_path, "mine", [said("Hi", "Hello")], replace=False)
    before = file.read_bytes()
    keep(tmp_path, "mine", [said("Hi", "Hello", source="elsewhere")], replace=False)
    assert file.read_bytes() == before
    _, count, _ = keep(tmp_path, "mine", [said("Bye", "See you")], replace=True)
    assert count == 1
    assert read_kept(file)[0].turns[0]["content"] == "Bye"


def test_tools_calls_and_results_are_kept(tmp_path: Path) -> None:
    file, *_ = keep(tmp_path, "mine", [calling(CALL), calling(CALL)], replace=False)
    (kept,) = read_kept(file)
    assert kept.tools == [RAIN]
    assert kept.turns[1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert kept.turns[2] == {"role": "tool", "content": "dry", "tool_call_id": "c1"}


def test_what_cannot_be_said_is_left_out_and_refused_where_it_is_all(tmp_path: Path) -> None:
    pair = said("Hi", "Hello", rejected="Go away")
    _, count, left_out = keep(tmp_path, "mine", [calling({"id": "c1"}), pair, said("Hi", "Hello")], replace=False)
    assert count == 1
    nameless = "a tool call needs a function with a name, and arguments that are a JSON object"
    assert left_out == {nameless: 1, "a preference pair": 1}
    with pytest.raises(
        ValueError, match=r"none of these .* \(a preference pair: 2\); pairs are for `espalier data label`"
    ):
        keep(tmp_path, "other", [pair, pair], replace=False)
    assert not (tmp_path / "conversations" / "other.jsonl").exists()


def test_a_file_that_was_changed_by_hand_is_refused_with_its_line(tmp_path: Path) -> None:
    file, *_ = keep(tmp_path, "mine", [said("Hi", "Hello")], replace=False)
    file.write_text(file.read_text() + '{"messages": 5}\n')
    for use in (lambda: read_kept(file), lambda: keep(tmp_path, "mine", [said("Why?", "So.")], replace=False)):
        with pytest.raises(ValueError, match=r"mine\.jsonl, line 2: not as .* with --replace"):
            use()
    assert keep(tmp_path, "mine", [said("Why?", "So.")], replace=True)[1] == 1
