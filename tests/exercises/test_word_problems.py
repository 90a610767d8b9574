"""Every plot against a formula written anew for it: the numbers in the order of the text give the answer."""

import random
import re
from collections import Counter

import pytest

from tasks.exercises import word_problems
from tasks.exercises.table_files import table
from tasks.exercises.word_problems import word_problem

# What the text says, and the answer from the numbers n in it.
WORKED = {
    r"brings \d+ more": lambda n: n[0] + n[1],
    r"did they find together": lambda n: n[0] + n[1],
    r"took \d+ of them away": lambda n: n[0] - n[1],
    r"already has": lambda n: n[0] - n[1],
    r"years older": lambda n: n[0] + n[1],
    r"filled \d+ of them": lambda n: n[0] * n[1],
    r"trees in every row": lambda n: n[0] * n[1],
    r"children share": lambda n: n[1] / n[0],
    r"into heaps of": lambda n: n[0] / n[1],
    r"km every day": lambda n: n[0] * n[1],
    r"then bought": lambda n: n[0] - n[1] + n[2],
    r"A bus": lambda n: n[0] + n[1] - n[2],
    r"of them away\. How many \w+ remain": lambda n: n[0] * n[1] - n[2],
    r"A ticket": lambda n: n[0] * n[1] + n[2],
    r"evenly into": lambda n: (n[0] + n[1]) / n[2],
    r"laid the others": lambda n: (n[0] - n[1]) / n[2],
    r"times as many": lambda n: n[0] * (n[1] + 1),
    r"pages a day": lambda n: n[0] - n[1] * n[2],
    r"dollars an hour": lambda n: n[0] * n[1] - n[2],
    r"whole price": lambda n: n[0] * n[1] + n[2] * n[3],
    r"shelves hold": lambda n: n[0] * n[1] - n[2] + n[3],
    r"shared the rest": lambda n: (n[0] + n[1] - n[2]) / n[3],
    r"broken": lambda n: (n[0] - n[1]) * n[2] + n[3],
    r"on both days": lambda n: 2 * (n[0] + n[0] - n[1]),
}


def test_every_plot_gives_the_answer_of_its_formula() -> None:
    chance, seen = random.Random(3), Counter[str]()
    for _ in range(2000):
        item = word_problem(chance)
        (worked,) = [pattern for pattern in WORKED if re.search(pattern, item.text)][-1:]
        seen[worked] += 1
        assert WORKED[worked]([int(number) for number in re.findall(r"\d+", item.text)]) == int(item.answer), item
        assert item.text == f"{item.slots['story']} {item.slots['question']}"
    assert seen.keys() == WORKED.keys()
    assert len(WORKED) == len(table("word_problems")["plots"])


def test_all_four_operations_and_one_to_three_steps_occur() -> None:
    chance = random.Random(4)
    rationales = [word_problem(chance).rationale for _ in range(500)]
    assert {sign for text in rationales for sign in re.findall(r"\d ([-+*/]) \d", text)} == set("+-*/")
    assert {text.count("=") for text in rationales} == {1, 2, 3}


def test_a_plot_whose_numbers_never_fit_is_named() -> None:
    plot = {"story": "{a} of {b}", "small": ["a", "b"], "steps": [["c = a - b", ""], ["d = c - a", ""]]}
    with pytest.raises(ValueError, match=r"word_problems.yaml: '\{a\} of \{b\}' has no whole numbers that fit"):
        word_problems._numbers(plot, random.Random(1))
