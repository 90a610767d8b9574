"""The generations by name, in the order of their years. Nothing here imports torch."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

ROW_FILE, FOUND_FILE = "row.json", "found.json"


@dataclass(frozen=True, kw_only=True)
class Generation:
    """`share` is its part of the minutes among those that are asked for."""

    name: str
    year: int
    idea: str
    share: float


GENERATIONS: tuple[Generation, ...] = (
    Generation(name="ngram", year=1995, idea="count the last pieces, smooth by Kneser-Ney", share=0.0),
    Generation(name="ngram+cache", year=1990, idea="a piece just used is used again", share=0.0),
    Generation(name="nnlm", year=2003, idea="learn a vector for each piece, read the last ones by a network", share=1.0),
    Generation(name="word2vec", year=2013, idea="vectors alone, from the company a piece keeps", share=0.7),
    Generation(name="rnn", year=2010, idea="carry a state through the text", share=1.0),
    Generation(name="lstm", year=2012, idea="gates let the state last", share=1.5),
    Generation(name="elmo", year=2018, idea="letters below, both directions above: a vector for each use", share=1.5),
    Generation(name="gpt2", year=2019, idea="attention instead of a state, left to right", share=1.5),
    Generation(name="bert", year=2018, idea="guess masked pieces from both sides", share=1.5),
    Generation(name="t5", year=2019, idea="text to text: write down what was cut out", share=1.0),
    Generation(name="llama", year=2023, idea="rotary positions, gated layers, one norm before each", share=1.5),
)  # fmt: skip
NAMED = {each.name: each for each in GENERATIONS}


def chosen(names: Sequence[str]) -> list[str]:
    """The names in their years' order, all where none is given; ValueError names the nearest to an unknown one."""
    for name in names:
        if name not in NAMED:
            near = difflib.get_close_matches(name, NAMED, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"models: there is no {name}{meant}; there are {', '.join(NAMED)}")
    ordered = sorted(GENERATIONS, key=lambda each: each.year)
    return [each.name for each in ordered if not names or each.name in names]


def budgets(names: Sequence[str], seconds: float) -> dict[str, float]:
    """Each model's seconds of training: its share of what all that are asked for may take."""
    total = sum(NAMED[name].share for name in names)
    return {name: seconds * NAMED[name].share / total if total else 0.0 for name in names}
