"""What a person wants to know of conversations before training on them, as one plain document."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from tasks.conversations.conversation import Conversation
from tasks.conversations.read import Reading


def summary(readings: Sequence[Reading], passed_over: Mapping[str, str]) -> dict[str, Any]:
    """{"rows", "kept", "dropped", "files": [...], "examples": [...], …}; system messages count as no turn."""
    kept = [each for reading in readings for each in reading.conversations]
    dropped = sum(
        (Counter({reason: each.rows for reason, each in r.dropped.items()}) for r in readings), Counter[str]()
    )
    notes = sum((Counter(reading.notes) for reading in readings), Counter[str]())
    return {
        "rows": sum(reading.rows for reading in readings),
        "kept": len(kept),
        "dropped": dict(dropped.most_common()),
        **_measures(kept),
        "pairs": sum(bool(each.rejected) for each in kept),
        "repeated": len(kept)
        - len({(tuple((turn.role, turn.content) for turn in each.messages), each.rejected) for each in kept}),
        "tasks": _counted(each.task for each in kept),
        "categories": _counted(each.category for each in kept),
        "notes": dict(notes),
        "files": [_file(reading) for reading in readings],
        "passed_over": dict(passed_over),
        "examples": [_example(each) for each in _two(kept)],
    }


def _file(reading: Reading) -> dict[str, Any]:
    return {
        "file": reading.name,
        "format": reading.format,
        "guessed_from": list(reading.guessed_from),
        "also": list(reading.also),
        "rows": reading.rows,
        "kept": len(reading.conversations),
        "dropped": {
            reason: {"rows": each.rows, "first": each.place, "detail": each.detail}
            for reason, each in reading.dropped.items()
        },
        **_measures(reading.conversations),
    }


def _measures(kept: Sequence[Conversation]) -> dict[str, Any]:
    """A prompt is all that was said before the last answer."""
    if not kept:
        return {"turns": None, "prompt_characters": None, "answer_characters": None}
    return {
        "turns": _spread([sum(message.role != "system" for message in each.messages) for each in kept]),
        "prompt_characters": _spread([sum(len(message.content) for message in each.prompt) for each in kept]),
        "answer_characters": _spread([len(each.answer) for each in kept]),
    }


def _spread(numbers: Sequence[int]) -> dict[str, float]:
    return {"least": min(numbers), "median": median(numbers), "most": max(numbers)}


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(name for name in names if name).most_common())


def _two(kept: Sequence[Conversation]) -> list[Conversation]:
    """The first one, and the one in the middle."""
    return [kept[place] for place in sorted({0, len(kept) // 2})] if kept else []


def _example(conversation: Conversation) -> dict[str, Any]:
    return {
        "source": conversation.source,
        "messages": [
            {
                "role": each.role,
                "content": each.content,
                **({"tool_calls": list(each.tool_calls)} if each.tool_calls else {}),
            }
            for each in conversation.messages
        ],
        "rejected": conversation.rejected,
        "tools": list(conversation.tools),
    }
