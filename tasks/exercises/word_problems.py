"""Arithmetic word problems of one to three steps with whole numbers; the rationale reads like those of GSM8K."""

import operator
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasks.exercises.exercise import Exercise
from tasks.exercises.table_files import names, table

SMALL, LARGE = (2, 9), (2, 40)
SMALLEST_RESULT = 2  # "1 apples" is no English
MOST_DRAWS = 10_000
_OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
}

Step = Sequence[str]
"""[formula, sentence]: ["c = a + b", "Ada now has {c} apples."]"""


def word_problem(chance: random.Random) -> Exercise:
    """ "Ada has 3 pens. Ben brings 4 more. How many pens does Ada have now?" -> "7" """
    plots = table("word_problems")
    plot = chance.choice(plots["plots"])
    numbers = _numbers(plot, chance)
    name, other = chance.sample(names(), 2)
    drawn = {slot: chance.choice(plots[many]) for slot, many in _DRAWN.items()}
    words = {"name": name, "other": other, **drawn, **{letter: str(number) for letter, number in numbers.items()}}
    story, question = (plot[part].format_map(words) for part in ("story", "question"))
    last = _result_name(plot["steps"][-1])
    return Exercise(
        text=f"{story} {question}",
        answer=str(numbers[last]),
        slots={"story": story, "question": question},
        rationale=" ".join(_explained(step, words) for step in plot["steps"]),
    )


_DRAWN = {"things": "things", "box": "boxes", "place": "places", "job": "jobs"}


def _numbers(plot: Mapping[str, Any], chance: random.Random) -> dict[str, int]:
    """The numbers of the story and of every step, by their letters."""
    for _ in range(MOST_DRAWS):
        numbers = {letter: chance.randint(*SMALL) for letter in plot.get("small", ())}
        numbers |= {letter: chance.randint(*LARGE) for letter in plot.get("large", ())}
        if all(_calculated(step, numbers) for step in plot["steps"]):
            return numbers
    raise ValueError(f"word_problems.yaml: {plot['story']!r} has no whole numbers that fit; widen its ranges")


def _calculated(step: Step, numbers: dict[str, int]) -> bool:
    """Put the result of `step` into `numbers`; False where it is no whole number or too small."""
    first, sign, second = _calculation(step)
    if sign == "/" and numbers[first] % numbers[second]:
        return False
    numbers[_result_name(step)] = _OPERATIONS[sign](numbers[first], numbers[second])
    return numbers[_result_name(step)] >= SMALLEST_RESULT


def _explained(step: Step, words: Mapping[str, str]) -> str:
    """The sentence of `step` with the calculation in place of its result: "Ada now has 3 + 4 = 7 pens." """
    first, sign, second = _calculation(step)
    result = _result_name(step)
    shown = f"{words[first]} {sign} {words[second]} = {words[result]}"
    return step[1].format_map({**words, result: shown})


def _result_name(step: Step) -> str:
    return step[0].split()[0]


def _calculation(step: Step) -> tuple[str, str, str]:
    """ "c = a + b" -> ("a", "+", "b")"""
    first, sign, second = step[0].split()[2:]
    return first, sign, second
