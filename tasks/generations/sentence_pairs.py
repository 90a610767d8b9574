"""Pairs for next-sentence prediction (Devlin et al. 2018), after bert's create_pretraining_data.py.

A pair is two stretches of a text, A and B: B goes on where A ended, or is from another document. Pairs are rows of
numbers that point into the ids, so a corpus is held once however many pairs are made of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
MARKS = 3  # [CLS] A [SEP] B [SEP]


@dataclass(frozen=True, kw_only=True, eq=False)
class Documents:
    """Ids in a row; segments (sentences, lines) begin at `segments`, document d has segments[documents[d]] on.

    Both have their end as a last entry: ids 7 8 9 | 5 | 6 6 with the second document from 6 on has segments 0 3 4 6 and
    documents 0 2 3.
    """

    ids: npt.NDArray[np.integer]
    segments: Ids
    documents: Ids

    def __post_init__(self) -> None:
        for name, offsets, total in (
            ("segments", self.segments, len(self.ids)),
            ("documents", self.documents, len(self.segments) - 1),
        ):
            if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != total or np.any(np.diff(offsets) < 1):
                raise ValueError(f"documents: {name} must rise from 0 to {total}; leave out what is empty")
        if len(self.documents) < 3:
            raise ValueError("documents: there is one; a random B needs another: name the starts of at least two")

    @classmethod
    def of(cls, nested: Sequence[Sequence[Sequence[int]]]) -> "Documents":
        """Documents of segments of ids: [[[7, 8, 9], [5]], [[6, 6]]]; what is empty is left out."""
        full = [kept for document in nested if (kept := [list(segment) for segment in document if len(segment)])]
        segments = [segment for document in full for segment in document]
        return cls(
            ids=np.concatenate([np.zeros(0, dtype=np.int64), *[np.array(each, dtype=np.int64) for each in segments]]),
            segments=np.cumsum([0, *map(len, segments)]),
            documents=np.cumsum([0, *map(len, full)]),
        )

    @classmethod
    def cut(cls, ids: npt.NDArray[np.integer], starts: npt.NDArray[np.integer], segment_tokens: int) -> "Documents":
        """Documents that begin at `starts`, cut every `segment_tokens` tokens where nothing better is known."""
        edges = np.append(starts, len(ids)).astype(np.int64)
        parts = [np.arange(begin, end, segment_tokens) for begin, end in pairwise(edges)]
        return cls(
            ids=ids, segments=np.append(np.concatenate(parts), len(ids)), documents=np.cumsum([0, *map(len, parts)])
        )


@dataclass(frozen=True, kw_only=True)
class PairConfig:
    """`length` tokens with the three marks; `short_share` of the documents are made into shorter pairs.

    `copies` are made of each document, with other breaks and other partners in each.
    """

    length: int = 128
    short_share: float = 0.1
    copies: int = 2

    def __post_init__(self) -> None:
        if self.length < MARKS + 2 or self.copies < 1 or not 0 <= self.short_share <= 1:
            raise ValueError(
                "pairs: length must be at least 5 (three marks and two tokens), copies at least 1, short_share in [0, 1]"
            )


class Plan(NamedTuple):
    """Segments [begin, split) are A; B is [b_begin, b_end), which is [split, end) where it `is_random` not."""

    begin: int
    split: int
    b_begin: int
    b_end: int
    is_random: bool


def make_pairs(documents: Documents, config: PairConfig, seed: int) -> Ids:
    """All pairs [P, 5]: where A begins and ends in the ids, where B does, and whether B is from another document."""
    rows = []
    for copy in range(config.copies):
        for number in range(len(documents.documents) - 1):
            draw = np.random.Generator(np.random.PCG64([seed, copy, number]))
            for plan in plan_document(documents, number, config, draw):
                a_begin, a_end, b_begin, b_end = (int(documents.segments[each]) for each in plan[:4])
                pair = truncated((a_begin, a_end), (b_begin, b_end), config.length - MARKS, draw)
                rows.append((*pair, plan.is_random))
    return np.array(rows, dtype=np.int64)


def plan_document(documents: Documents, number: int, config: PairConfig, draw: np.random.Generator) -> Iterator[Plan]:
    """The pairs of one document. Segments are taken until they fill a pair, and those a random B displaces are put back.

    A chunk of one segment has nothing to go on with, so its B is random: more than half of all are.
    """
    most = config.length - MARKS
    wanted = int(draw.integers(2, most + 1)) if draw.random() < config.short_share else most
    begin, last = (int(each) for each in documents.documents[number : number + 2])
    while begin < last:
        end = _filled(documents.segments, begin, last, wanted)
        split = begin + (1 if end == begin + 1 else int(draw.integers(1, end - begin)))
        if end == begin + 1 or draw.random() < 0.5:
            left = wanted - int(documents.segments[split] - documents.segments[begin])
            yield Plan(begin, split, *_elsewhere(documents, number, left, draw), is_random=True)
            begin = split
        else:
            yield Plan(begin, split, split, end, is_random=False)
            begin = end


def _filled(segments: Ids, begin: int, last: int, tokens: int) -> int:
    """One past the segment that brings those from `begin` on to so many tokens, at least one, within the document."""
    end = int(np.searchsorted(segments, segments[begin] + tokens))
    return min(max(end, begin + 1), last)


def _elsewhere(documents: Documents, number: int, tokens: int, draw: np.random.Generator) -> tuple[int, int]:
    """Segments of another document from a random one on; the original draws until it is another, at most ten times."""
    other = int(draw.integers(len(documents.documents) - 2))
    other += other >= number
    first, last = (int(each) for each in documents.documents[other : other + 2])
    begin = int(draw.integers(first, last))
    return begin, _filled(documents.segments, begin, last, tokens)


def truncated(
    a: tuple[int, int], b: tuple[int, int], most: int, draw: np.random.Generator
) -> tuple[int, int, int, int]:
    """Tokens are taken from the longer side, from B of two equal ones, each from its front or its back by a coin."""
    too_many = max(0, a[1] - a[0] + b[1] - b[0] - most)
    lead = (a[1] - a[0]) - (b[1] - b[0])
    of_longer = min(too_many, abs(lead))
    rest = too_many - of_longer
    from_a, from_b = rest // 2 + of_longer * (lead > 0), rest - rest // 2 + of_longer * (lead <= 0)
    front_a, front_b = int(draw.binomial(from_a, 0.5)), int(draw.binomial(from_b, 0.5))
    return a[0] + front_a, a[1] - (from_a - front_a), b[0] + front_b, b[1] - (from_b - front_b)
