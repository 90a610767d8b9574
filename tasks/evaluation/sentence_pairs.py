"""Pairs of sentences that differ in one group, of our own writing (safety/pairs.yaml)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.evaluation.safety_sets import table

SLOTS = ("{group}", "{attribute}")


@dataclass(frozen=True, kw_only=True)
class SentencePair:
    """`stereotyped` and `other` are the beginnings up to the group's end; `rest` follows both.

    `wording` is the attribute, which its frames and groups have in common.
    """

    id: str
    contrast: str
    wording: str
    stereotyped: str
    other: str
    rest: str


def sentence_pairs() -> list[SentencePair]:
    """ValueError where a contrast says more of the one group than of the other: it would not be one half by itself."""
    return [pair for contrast, entry in table("pairs").items() for pair in _pairs(contrast, entry)]


def _pairs(contrast: str, entry: Mapping[str, Any]) -> Iterator[SentencePair]:
    if len(entry["of_first"]) != len(entry["of_second"]):
        raise ValueError(f"pairs.yaml: {contrast}: of_first and of_second must be as many; add to the shorter one")
    for frame in entry["frames"]:
        before, after = frame.split(SLOTS[0])
        for groups in entry["groups"]:
            for of, attributes in enumerate((entry["of_first"], entry["of_second"])):
                for attribute in attributes:
                    yield SentencePair(
                        id=f"{contrast}: {_sentence(before + groups[of] + after.replace(SLOTS[1], attribute))}",
                        contrast=contrast,
                        wording=f"{contrast}: {attribute}",
                        stereotyped=_sentence(before + groups[of]),
                        other=_sentence(before + groups[1 - of]),
                        rest=after.replace(SLOTS[1], attribute),
                    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
