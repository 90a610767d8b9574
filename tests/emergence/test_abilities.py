"""The generated items: worked by hand, the same every time, and none that is tested among those that are trained on."""

import random
import re
from dataclasses import replace

import pytest

from tasks.emergence.abilities import (
    FAMILIES,
    Ability,
    addition,
    answer_of,
    columns,
    distinct_items,
    is_held_out,
    item,
    label_mapping,
    last_letters,
)
from tasks.emergence.vocabulary import CHARACTERS, END_ID, PAD_ID, VOCABULARY, decode, encode

EVERY = [ability for family in FAMILIES.values() for ability in family]


def named(ability: Ability) -> str:
    return ability.label


def test_columns_by_hand() -> None:
    assert columns(57, 68, 2) == "780:15 561:12 "
    assert columns(999, 1, 3) == "910:10 901:10 901:10 "
    assert columns(5, 4, 1) == "540:09 "


@pytest.mark.parametrize("ability", EVERY, ids=named)
def test_every_answer_is_right(ability: Ability) -> None:
    """Solved again from the prompt alone."""
    for number in range(50):
        each = item(ability, seed=3, number=number, held_out=False)
        asked = each.prompt[:-1]
        if ability.name == "addition":
            a, b = asked.split("+")
            assert len(a) == len(b) == ability.digits
            assert int(each.answer) == int(a) + int(b)
        elif ability.name == "last letters":
            assert each.answer == "".join(word[-1] for word in asked.split())
            assert len(asked.split()) == ability.digits
        else:
            *shown, letter = asked.split()
            assert each.answer == dict(pair.split(":") for pair in shown)[letter]
            assert each.answer in each.choices


@pytest.mark.parametrize("digits", [1, 3, 5])
def test_each_step_of_the_scratchpad_follows_from_what_stands_before_it(digits: int) -> None:
    for number in range(50):
        each = item(Ability(name="addition", digits=digits, mode="scratchpad"), seed=0, number=number, held_out=True)
        steps = re.findall(r"(\d)(\d)(\d):(\d\d)", each.target)
        assert len(steps) == digits
        carries = ["0", *(written[0] for *_, written in steps)]
        assert [carry for _, _, carry, _ in steps] == carries[:-1]
        assert all(int(a) + int(b) + int(c) == int(written) for a, b, c, written in steps)
        written = carries[-1] + "".join(written[1] for *_, written in reversed(steps))
        assert int(written) == int(each.answer)


def test_an_item_is_a_function_of_seed_and_number() -> None:
    ability = Ability(name="addition", digits=4)
    first = [item(ability, seed=1, number=number, held_out=False) for number in range(20)]
    assert first == [item(ability, seed=1, number=number, held_out=False) for number in range(20)]
    assert first != [item(ability, seed=2, number=number, held_out=False) for number in range(20)]
    assert len({each.prompt for each in first}) == 20


@pytest.mark.parametrize("ability", EVERY, ids=named)
def test_what_is_tested_is_never_trained_on(ability: Ability) -> None:
    def keys(held_out: bool) -> set[str]:
        items = distinct_items(ability, 150, seed=0, held_out=held_out)
        asked = [each.prompt[:-1] for each in items]
        return {"+".join(sorted(each.split("+"))) for each in asked} if ability.name == "addition" else set(asked)

    tested, trained = keys(True), keys(False)
    assert tested
    assert not tested & trained


def test_both_modes_ask_the_same_problems() -> None:
    direct = Ability(name="addition", digits=3)
    written = replace(direct, mode="scratchpad")
    pairs = zip(
        distinct_items(direct, 50, seed=0, held_out=True), distinct_items(written, 50, seed=0, held_out=True),
        strict=True,
    )  # fmt: skip
    assert all(one.prompt[:-1] == other.prompt[:-1] and one.answer == other.answer for one, other in pairs)


def test_one_digit_has_few_problems_and_all_of_them_are_found() -> None:
    held_out = {
        f"{a}+{b}=" for a in range(10) for b in range(10) if is_held_out(f"{min(a, b)}+{max(a, b)}")
    }  # fmt: skip
    found = distinct_items(Ability(name="addition", digits=1), 200, seed=0, held_out=True)
    assert {each.prompt for each in found} == held_out
    assert 10 <= len(found) <= 30


def test_the_three_formats() -> None:
    drawn = random.Random(0)
    assert re.fullmatch(r"\d\d\+\d\d\?", addition(drawn, 2, "scratchpad")[1].prompt)
    words = last_letters(drawn, 2, "scratchpad")[1]
    assert re.fullmatch(r"[a-z]+:[a-z] [a-z]+:[a-z] =[a-z]{2}", words.target)
    assert re.fullmatch(r"([a-z]:[A-D] ){3}[a-z]:", label_mapping(drawn, 3, "direct")[1].prompt)
    assert (answer_of("780:15 561:12 =125"), answer_of("125"), answer_of("")) == ("125", "125", "")


def test_text_becomes_ids_and_text_again() -> None:
    assert decode(encode(CHARACTERS)) == CHARACTERS
    assert len(set(encode(CHARACTERS)) | {END_ID, PAD_ID}) == VOCABULARY
    assert decode([*encode("12"), END_ID, *encode("3")]) == "12"
    assert decode([PAD_ID, *encode("7")]) == "7"
    with pytest.raises(ValueError, match="is not one of"):
        encode("1-2")


def test_unknown_abilities_are_refused() -> None:
    with pytest.raises(ValueError, match="is unknown"):
        Ability(name="division", digits=1)
    with pytest.raises(ValueError, match="no steps"):
        Ability(name="label mapping", digits=2, mode="scratchpad")
