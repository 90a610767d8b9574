"""Questions without a text to look in: some have one answer, some nobody can know, and saying so is right then."""

import random
from collections.abc import Mapping
from typing import Any

from tasks.exercises.exercise import Exercise
from tasks.exercises.invented_words import invented_word
from tasks.exercises.table_files import names, table

UNKNOWN = "I don't know"


def closed_book(chance: random.Random) -> Exercise:
    """A question of either kind, as often one that has an answer as one that has none."""
    return known(chance) if chance.random() < 0.5 else unknown(chance)


def known(chance: random.Random) -> Exercise:
    """What is the capital of Kenya? -> Nairobi; or a sum of two numbers below 10."""
    kind = chance.choice(("topic", "topic", "fact", "sum"))
    if kind == "fact":
        question, answer = chance.choice(list(table("closed_book")["known"].items()))
    elif kind == "sum":
        first, second = chance.randint(1, 9), chance.randint(1, 9)
        question, answer = f"How much is {first} plus {second}?", str(first + second)
    else:
        topic = _topic(chance)
        thing, answer = chance.choice(list(topic["answers"].items()))
        question = topic["asks"].format(thing=thing)
    return Exercise(text=question, answer=answer)


def unknown(chance: random.Random) -> Exercise:
    """What is the capital of Velmonkia? What did Ada dream last night? -> I don't know"""
    if chance.random() < 0.5:
        question = chance.choice(table("closed_book")["unknowable"]).format(name=chance.choice(names()))
    else:
        topic, word = _topic(chance), invented_word(chance)
        thing = topic["invents"].format(invented=word, Invented=word.capitalize())
        question = topic["asks"].format(thing=thing)
    return Exercise(text=question, answer=UNKNOWN)


def _topic(chance: random.Random) -> Mapping[str, Any]:
    topics = table("closed_book")["topics"]
    topic: Mapping[str, Any] = topics[chance.choice(sorted(topics))]
    return topic
