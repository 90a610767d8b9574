"""One conversation, whatever format it came in, and the rules that make it one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SYSTEM, USER, ASSISTANT, TOOL = "system", "user", "assistant", "tool"

# who may speak after whom, "" being the beginning; what is said of the others
_BEFORE = {USER: ("", SYSTEM, ASSISTANT), ASSISTANT: (USER, TOOL), TOOL: (ASSISTANT, TOOL), SYSTEM: ("",)}
_OUT_OF_TURN = {
    (USER, USER): "two user turns in a row",
    (ASSISTANT, ASSISTANT): "two assistant turns in a row",
    ("", ASSISTANT): "begins with the assistant",
    (SYSTEM, ASSISTANT): "begins with the assistant",
    (TOOL, USER): "a tool's result that the assistant does not answer",
}
_EMPTY = {SYSTEM: "an empty system message", USER: "an empty user turn", ASSISTANT: "an empty answer"}
_SYSTEM_LATER, _TOOL_UNASKED = "a system message that is not the first", "a tool's result that nobody asked for"
_LONGEST_DETAIL = 120  # characters


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn; `tool_calls` are the assistant's, as OpenAI writes them, and a tool's result may name its call."""

    role: str
    content: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Messages that end with the assistant's; of a preference pair they end with the chosen answer.

    `source` is the file with the row's own id or its place. `tools` are the definitions the assistant may call.
    """

    messages: tuple[Message, ...]
    source: str
    rejected: str = ""
    task: str = ""
    category: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def answer(self) -> str:
        return self.messages[-1].content

    @property
    def prompt(self) -> tuple[Message, ...]:
        return self.messages[:-1]


class BadRow(Exception):
    """A row that cannot become a conversation: `reason` is one of a few, counted; `detail` is of this row."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, in_one_line(detail)


def in_one_line(text: str) -> str:
    """The beginning of somebody's text as it may stand in a sentence: no line breaks, no control characters."""
    plain = "".join(character if character.isprintable() else " " for character in text[: 2 * _LONGEST_DETAIL])
    return " ".join(plain.split())[:_LONGEST_DETAIL]


def check(conversation: Conversation) -> None:
    """BadRow unless the turns are in order, begin with a question, end with an answer, and none is empty."""
    check_turns(conversation.messages)
    check_text("the rejected answer", conversation.rejected)
    calls = [message.tool_calls for message in conversation.messages]
    check_text("a tool or a call", json.dumps([conversation.tools, calls], ensure_ascii=False, default=str))


def check_turns(messages: Sequence[Message]) -> None:
    before = ""
    speakers = set()
    for message in messages:
        if before not in _BEFORE[message.role]:
            later = _SYSTEM_LATER if message.role == SYSTEM else _TOOL_UNASKED
            raise BadRow(_OUT_OF_TURN.get((before, message.role), later))
        before = message.role
        speakers.add(before)
    if not speakers:
        raise BadRow("no messages")
    if ASSISTANT not in speakers:
        raise BadRow("no assistant turn")
    if before != ASSISTANT:
        raise BadRow("ends with the user" if before == USER else "ends with a tool's result")
    for message in messages:
        says_nothing = not message.content.strip() and not message.tool_calls
        if says_nothing and message.role in _EMPTY:  # a tool's result may be empty
            raise BadRow(_EMPTY[message.role])
        check_text("a message", message.content)


def check_text(what: str, text: str) -> None:
    """A JSON escape or a wrong encoding can leave half a character, which no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow("not UTF-8 text", f"{what}, at character {error.start}") from error
