"""A row's fields by the names that public data sets give them, whatever their capitals; texts, and lists of messages."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.conversations.conversation import ASSISTANT, SYSTEM, TOOL, USER, BadRow, Message

Fields = Mapping[str, Any]

SYSTEM_NAMES = ("system", "system_prompt")
TASK_NAMES = ("task", "task_name", "_task_name")
CATEGORY_NAMES = ("category", "categories")
ID_NAMES = ("id", "idx", "uid", "prompt_id", "conversation_id")
TURN_LISTS = ("messages", "conversations", "conversation")
ROLES = {
    "system": SYSTEM, "developer": SYSTEM,
    "user": USER, "human": USER, "prompter": USER,
    "assistant": ASSISTANT, "gpt": ASSISTANT, "chatgpt": ASSISTANT, "bing": ASSISTANT, "bard": ASSISTANT,
    "model": ASSISTANT, "function_call": ASSISTANT,
    "tool": TOOL, "function": TOOL, "observation": TOOL, "function_response": TOOL,
}  # fmt: skip


def kind_of(value: object) -> str:
    """What JSON calls it."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    named = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return named.get(type(value), type(value).__name__)


def fields_of(row: object) -> Fields:
    """{"Definition": …, "URL": null} -> {"definition": …}; BadRow for what is no object.

    Null is left out: a Parquet file of mixed rows has all names in every row. So is NaN, which pandas writes for it.
    """
    if not isinstance(row, Mapping):
        raise BadRow("not an object", kind_of(row))
    given = {str(name).strip().lower(): value for name, value in row.items() if value is not None}
    return {name: value for name, value in given.items() if not (isinstance(value, float) and math.isnan(value))}


def has(fields: Fields, names: Sequence[str]) -> bool:
    return any(name in fields for name in names)


def first_of(fields: Fields, names: Sequence[str]) -> Any:
    """What stands under the first of the names that is there, or None."""
    return next((fields[name] for name in names if name in fields), None)


def text(fields: Fields, names: Sequence[str]) -> str:
    """The first of the named fields that holds a text; a number is one, of a list of right answers the first is."""
    given = [fields[name] for name in names if name in fields]
    if not given:
        raise BadRow(f"a missing field ({' or '.join(names[:2])})")
    for value in given:
        said = _first(value) if isinstance(value, list) else value
        if isinstance(said, str):
            return said
        if isinstance(said, int | float) and not isinstance(said, bool):
            return str(said)
    raise BadRow(f"a field that is not a text ({names[0]})", kind_of(given[0]))


def _first(values: list[Any]) -> str | None:
    """The first text of a list of texts that says something."""
    texts = [each for each in values if isinstance(each, str)]
    if not texts or len(texts) < len(values):
        return None
    return next((each for each in texts if each.strip()), texts[0])


def text_or_none(fields: Fields, names: Sequence[str]) -> str:
    return text(fields, names) if has(fields, names) else ""


def name_of(fields: Fields, names: Sequence[str]) -> str:
    """What a row says of itself on the side, or "": no row is bad for it."""
    try:
        return text_or_none(fields, names)
    except BadRow:
        return ""


def system_messages(fields: Fields) -> tuple[Message, ...]:
    said = text_or_none(fields, SYSTEM_NAMES)
    return (Message(role=SYSTEM, content=said),) if said.strip() else ()


def messages(value: object) -> tuple[Message, ...]:
    """A list of {role, content} or {from, value}, as OpenAI and ShareGPT write them; of Parquet or CSV it may be JSON."""
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, list):
        raise BadRow("a field that is not a list of messages", kind_of(value))
    return tuple(_message(each) for each in value)


def _message(value: object) -> Message:
    fields = fields_of(value)
    spoken = first_of(fields, ("role", "from"))
    if spoken is None:
        raise BadRow("a message without a role")
    role = ROLES.get(str(spoken).strip().lower())
    if role is None:
        raise BadRow("an unknown role", str(spoken))
    calls = fields.get("tool_calls") or ()
    if not isinstance(calls, list | tuple) or not all(isinstance(call, Mapping) for call in calls):
        raise BadRow("tool calls that are not a list of objects")
    content = first_of(fields, ("content", "value"))
    if content is None and not calls:
        raise BadRow("a message without a text")
    return Message(
        role=role,
        content=_content(content),
        tool_calls=tuple(calls),
        tool_call_id=str(fields.get("tool_call_id") or ""),
    )


def _content(content: object) -> str:
    """A text, or OpenAI's list of parts; a part that is no text cannot be learned here."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRow("a message that is not a text", kind_of(content))
    parts = [part if isinstance(part, str) else _part(part) for part in content]
    return "".join(parts)


def _part(part: object) -> str:
    fields = fields_of(part)
    if fields.get("type") not in ("text", "input_text", "output_text"):
        raise BadRow("a message that is not a text", str(fields.get("type")))
    return text(fields, ("text",))


def objects(value: object) -> tuple[Mapping[str, Any], ...]:
    """Definitions of tools: a list of objects, or one written as JSON; what is none, is left out."""
    found = _parsed(value) if isinstance(value, str) else value
    return tuple(each for each in found if isinstance(each, Mapping)) if isinstance(found, list) else ()


def _parsed(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
