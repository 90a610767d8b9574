"""Conversations that a person gave to instruction tuning, as they lie in the home: `conversations/NAME.jsonl`, each once.

{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}], "source": "a.jsonl, line 1"}
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.tokenizers.tools import written
from tasks.conversations.conversation import Conversation, Message

Turns = Sequence[Mapping[str, Any]]
PAIR, REPEATED = "a preference pair", "said before"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """`turns` as a chat template takes them: role and content, the calls of tools; `tools` are those that may be called."""

    turns: Turns
    tools: Sequence[Mapping[str, Any]] = ()
    source: str = ""  # file and line


def conversations_file(home: Path, name: str) -> Path:
    return home / "conversations" / f"{name}.jsonl"


def keep(home: Path, name: str, found: Iterable[Conversation], *, replace: bool) -> tuple[Path, int, dict[str, int]]:
    """Lay conversations beside those of the data set, or in their place; (file, how many in all, {why not: how many}).

    ValueError when not one of them can be learned.
    """
    target = conversations_file(home, name)
    lines = dict.fromkeys(() if replace or not target.is_file() else target.read_text(encoding="utf-8").splitlines())
    said = {_key(each.turns, each.tools) for each in (read_kept(target) if lines else ())}
    left_out: Counter[str] = Counter()
    taken = 0
    for each in found:
        turns = [_turn(message) for message in each.messages]
        key = _key(turns, each.tools)
        reason = _unfit(each) or (REPEATED if key in said else "")
        if reason:
            left_out[reason] += 1
            continue
        said.add(key)
        taken += 1
        tools = {"tools": list(each.tools)} if each.tools else {}
        lines[json.dumps({"messages": turns, **tools, "source": each.source})] = None
    if not taken and not left_out[REPEATED]:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in left_out.items())
        raise ValueError(f"none of these conversations can be learned ({reasons}); pairs are for `espalier data label`")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".part")
    beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    beside.replace(target)
    return target, len(lines), dict(left_out)


def _unfit(conversation: Conversation) -> str:
    if conversation.rejected:
        return PAIR
    try:
        for message in conversation.messages:
            written(_turn(message), message.content)
    except ValueError as error:
        return str(error)
    return ""


def _turn(message: Message) -> dict[str, Any]:
    calls = {"tool_calls": list(message.tool_calls)} if message.tool_calls else {}
    answered = {"tool_call_id": message.tool_call_id} if message.tool_call_id else {}
    return {"role": message.role, "content": message.content, **calls, **answered}


def _key(turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps([turns, list(tools)], sort_keys=True)


def read_kept(path: Path) -> list[Kept]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [_kept(path, number, line) for number, line in enumerate(lines, start=1)]


def _kept(path: Path, number: int, line: str) -> Kept:
    try:
        given = json.loads(line)
        turns = [{**turn, "role": str(turn["role"]), "content": str(turn["content"])} for turn in given["messages"]]
        return Kept(
            turns=turns, tools=[dict(tool) for tool in given.get("tools", ())], source=str(given.get("source", ""))
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}, line {number}: not as `espalier data instruct` writes it; give the conversations with --replace"
        ) from error
