"""Every maker: right by another calculation, seeded, of many different items, with balanced answers."""

import random
import re
from collections import Counter
from collections.abc import Callable

import pytest

from tasks.exercises.arithmetic import column_addition
from tasks.exercises.exercise import Exercise
from tasks.exercises.makers import MAKERS
from tasks.exercises.symbolic import _parity

MANY = 1000
FEWEST_DIFFERENT = 450


def made(name: str, count: int = MANY, seed: int = 7) -> list[Exercise]:
    chance = random.Random(seed)
    return [MAKERS[name](chance) for _ in range(count)]


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


@pytest.mark.parametrize("name", MAKERS)
def test_the_seed_alone_decides_and_items_differ(name: str) -> None:
    items = made(name)
    assert items == made(name)
    assert items != made(name, seed=8)
    assert len({(item.text, *sorted(item.slots.items())) for item in items}) >= FEWEST_DIFFERENT


@pytest.mark.parametrize("name", MAKERS)
def test_an_answer_is_one_of_its_options_and_no_question_is_long(name: str) -> None:
    for item in made(name):
        assert item.text.strip()
        assert item.answer.strip()
        assert not item.options or item.options.count(item.answer) == 1
        assert len(item.text.encode()) <= 170


@pytest.mark.parametrize("name", ["coin_flip", "commonsense_choice", "commonsense_yes_no", "language"])
def test_closed_answers_are_given_out_evenly(name: str) -> None:
    items = made(name, 3000)
    (options,) = {item.options for item in items}
    counts = Counter(item.answer for item in items)
    share = 1 / len(options)
    tolerance = 4 * (share * (1 - share) / len(items)) ** 0.5
    assert counts.keys() == set(options)
    assert all(abs(count / len(items) - share) < tolerance for count in counts.values()), counts


@pytest.mark.parametrize("choices", [2, 3])
def test_the_right_choice_stands_at_every_place(choices: int) -> None:
    items = [item for item in made("commonsense", 3000) if len(item.options) == choices]
    places = Counter(item.options.index(item.answer) for item in items)
    assert min(places.values()) > 0.85 * len(items) / choices
    assert len(places) == choices


# Each answer anew from what the item says, by another way than the maker's.
ANEW: dict[str, Callable[[Exercise], str]] = {
    "arithmetic": lambda item: str(eval(item.text)),
    "compare_numbers": lambda item: str(
        sorted(numbers(item.text))[{"smallest": 0, "largest": -1}[item.slots["wanted"]]]
    ),
    "last_letters": lambda item: re.sub(r"\w*(\w)\b\s*", r"\1", item.text),
    "coin_flip": lambda item: "yes" if len(re.findall(r"\w+ flips the coin", item.text)) in (0, 2, 4) else "no",
    "reverse": lambda item: "".join(item.text[place] for place in range(len(item.text) - 1, -1, -1)),
    "reverse_list": lambda item: re.sub(r"^(\w+), (\w+)(?:, (\w+))?(?:, (\w+))?$", _turned, item.text),
    "sort_words": lambda item: ", ".join(sorted(item.text.split(", "))),
    "remove_word": lambda item: re.sub(rf"^{item.slots['word']} | {item.slots['word']}\b", "", item.text),
    "replace_word": lambda item: re.sub(rf"\b{item.slots['old']}\b", item.slots["new"], item.text),
    "replace_letter": lambda item: item.text.translate(str.maketrans(item.slots["old"], item.slots["new"])),
    "join": lambda item: item.text.replace(", ", item.slots["sign"]),
}


def _turned(found: re.Match[str]) -> str:
    return ", ".join(word for word in found.groups()[::-1] if word)


@pytest.mark.parametrize("name", ANEW)
def test_the_answer_is_what_another_calculation_gives(name: str) -> None:
    for item in made(name):
        assert ANEW[name](item) == item.answer, item


@pytest.mark.parametrize(
    "name",
    [
        "arithmetic", "compare_numbers", "last_letters", "reverse", "reverse_list", "sort_words",
        "replace_letter", "commonsense_choice",
    ],
)  # fmt: skip
def test_a_rationale_ends_in_the_answer(name: str) -> None:
    for item in made(name):
        assert re.search(rf"(?<!\w){re.escape(item.answer)}[\".]*$", item.rationale), item


@pytest.mark.parametrize("name", ["arithmetic", "word_problems"])
def test_every_step_of_a_calculation_is_true_and_the_last_gives_the_answer(name: str) -> None:
    for item in made(name):
        steps = re.findall(r"(\d+ [-+*/] \d+) = (\d+)", item.rationale)
        assert item.rationale.count("=") == len(steps) >= 1
        assert all(eval(step) == int(result) for step, result in steps), item
        assert int(steps[-1][1]) == numbers(item.rationale)[-1] == int(item.answer)


def test_an_addition_is_written_column_by_column_with_what_is_carried() -> None:
    items = [column_addition(random.Random(seed)) for seed in range(200)]
    assert len({item.text for item in items}) > 150
    for item in items:
        one, other = numbers(item.text)
        columns = [step.split(" = ") for step in item.rationale.removesuffix(".").split(", ")]
        assert all(100 <= number <= 999 for number in (one, other))
        assert [terms.split(" + ")[:2] for terms, _ in columns] == [
            list(pair) for pair in zip(str(one)[::-1], str(other)[::-1], strict=True)
        ]
        assert all(sum(numbers(terms)) == int(total) for terms, total in columns)
        carried = [int(total) // 10 for _, total in columns]
        assert [numbers(terms)[2:] for terms, _ in columns] == [[], [carried[0]], [carried[1]]]
        assert int(item.answer) == one + other == 100 * int(columns[2][1]) + numbers_below(columns)


def numbers_below(columns: list[list[str]]) -> int:
    """What the last digits of the first two columns give."""
    return 10 * (int(columns[1][1]) % 10) + int(columns[0][1]) % 10


def test_a_coin_ends_as_its_rationale_says() -> None:
    for item in made("coin_flip"):
        flippers = re.findall(r"(\w+) flips the coin", item.text)
        assert all(name in item.rationale for name in flippers)
        assert f"flipped {len(flippers)} time" in item.rationale
        assert ("tails up." in item.rationale) == (item.answer == "no")


def test_the_rationale_of_wei_et_al_is_kept_word_for_word() -> None:
    """Table 23 of Wei et al. (2022), with names of ours."""
    assert _parity(["Ka", "Sherrie"]) == (
        "The coin was flipped by Ka and Sherrie. So the coin was flipped 2 times, which is an even number. "
        "The coin started heads up, so after an even number of flips, it will still be heads up."
    )


def test_no_total_of_a_sum_is_below_nought_and_its_slots_make_it_up() -> None:
    for item in made("arithmetic"):
        before, sign, last = item.slots["before"], item.slots["sign"], item.slots["last"]
        assert f"{before} {sign} {last}" == item.text
        assert min(int(total) for total in re.findall(r"= (\d+)", item.rationale)) >= 0
