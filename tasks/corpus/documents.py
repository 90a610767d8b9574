"""A document is one JSON line; every stage of the corpus reads and writes streams of them.

{"group": "asyncio", "id": "docstring/asyncio.queues.Queue.get", "kind": "docstring", "text": "..."}
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

DOCUMENTS_FILE = "documents.jsonl"
KINDS = ("reference", "docstring", "source", "text")
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Document:
    """`id` names content, never a position; `group` is what must not be torn apart by a split."""

    id: str
    group: str
    kind: str
    text: str


def to_line(document: Document) -> str:
    """The one spelling of a document; a line feed inside the text is escaped, so one line stays one document."""
    record = {"group": document.group, "id": document.id, "kind": document.kind, "text": document.text}
    return json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n"


def read_documents(path: Path) -> Iterator[Document]:
    """Stream the documents of a file: one in memory at a time."""
    # newline="\n": U+2028 and carriage returns inside a text must not end a line
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield Document(**json.loads(line))


def halvings(size_bytes: int, most_bytes: int) -> int:
    """How often a text of `size_bytes` must be halved to fit: halvings(900, 250) -> 2.

    Whole halves, so that a document more or less almost never changes which others are in the sample.
    """
    count = 0
    while size_bytes > most_bytes << count:
        count += 1
    return count


def in_sample(id: str, halved: int) -> bool:
    """Whether a document is among the 1 in 2**halved that a sample of so many halvings keeps; by its id alone."""
    return int.from_bytes(sha256(f"sample\n{id}".encode()).digest()[:8], "big") >> (64 - halved) == 0
