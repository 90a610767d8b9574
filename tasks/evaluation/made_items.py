"""Items and examples of a benchmark whose exercises are made here: reproducible, and never in both."""

import itertools
import random
from collections.abc import Sequence

from tasks.evaluation.benchmark import Benchmark, Item
from tasks.evaluation.golds import golds_of
from tasks.exercises.exercise import Exercise
from tasks.exercises.makers import MAKERS

TRIES = 50  # draws in a row for each known item: a maker that then brings none has said everything it knows


def made_items(
    benchmark: Benchmark, count: int, seed: int, *, part: str = "test", without: Sequence[Item] = ()
) -> list[Item]:
    """Up to `count` different items, none of them among `without`; the first stay as more are asked for."""
    taken = {item.question for item in without}
    found: dict[object, Item] = {}
    last = 0  # the number of the draw that brought the last item
    for number in itertools.count():
        if len(found) == count or number - last > TRIES * (len(found) + len(taken) + 1):
            break
        # a seed of its own for every draw: another count or another benchmark changes no other item
        id = f"{benchmark.name}/{part}/{seed}/{number}"
        item = _item(benchmark, MAKERS[benchmark.origin](random.Random(id)), id)
        if item.question not in taken and item.question not in found:
            found[item.question] = item
            last = number
    return list(found.values())


def _item(benchmark: Benchmark, exercise: Exercise, id: str) -> Item:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(exercise.options)]
    golds = golds_of(exercise.answer, benchmark.answer_type, letters, exercise.options)
    shown = f"({golds[0]})" if benchmark.answer_type == "choice" else exercise.answer
    return Item(
        id=id, place=id, slots={"text": exercise.text, **exercise.slots}, shown=shown, golds=golds,
        options=exercise.options, rationale=exercise.rationale,
        right=(exercise.options.index(exercise.answer),) if exercise.answer in exercise.options else (),
    )  # fmt: skip
