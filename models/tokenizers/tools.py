"""Tools in a chat: definitions of functions, calls that the assistant makes, results; as OpenAI's messages have them.

A template writes definitions and calls as it likes, mostly as JSON. So they are not set in afterwards as texts are: what
spells a special token in them is refused, and a template that leaves them out too.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Tool = Mapping[str, Any]


def written(message: Mapping[str, Any], content: str) -> dict[str, Any]:
    """A message for a template, with `content` in the place of its text; arguments of calls as objects."""
    calls = [_call(call) for call in message.get("tool_calls") or ()]
    named = {name: message[name] for name in ("name", "tool_call_id") if message.get(name)}
    return {"role": message["role"], "content": content, **named, **({"tool_calls": calls} if calls else {})}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """With its arguments as an object, which OpenAI writes as text: '{"city": "Seoul"}' -> {"city": "Seoul"}."""
    function = call.get("function", call)
    arguments = function.get("arguments", {}) if isinstance(function, Mapping) else None
    try:
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        if not (isinstance(arguments, Mapping) and isinstance(function["name"], str)):
            raise ValueError("no object")
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError("a tool call needs a function with a name, and arguments that are a JSON object") from error
    return {**call, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def names_of(functions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of definitions or of calls."""
    return [str(each.get("function", each).get("name")) for each in functions]


def refuse_special(given: Sequence[object], tokens: Iterable[str]) -> None:
    """ValueError when tools or calls spell a special token, which would have power in the middle of a turn."""
    text = json.dumps(given, ensure_ascii=False)
    for token in tokens:
        if token in text:
            raise ValueError(f"a tool or a call spells {token}, which is a special token here; leave it out")


def refuse_left_out(names: Iterable[str], text: str) -> None:
    """ValueError when a template's text does not name them."""
    for name in names:
        if name not in text:
            raise ValueError(f"the chat template has no place for tools, it leaves out {name}; use one that has")
