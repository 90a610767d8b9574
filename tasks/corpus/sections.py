"""A text of any length -> pieces of a few kilobytes, cut where a reader would: headings, paragraphs, lines."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

_HEADING = re.compile(r"#{1,6} \S")
_LARGEST_PARAGRAPH = 2  # times document_bytes: a longer one is cut at the end of a line


@dataclass(frozen=True, kw_only=True)
class Piece:
    """`start` counts the bytes before it; a piece that is one endless line is given only in part."""

    text: str
    start: int
    endless: bool = False


def pieces(lines: TextIO, *, document_bytes: int, max_line_characters: int) -> Iterator[Piece]:
    """Stream the pieces of a text; no more than one piece and one line is held."""
    held: list[str] = []
    size = start = 0
    for line, endless in _bounded_lines(lines, max_line_characters):
        length = len(line.encode("utf-8", "surrogatepass"))
        if held and (endless or _starts_new(line, held[-1], size, document_bytes)):
            yield Piece(text="".join(held), start=start)
            start, held, size = start + size, [], 0
        if endless:
            yield Piece(text=line, start=start, endless=True)
            start += length
        else:
            held.append(line)
            size += length
    if held:
        yield Piece(text="".join(held), start=start)


def _starts_new(line: str, before: str, size: int, document_bytes: int) -> bool:
    if size >= _LARGEST_PARAGRAPH * document_bytes:
        return True
    if size >= document_bytes:
        return not before.strip()
    return size >= document_bytes // 2 and _HEADING.match(line) is not None and not before.strip()


def _bounded_lines(lines: TextIO, most: int) -> Iterator[tuple[str, bool]]:
    """(line, False), or (the first `most` characters of a longer line, True); the rest of that one is passed over."""
    while line := lines.readline(most + 1):
        if len(line) <= most or line[-1] in "\r\n":
            yield line, False
            continue
        rest = line
        while rest and rest[-1] not in "\r\n":
            rest = lines.readline(1 << 16)
        yield line[:most], True
