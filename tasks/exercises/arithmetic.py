"""Sums of small numbers, additions by columns, which of some numbers is larger; the rationale is each step of it."""

import random

from tasks.exercises.exercise import Exercise

LARGEST_START, LARGEST_TERM = 20, 9
FEWEST_TERMS, MOST_TERMS = 1, 3
DIGITS = 3
FEWEST_COMPARED, MOST_COMPARED = 2, 4


def arithmetic(chance: random.Random) -> Exercise:
    """Additions and subtractions from left to right, no result below 0: "7 + 5 - 3" -> "9".

    The rationale goes one step at a time: "7 + 5 = 12, 12 - 3 = 9."
    """
    total = chance.randint(1, LARGEST_START)
    text, steps = str(total), []
    for _ in range(chance.randint(FEWEST_TERMS, MOST_TERMS)):
        before, sign, term = text, *_next_term(total, chance)
        result = total + term if sign == "+" else total - term
        steps.append(f"{total} {sign} {term} = {result}")
        text, total = f"{text} {sign} {term}", result
    slots = {"before": before, "sign": sign, "last": str(term)}
    return Exercise(text=text, answer=str(total), slots=slots, rationale=", ".join(steps) + ".")


def _next_term(total: int, chance: random.Random) -> tuple[str, int]:
    """A sign and a term that may follow `total`: as often "+" as "-", save where nothing can be taken away."""
    if total == 0 or chance.random() < 0.5:
        return "+", chance.randint(1, LARGEST_TERM)
    return "-", chance.randint(1, min(LARGEST_TERM, total))


def column_addition(chance: random.Random) -> Exercise:
    """Two numbers of three digits: "347 + 285" -> "632"; the rationale goes column by column with what is carried over.

    "7 + 5 = 12, 4 + 8 + 1 = 13, 3 + 2 + 1 = 6."
    """
    one, other = (chance.randrange(10 ** (DIGITS - 1), 10**DIGITS) for _ in range(2))
    steps, carried = [], 0
    for place in range(DIGITS):
        digits = [number // 10**place % 10 for number in (one, other)]
        total = sum(digits) + carried
        steps.append(" + ".join(map(str, digits if place == 0 else [*digits, carried])) + f" = {total}")
        carried = total // 10
    return Exercise(
        text=f"{one} + {other}",
        answer=str(one + other),
        rationale=", ".join(steps) + ".",
    )


def compare_numbers(chance: random.Random) -> Exercise:
    """The largest or the smallest of some numbers of one to three figures: "34, 43, 7", largest -> "43"."""
    count = chance.randint(FEWEST_COMPARED, MOST_COMPARED)
    numbers: list[int] = []
    while len(numbers) < count:
        number = chance.randrange(1, 10 ** chance.randint(1, 3))
        if number not in numbers:
            numbers.append(number)
    wanted = chance.choice(("largest", "smallest"))
    answer = max(numbers) if wanted == "largest" else min(numbers)
    ordered = sorted(numbers, reverse=wanted == "smallest")
    sign = " < " if wanted == "largest" else " > "
    return Exercise(
        text=", ".join(map(str, numbers)),
        answer=str(answer),
        slots={"wanted": wanted},
        rationale=f"{sign.join(map(str, ordered))}, so the {wanted} is {answer}.",
        options=tuple(map(str, numbers)),
    )
