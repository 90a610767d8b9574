"""Symbolic tasks: last letters and coin flips as Wei et al. (2022) ask and reason, reversing and sorting."""

import random
from collections.abc import Sequence

from tasks.exercises.exercise import Exercise
from tasks.exercises.table_files import names

FEWEST, MOST = 2, 4


def last_letters(chance: random.Random) -> Exercise:
    """ "Ada Jorge" -> "ae\""""
    chosen = chance.sample(names(), chance.randint(FEWEST, MOST))
    letters = [name[-1] for name in chosen]
    steps = [f'The last letter of "{name}" is "{letter}".' for name, letter in zip(chosen, letters, strict=True)]
    answer = "".join(letters)
    return Exercise(
        text=" ".join(chosen),
        answer=answer,
        rationale=f'{" ".join(steps)} Concatenating them is "{answer}".',
    )


def coin_flip(chance: random.Random) -> Exercise:
    """Whether a coin still shows heads after some people flipped it and some did not."""
    people = chance.sample(names(), chance.randint(FEWEST, MOST))
    flips = [chance.random() < 0.5 for _ in people]
    deeds = ["flips" if flipped else "does not flip" for flipped in flips]
    acts = [f"{name} {deed} the coin." for name, deed in zip(people, deeds, strict=True)]
    return Exercise(
        text=f"A coin is heads up. {' '.join(acts)}",
        answer="no" if sum(flips) % 2 else "yes",
        rationale=_parity([name for name, flipped in zip(people, flips, strict=True) if flipped]),
        options=("yes", "no"),
    )


def _parity(flippers: Sequence[str]) -> str:
    """Which side is up after `flippers` have flipped, in the words of Wei et al."""
    count = len(flippers)
    if not flippers:
        return (
            "The coin was flipped by no one. So the coin was flipped 0 times. "
            "The coin started heads up, and it was not flipped, so it is still heads up."
        )
    parity, side = ("an odd", "tails") if count % 2 else ("an even", "heads")
    times = "1 time" if count == 1 else f"{count} times"
    still = "still be" if side == "heads" else "be"
    return (
        f"The coin was flipped by {_listed(flippers)}. So the coin was flipped {times}, which is {parity} number. "
        f"The coin started heads up, so after {parity} number of flips, it will {still} {side} up."
    )


def _listed(people: Sequence[str]) -> str:
    """Ada, Ben and Cora"""
    return " and ".join(part for part in (", ".join(people[:-1]), people[-1]) if part)
