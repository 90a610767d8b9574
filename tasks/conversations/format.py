"""What a format is: how a row is recognised, and how it becomes the messages of a conversation."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.conversations.conversation import ASSISTANT, USER, Message

Item = Any  # a row of a file, or a part of one
Made = tuple[Sequence[Message], str]  # the messages, and the rejected answer or ""


@dataclass(kw_only=True)
class File:
    """What a row cannot say: its file's task, wordings and labels; `notes` counts what is worth knowing of its rows."""

    task: str = ""
    wordings: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Format:
    """`make` raises BadRow; `items`, where a row holds many examples, gives each with its place inside the row."""

    name: str
    fits: Callable[[Item], bool]
    make: Callable[[Item, File], Made]
    items: Callable[[Item, File], Iterator[tuple[str, Item]]] | None = None
    named_by_file: bool = False  # the task is the file's name


def asked(question: str, answer: str, *, before: Sequence[Message] = ()) -> Made:
    return (*before, Message(role=USER, content=question), Message(role=ASSISTANT, content=answer)), ""


def joined(*parts: str) -> str:
    """The parts that say something, an empty line between them."""
    return "\n\n".join(part for part in parts if part.strip())
