"""The table of everyday relations says nothing twice, nothing against itself, and offers no wrong answer that is right."""

import random
from collections import Counter
from graphlib import TopologicalSorter

import pytest

from tasks.exercises.commonsense import commonsense, commonsense_yes_no, facts
from tasks.exercises.table_files import table

RELATIONS = table("relations")


def pairs(name: str) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in RELATIONS[name]["pairs"]]


def of_kind(kind: str) -> list[str]:
    return [name for name, relation in RELATIONS.items() if relation["kind"] == kind]


@pytest.mark.parametrize("name", RELATIONS)
def test_there_are_many_pairs_and_none_twice_or_turned_round(name: str) -> None:
    both_ways = Counter(frozenset(pair) for pair in pairs(name))
    assert len(both_ways) >= 25
    assert both_ways.most_common(1)[0][1] == 1
    assert all(len(pair) == 2 for pair in both_ways)
    assert all(isinstance(word, str) for row in RELATIONS[name]["pairs"] for word in row)


@pytest.mark.parametrize("name", of_kind("order"))
def test_an_order_has_no_circle(name: str) -> None:
    order = TopologicalSorter[str]()
    for first, then in pairs(name):
        order.add(first, then)
    order.prepare()  # CycleError where something is larger than itself


@pytest.mark.parametrize("name", of_kind("opposite"))
def test_a_word_has_one_opposite(name: str) -> None:
    words = Counter(word for pair in pairs(name) for word in pair)
    assert words.most_common(1)[0][1] == 1


@pytest.mark.parametrize("name", of_kind("of"))
def test_what_would_be_right_as_well_is_never_offered_as_wrong(name: str) -> None:
    answers = {answer for _, answer in pairs(name)}
    also = {row[0]: set(row[2:]) for row in RELATIONS[name]["pairs"] if row[2:]}
    assert all(right <= answers for right in also.values()), "a misspelled answer excludes nothing"
    for fact in facts(name):
        assert not set(fact.wrong) & ({fact.answer} | also.get(fact.thing, set()))
        assert len(fact.wrong) >= 10


def test_yes_is_said_of_the_facts_and_no_of_nothing_that_is_one() -> None:
    said = {fact.said for name in RELATIONS for fact in facts(name)}
    chance = random.Random(5)
    for _ in range(2000):
        item = commonsense_yes_no(chance)
        assert (item.slots["claim"] in said) == (item.answer == "yes"), item
        assert item.rationale in said


def test_every_relation_is_asked_with_the_fact_as_its_rationale() -> None:
    chance = random.Random(6)
    items = [commonsense(chance) for _ in range(800)]
    assert all(item.answer.lower() in item.rationale.lower() for item in items)
    asked = {name for name, relation in RELATIONS.items() for item in items if _asks(relation["asks"], item.text)}
    assert asked == set(RELATIONS)


def _asks(question: str, text: str) -> bool:
    start, _, end = question.partition("{thing}")
    return text.startswith(start) and text.endswith(end)
