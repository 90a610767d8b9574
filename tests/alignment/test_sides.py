"""What an unseen item asks has been taught by no item to train on: neither in other words nor by another task."""

from collections.abc import Callable, Iterable

import pytest

from tasks.alignment.drawing import Bounds, InstructionItem, Side, exercises_of, items_of, side_of
from tasks.exercises.commonsense import facts
from tasks.exercises.exercise import Exercise
from tasks.exercises.phrases import Material, gather
from tasks.exercises.table_files import table
from tasks.exercises.task_files import built_in_tasks

TASKS = {task.name: task for task in built_in_tasks() if not task.source.corpus}
NOTHING: Material = gather([], most=1)
RELATIONS = ("commonsense", "commonsense_choice", "commonsense_yes_no")


def items(name: str, side: Side) -> list[InstructionItem]:
    bounds = Bounds(most=400, largest_answer_share=0.03, max_prompt_bytes=300, max_answer_bytes=60, seed=1)
    return items_of(TASKS[name], side, NOTHING, bounds)


def exercises(name: str, side: Side) -> list[Exercise]:
    bounds = Bounds(most=200, largest_answer_share=0.03, max_prompt_bytes=300, max_answer_bytes=60, seed=1)
    return list(exercises_of(TASKS[name], side, NOTHING, bounds))


def known(said: Iterable[str]) -> set[frozenset[str]]:
    """The pairs of things behind rationales: of an opposite both directions are one pair."""
    sentences = {fact.said: frozenset((fact.thing, fact.answer)) for name in table("relations") for fact in facts(name)}
    return {sentences[each.split(" That is ")[0]] for each in said if each}


def test_no_task_on_relations_teaches_a_fact_that_one_of_them_asks_unseen() -> None:
    taught = known(item.rationale for name in RELATIONS for item in items(name, "train"))
    asked = known(item.rationale for name in RELATIONS for item in items(name, "unseen"))
    assert len(asked) > 30
    assert len(taught) > 150
    assert asked.isdisjoint(taught)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("language", lambda each: [sentence.strip(" .") for sentence in each.text.split(".") if sentence.strip()]),
        ("plural", lambda each: each.text.split(", ")),
        ("python_parameter", lambda each: [each.text]),
    ],
)
def test_what_is_made_of_several_parts_shares_none_with_the_other_side(
    name: str, parts: Callable[[Exercise], list[str]]
) -> None:
    sides = {side: {part for each in exercises(name, side) for part in parts(each)} for side in ("train", "unseen")}
    assert len(sides["train"]) > len(sides["unseen"]) >= 5
    assert sides["train"].isdisjoint(sides["unseen"])


def test_an_error_asked_unseen_is_not_taught_with_other_words_in_its_place() -> None:
    """int('apple') and int('lemon') are one thing to know."""
    sides = {
        side: {pattern for each in exercises("python_error", side) for pattern in each.facts}
        for side in ("train", "unseen")
    }
    assert sides["train"] | sides["unseen"] == set(table("python_errors"))
    assert sides["train"].isdisjoint(sides["unseen"])


def test_an_exercise_whose_parts_are_on_both_sides_is_on_neither() -> None:
    alone = {fact: side_of(Exercise(text="", answer="", facts=(fact,))) for fact in map(str, range(20))}
    taught = next(fact for fact, side in alone.items() if side == "train")
    asked = next(fact for fact, side in alone.items() if side == "unseen")
    assert side_of(Exercise(text="", answer="", facts=(taught, asked))) is None
    assert side_of(Exercise(text=asked, answer="")) == "unseen", "a text stands for itself"
