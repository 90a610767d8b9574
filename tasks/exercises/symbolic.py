"""Symbolic tasks: last letters and coin flips as Wei et al. (2022) ask and reason, reversing and sorting."""

import random
from collections.abc import Sequence

from tasks.exercises.exercise import Exercise
from tasks.exercises.invented_words import invented_word
from tasks.exercises.table_files import names, words

FEWEST, MOST = 2, 4


def last_letters(chance: random.Random) -> Exercise:
    """Ada Jorge -> ae"""
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


def reverse(chance: random.Random) -> Exercise:
    """water -> retaw; half of the words do not exist. The rationale spells the word first."""
    word = chance.choice(words()) if chance.random() < 0.5 else invented_word(chance)
    answer = word[::-1]
    spelled = f"Spelled out it is {'-'.join(word)}, from the end {'-'.join(answer)}."
    return Exercise(text=word, answer=answer, rationale=f"{spelled} Together: {answer}")


def reverse_list(chance: random.Random) -> Exercise:
    """moon, key, apple -> apple, key, moon"""
    chosen = chance.sample(words(), chance.randint(FEWEST, MOST))
    answer = ", ".join(reversed(chosen))
    last = f"The last is {chosen[-1]} and the first is {chosen[0]}."
    return Exercise(text=", ".join(chosen), answer=answer, rationale=f"{last} From last to first: {answer}")


def sort_words(chance: random.Random) -> Exercise:
    """moon, key, apple -> apple, key, moon; no two begin with the same letter, so the first letters decide."""
    of_letter = {word[0]: word for word in chance.sample(words(), len(words()))}
    chosen = chance.sample(sorted(of_letter.values()), chance.randint(FEWEST, MOST))
    answer = ", ".join(sorted(chosen))
    letters = ", ".join(f"{word} {word[0]}" for word in chosen)
    ordered = ", ".join(sorted(word[0] for word in chosen))
    rationale = f"First letters: {letters}. In the alphabet: {ordered}. So: {answer}"
    return Exercise(text=", ".join(chosen), answer=answer, rationale=rationale)
