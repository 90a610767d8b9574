"""Questions about everyday relations (relations.yaml), to choose an answer or to say yes or no."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tasks.exercises.exercise import Exercise
from tasks.exercises.table_files import table

CHOICES = 3
LETTERS = "ABC"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """`thing` stands in `relation` to `answer`, and to none of `wrong`."""

    relation: Mapping[str, Any]
    thing: str
    answer: str
    wrong: Sequence[str]

    @property
    def said(self) -> str:
        """A petal is part of a flower."""
        return _sentence(self.relation["says"].format(thing=self.thing, answer=self.answer))

    @property
    def name(self) -> str:
        """What is a petal part of? The same for both words of an opposite, and for all of an order, where one follows
        from others.
        """
        thing = min(self.thing, self.answer) if self.relation["kind"] == "opposite" else self.thing
        return str(self.relation["asks"].format(thing=thing))


def commonsense(chance: random.Random) -> Exercise:
    """What is a petal part of? a car, a flower or a shirt -> a flower"""
    fact = some_fact(chance)
    choices = _choices(fact, chance)
    return Exercise(
        text=fact.relation["asks"].format(thing=fact.thing),
        answer=_chosen(fact),
        slots={"choices": f"{', '.join(choices[:-1])} or {choices[-1]}"},
        rationale=fact.said,
        options=tuple(choices),
        facts=(fact.name,),
    )


def commonsense_choice(chance: random.Random) -> Exercise:
    """What is a petal part of? A) a car B) a flower C) a shirt -> B. Three choices always: no order is asked."""
    fact = some_fact(chance, kinds=("of", "opposite"))
    choices = _choices(fact, chance)
    letter = LETTERS[choices.index(_chosen(fact))]
    return Exercise(
        text=fact.relation["asks"].format(thing=fact.thing),
        answer=letter,
        slots={"choices": " ".join(f"{mark}) {choice}" for mark, choice in zip(LETTERS, choices, strict=True))},
        rationale=f"{fact.said} That is {letter}.",
        options=tuple(LETTERS),
        facts=(fact.name,),
    )


def commonsense_yes_no(chance: random.Random) -> Exercise:
    """Is a petal part of a car? -> no"""
    fact = some_fact(chance)
    answer = chance.choice(("yes", "no"))
    thing, claimed = fact.thing, fact.answer
    if answer == "no":
        thing, claimed = (claimed, thing) if _is_order(fact) else (thing, chance.choice(fact.wrong))
    claim = _sentence(fact.relation["says"].format(thing=thing, answer=claimed))
    return Exercise(
        text=_sentence(fact.relation["checks"].format(thing=thing, answer=claimed), end=""),
        answer=answer,
        slots={"claim": claim},
        rationale=fact.said,
        options=("yes", "no"),
        facts=(fact.name,),
    )


def some_fact(chance: random.Random, kinds: Sequence[str] = ("of", "opposite", "order")) -> Fact:
    """A fact of a relation drawn first, so that every relation of these kinds is asked as often."""
    relations = sorted(name for name, relation in table("relations").items() if relation["kind"] in kinds)
    return chance.choice(facts(chance.choice(relations)))


@cache
def facts(name: str) -> Sequence[Fact]:
    """All facts of the relation `name`; an opposite is two of them."""
    relation = table("relations")[name]
    rows: list[Sequence[str]] = relation["pairs"]
    if relation["kind"] == "order":
        return [Fact(relation=relation, thing=thing, answer=answer, wrong=(thing,)) for thing, answer in rows]
    if relation["kind"] == "opposite":
        rows = [*rows, *([answer, thing] for thing, answer in rows)]
    return [_fact(relation, row, rows) for row in rows]


def _fact(relation: Mapping[str, Any], row: Sequence[str], rows: Sequence[Sequence[str]]) -> Fact:
    thing, answer, *_ = row
    right = {also for other in rows if other[0] == thing for also in other} | {thing}
    wrong = sorted({other[1] for other in rows} - right)
    return Fact(relation=relation, thing=thing, answer=answer, wrong=wrong)


def _choices(fact: Fact, chance: random.Random) -> list[str]:
    """The right answer among wrong ones, in any order; of an order the two things it has."""
    if _is_order(fact):
        return chance.sample([fact.thing, fact.answer], 2)
    choices = [fact.answer, *chance.sample(fact.wrong, CHOICES - 1)]
    return chance.sample(choices, CHOICES)


def _chosen(fact: Fact) -> str:
    """Of an order the first is asked for: the larger, the earlier."""
    return fact.thing if _is_order(fact) else fact.answer


def _is_order(fact: Fact) -> bool:
    return bool(fact.relation["kind"] == "order")


def _sentence(text: str, end: str = ".") -> str:
    """An upper-case letter first and a full stop last."""
    return text[0].upper() + text[1:] + end
