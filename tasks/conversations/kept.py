"""Conversations that a person gave to instruction tuning, as they lie in the home: `conversations/NAME.jsonl`, each once.

{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}], "source": "a.jsonl, line 1"}
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tasks.conversations.conversation import Conversation

Turns = list[dict[str, str]]  # {"role", "content"}, as a chat template takes them
PAIR, TOOLS, REPEATED = "a preference pair", "tools, which the chat template has no place for", "said before"


def conversations_file(home: Path, name: str) -> Path:
    return home / "conversations" / f"{name}.jsonl"


def keep(home: Path, name: str, found: Iterable[Conversation], *, replace: bool) -> tuple[Path, int, dict[str, int]]:
    """Lay conversations beside those of the data set, or in their place; (file, how many in all, {why not: how many}).

    ValueError when not one of them can be learned.
    """
    target = conversations_file(home, name)
    lines = dict.fromkeys(() if replace or not target.is_file() else target.read_text(encoding="utf-8").splitlines())
    said = {json.dumps(turns, sort_keys=True) for turns in (read_kept(target) if lines else ())}
    left_out: Counter[str] = Counter()
    taken = 0
    for each in found:
        turns = [{"role": message.role, "content": message.content} for message in each.messages]
        key = json.dumps(turns, sort_keys=True)
        reason = _unfit(each) or (REPEATED if key in said else "")
        if reason:
            left_out[reason] += 1
            continue
        said.add(key)
        taken += 1
        lines[json.dumps({"messages": turns, "source": each.source})] = None
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
    spoken = any(message.role == "tool" or message.tool_calls for message in conversation.messages)
    return TOOLS if spoken or conversation.tools else ""


def read_kept(path: Path) -> list[Turns]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [_turns(path, number, line) for number, line in enumerate(lines, start=1)]


def _turns(path: Path, number: int, line: str) -> Turns:
    try:
        return [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in json.loads(line)["messages"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}, line {number}: not as `espalier data instruct` writes it; give the conversations with --replace"
        ) from error
