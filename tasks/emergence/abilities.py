"""Small generated task sets: an item is a function of (ability, seed, number), and what is tested is never trained on.

Each ability has a size (digits, words, examples) and a mode: `direct` asks for the answer at once, `scratchpad` for the
steps first (Nye et al. 2021; a chain of thought is the same thing in words, Wei et al. 2022).
"""

import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Mode = Literal["direct", "scratchpad"]
LABELS = "ABCD"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
HELD_OUT_OF = 5  # one key of so many is for tests
ASKS: Mapping[Mode, str] = {"direct": "=", "scratchpad": "?"}


@dataclass(frozen=True, kw_only=True)
class Item:
    """`target` is all that must be written after the prompt; `choices` are the answers there are, where they are few."""

    prompt: str
    target: str
    choices: str = ""

    @property
    def answer(self) -> str:
        return answer_of(self.target)


def answer_of(text: str) -> str:
    """What stands after the last "=", which ends a scratchpad: "8+7" written out, "870:15 =15" -> "15"."""
    return text.rpartition("=")[2]


@dataclass(frozen=True, kw_only=True)
class Ability:
    """`digits` is its size: digits of a number, words of a list, examples of a mapping (`UNITS` says which)."""

    name: str
    digits: int
    mode: Mode = "direct"

    def __post_init__(self) -> None:
        if self.name not in DRAWS or self.digits < 1:
            raise ValueError(
                f"ability: {self.name} {self.digits} is unknown; there are {', '.join(DRAWS)}, sizes from 1"
            )
        if self.mode == "scratchpad" and self.name == "label mapping":
            raise ValueError("ability: label mapping has no steps to write out; take mode direct")

    @property
    def label(self) -> str:
        return f"{self.name}, {self.digits} {UNITS[self.name]}, {self.mode}"


def item(ability: Ability, *, seed: int, number: int, held_out: bool) -> Item:
    """Item `number` of a seed, from the operands that are held out or from the others; both modes ask the same problem."""
    drawn = random.Random(f"{seed} {number} {held_out} {ability.name} {ability.digits}")
    while True:
        key, found = DRAWS[ability.name](drawn, ability.digits, ability.mode)
        if is_held_out(key) == held_out:
            return found


def is_held_out(key: str) -> bool:
    """By what is asked, not how: both modes and both orders of an addition fall on the same side."""
    return zlib.crc32(key.encode()) % HELD_OUT_OF == 0


def distinct_items(ability: Ability, count: int, *, seed: int, held_out: bool) -> list[Item]:
    """Up to `count` items with different prompts; fewer where there are not so many (one-digit additions)."""
    found: dict[str, Item] = {}
    for number in range(20 * count):
        each = item(ability, seed=seed, number=number, held_out=held_out)
        found.setdefault(each.prompt, each)
        if len(found) == count:
            break
    return list(found.values())


def addition(drawn: random.Random, digits: int, mode: Mode) -> tuple[str, Item]:
    """Two numbers of exactly `digits` digits. Direct 57+68= -> 125; scratchpad 57+68? -> 780:15 561:12 =125

    A step of the scratchpad is a column: its two digits and the carry into it, then their sum in two digits, whose first
    is the carry out of it. It has all that its sum depends on beside it, and takes seven tokens.
    """
    least = 10 ** (digits - 1) if digits > 1 else 0
    a, b = (drawn.randrange(least, 10**digits) for _ in range(2))
    prompt = f"{a}+{b}{ASKS[mode]}"
    target = str(a + b) if mode == "direct" else f"{columns(a, b, digits)}={a + b}"
    return f"{min(a, b)}+{max(a, b)}", Item(prompt=prompt, target=target)


def columns(a: int, b: int, digits: int) -> str:
    """columns(57, 68, 2) -> "780:15 561:12 " """
    written, carry = "", 0
    for place in range(digits):
        one, other = a // 10**place % 10, b // 10**place % 10
        written += f"{one}{other}{carry}:{one + other + carry:02d} "
        carry = (one + other + carry) // 10
    return written


def last_letters(drawn: random.Random, words: int, mode: Mode) -> tuple[str, Item]:
    """Direct cat dog= -> tg; scratchpad cat dog? -> cat:t dog:g =tg (the task of Wei et al. 2022, on words of chance)."""
    chosen = ["".join(drawn.choices(LETTERS, k=drawn.randint(2, 4))) for _ in range(words)]
    answer = "".join(word[-1] for word in chosen)
    steps = "".join(f"{word}:{word[-1]} " for word in chosen)
    target = answer if mode == "direct" else f"{steps}={answer}"
    return " ".join(chosen), Item(prompt=f"{' '.join(chosen)}{ASKS[mode]}", target=target)


def label_mapping(drawn: random.Random, examples: int, mode: Mode) -> tuple[str, Item]:
    """A mapping that only the prompt tells, and a letter of it: q:B f:A k:B f: -> A"""
    del mode
    letters = drawn.sample(LETTERS, k=examples)
    labels = drawn.choices(LABELS, k=examples)
    asked = drawn.randrange(examples)
    shown = " ".join(f"{letter}:{label}" for letter, label in zip(letters, labels, strict=True))
    prompt = f"{shown} {letters[asked]}:"
    return prompt, Item(prompt=prompt, target=labels[asked], choices=LABELS)


DRAWS: Mapping[str, Callable[[random.Random, int, Mode], tuple[str, Item]]] = {
    "addition": addition,
    "last letters": last_letters,
    "label mapping": label_mapping,
}
UNITS: Mapping[str, str] = {"addition": "digits", "last letters": "words", "label mapping": "examples"}

# What one model is trained on and asked: numbers and letters are apart, so that arithmetic is learned from arithmetic only.
FAMILIES: Mapping[str, tuple[Ability, ...]] = {
    "arithmetic": tuple(
        Ability(name="addition", digits=digits, mode=mode) for mode in ASKS for digits in (1, 2, 3, 4, 5)
    ),
    "letters": (
        *(Ability(name="last letters", digits=words, mode=mode) for mode in ASKS for words in (1, 2, 3, 4)),
        *(Ability(name="label mapping", digits=examples) for examples in (2, 4, 6)),
    ),
}
