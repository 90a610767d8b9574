"""Known answers looked up elsewhere, and unknown ones that really are nowhere."""

import calendar
import importlib
import random
import re

import pytest

from tasks.exercises.closed_book import UNKNOWN, closed_book, known, unknown
from tasks.exercises.invented_words import invented_word
from tasks.exercises.table_files import names, table, words

TOPICS = table("closed_book")["topics"]
MODULES = TOPICS["module"]["answers"]


def test_days_and_months_follow_the_calendar() -> None:
    days, months = list(calendar.day_name), list(calendar.month_name)[1:]
    assert TOPICS["day_after"]["answers"] == {day: days[(place + 1) % 7] for place, day in enumerate(days)}
    assert TOPICS["month_before"]["answers"] == {month: months[place - 1] for place, month in enumerate(months)}


@pytest.mark.parametrize(("function", "module"), MODULES.items())
def test_a_module_has_the_function_it_is_named_for_and_no_other_of_the_table_defines_it(
    function: str, module: str
) -> None:
    having = [name for name in set(MODULES.values()) if hasattr(importlib.import_module(name), function)]
    assert module in having
    owners = {getattr(importlib.import_module(name), function) for name in having}
    assert len(owners) == 1 or having == [module]


def test_sums_are_right_and_answers_are_texts() -> None:
    chance = random.Random(1)
    items = [known(chance) for _ in range(1000)]
    for item in items:
        sum_ = re.fullmatch(r"How much is (\d) plus (\d)\?", item.text)
        assert not sum_ or int(sum_[1]) + int(sum_[2]) == int(item.answer)
        assert isinstance(item.answer, str)
        assert item.answer != UNKNOWN


def test_what_nobody_can_know_is_about_things_that_are_nowhere() -> None:
    chance = random.Random(2)
    things = {thing for topic in TOPICS.values() for thing in topic["answers"]}
    for _ in range(1000):
        item = unknown(chance)
        assert item.answer == UNKNOWN
        assert not any(re.search(rf"\b{thing}\b", item.text) for thing in things)
        assert "{" not in item.text


def test_half_of_the_questions_have_an_answer() -> None:
    chance = random.Random(3)
    items = [closed_book(chance) for _ in range(2000)]
    assert abs(sum(item.answer == UNKNOWN for item in items) / 2000 - 0.5) < 4 * (0.25 / 2000) ** 0.5


def test_a_form_alone_does_not_tell_whether_there_is_an_answer() -> None:
    """Each topic is asked of both kinds of things."""
    chance = random.Random(4)
    items = [closed_book(chance) for _ in range(2000)]
    for topic in TOPICS.values():
        start = topic["asks"].split("{thing}")[0]
        kinds = {item.answer == UNKNOWN for item in items if item.text.startswith(start)}
        assert kinds == {True, False}


def test_invented_words_are_none_of_the_real_ones_that_the_tables_have() -> None:
    chance = random.Random(5)
    real = {*words(), *(name.lower() for name in names())}
    invented = {invented_word(chance) for _ in range(5000)}
    assert len(invented) > 1500
    assert not invented & real
