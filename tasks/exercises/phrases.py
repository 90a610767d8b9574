"""Text of any language -> short phrases of plain words, and definitions in code: what instruction items are made of.

A phrase is a window of a run of whole words without digits or signs between them:
"Return the value of key, else None (see get_all)" -> "Return the value of key".
Scripts written without spaces (Chinese, Japanese, Thai) take one letter as one word and join without spaces.
"""

import hashlib
import heapq
import random
import re
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

SHORTEST_PHRASE, LONGEST_PHRASE = 5, 8
LONGEST_WORD_LETTERS = 16
LONGEST_DEFINITION, LONGEST_SUMMARY = 40, 60

# Digits of any script, ASCII signs and the punctuation of other scripts end a run of plain words.
_SIGNS = (
    r"\s\d\x00-\x40\x5b-\x60\x7b-\xbf\u060c\u061b\u061f\u0964\u0965\u2010-\u206f"
    r"\u2460-\u24ff\u3000-\u303f\uff01-\uff0f\uff1a-\uff20"
)
_WORD = rf"[^{_SIGNS}]{{1,{LONGEST_WORD_LETTERS}}}+"
_RUN = re.compile(rf"(?<!\S){_WORD}(?:\s{_WORD}(?=[\s.,;:!?)\u060c\u061b\u061f\u0964]|\Z)){{{SHORTEST_PHRASE - 1},}}+")
_UNSPACED = re.compile(rf"[\u0e01-\u0e2e\u3041-\u30ff\u3400-\u9fff]{{{SHORTEST_PHRASE},}}")
_DEFINITION = re.compile(
    r"^(?P<indent>[ \t]*)(?:async )?(?P<word>def|class) (?P<name>\w+(?:\([^()\n]*\))?)[^\n:]*:[ \t]*\n"
    r"(?:[ \t]+[rRuU]?(?:\"{3}|'{3})(?P<summary>[^\n\"']+))?",
    re.MULTILINE,
)
_CONSTANT = re.compile(r"^([A-Z][A-Z0-9_]{2,} = [^\s#][^\n#]{0,20}[^\s#,({\[])$", re.MULTILINE)
_CODE = "source"

MATERIALS = ("phrases", "words", "definitions")  # the lists of Material, as task files call them

Thing = TypeVar("Thing")


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """Some consecutive words of one document; `key` names it for seeded choices."""

    key: str
    words: tuple[str, ...]
    joiner: str

    @property
    def text(self) -> str:
        return self.of(self.words)

    def of(self, words: Sequence[str]) -> str:
        """`words` written as this phrase is written."""
        return self.joiner.join(words)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A definition in code: kind "method", text "close(self)", summary = first line of its docstring or ""."""

    key: str
    kind: str
    text: str
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What items are made of: lists without doubles, in an order that depends on content alone."""

    phrases: tuple[Phrase, ...]
    words: tuple[str, ...]
    definitions: tuple[Definition, ...]

    @cached_property
    def known_words(self) -> frozenset[str]:
        return frozenset(self.words)

    def some_phrase(self, chance: random.Random) -> Phrase:
        """A phrase at random: the next by key after a random one, so that a new phrase changes few of the choices."""
        place = bisect(self._keys, f"{chance.getrandbits(64):016x}")
        return self.phrases[place % len(self.phrases)]

    @cached_property
    def _keys(self) -> list[str]:
        return [phrase.key for phrase in self.phrases]


def key_of(*parts: object) -> str:
    """A short stable name for `parts`, the same on every machine."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def phrases_of(document: Mapping[str, Any]) -> Iterator[Phrase]:
    """The phrases of one document of prose; code has none (its lines are no sentences)."""
    if document["kind"] == _CODE:
        return
    text = " ".join(str(document["text"]).split())
    for run in _RUN.findall(text):
        # A run without spaces in an unspaced script never gets here: it is one word, not five.
        yield from _windows(run.split(" "), " ")
    for run in _UNSPACED.findall(text):
        yield from _windows(list(run), "")


def _windows(words: list[str], joiner: str) -> Iterator[Phrase]:
    """Cut a run into consecutive windows; the words themselves choose the length, so it follows no pattern."""
    start = 0
    while len(words) - start >= SHORTEST_PHRASE:
        spread = int(key_of("window", *words[start : start + LONGEST_PHRASE])[:4], 16)
        end = start + SHORTEST_PHRASE + spread % (LONGEST_PHRASE - SHORTEST_PHRASE + 1)
        chosen = tuple(words[start:end])
        yield Phrase(key=key_of(*chosen), words=chosen, joiner=joiner)
        start += len(chosen)


def definitions_of(document: Mapping[str, Any]) -> Iterator[Definition]:
    """The functions, methods, classes and constants that a document of Python source defines."""
    if document["kind"] != _CODE:
        return
    source = str(document["text"])
    for found in _DEFINITION.finditer(source):
        text, summary = found["name"], " ".join((found["summary"] or "").split()).rstrip(".")
        if len(text) <= LONGEST_DEFINITION and (found["word"] == "class" or "(" in text):
            kind = _kind(found["word"], text)
            summary = summary if len(summary) <= LONGEST_SUMMARY else ""
            yield Definition(key=key_of(kind, text), kind=kind, text=text, summary=summary)
    for text in _CONSTANT.findall(source):
        yield Definition(key=key_of("constant", text), kind="constant", text=text)


def _kind(word: str, text: str) -> str:
    if word == "class":
        return "class"
    return "method" if re.search(r"\((?:self|cls)\b", text) else "function"


def gather(documents: Iterable[Mapping[str, Any]], *, most: int, without: Material | None = None) -> Material:
    """The material of `documents`, at most `most` phrases and definitions: those with the smallest keys.

    Memory stays bounded by `most`, whatever the size of the corpus. What `without` has is left out: unseen means unseen.
    """
    known = (
        {thing.key for thing in without.phrases} | {thing.key for thing in without.definitions} if without else set()
    )
    phrases: dict[str, Phrase] = {}
    definitions: dict[str, Definition] = {}
    for document in documents:
        phrases.update((thing.key, thing) for thing in phrases_of(document) if thing.key not in known)
        for thing in definitions_of(document):
            if thing.key not in known and not (thing.key in definitions and definitions[thing.key].summary):
                definitions[thing.key] = thing
        phrases, definitions = _smallest(phrases, 2 * most, most), _smallest(definitions, 2 * most, most)
    phrases, definitions = _smallest(phrases, most, most), _smallest(definitions, most, most)
    words = {word for phrase in phrases.values() if phrase.joiner for word in phrase.words}
    return Material(
        phrases=tuple(phrases[key] for key in sorted(phrases)),
        words=tuple(sorted(words, key=lambda word: key_of("word", word))),
        definitions=tuple(definitions[key] for key in sorted(definitions)),
    )


def _smallest(things: dict[str, Thing], limit: int, most: int) -> dict[str, Thing]:
    """`things` as they are up to `limit`; beyond it the `most` with the smallest keys."""
    if len(things) <= limit:
        return things
    return {key: things[key] for key in heapq.nsmallest(most, things)}
