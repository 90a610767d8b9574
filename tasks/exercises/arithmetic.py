"""Sums of small numbers, and which of some numbers is larger; the rationale is the calculation step by step."""

import random

from tasks.exercises.exercise import Exercise

LARGEST_START, LARGEST_TERM = 20, 9
FEWEST_TERMS, MOST_TERMS = 1, 3


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
