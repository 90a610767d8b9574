"""Prompts against golden files written by hand, and what is asked of a model that talks."""

from pathlib import Path

import pytest

from tasks.evaluation.benchmark import Item, benchmarks, fixed_examples
from tasks.evaluation.prompts import choices_of, filled, prompt_of

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "prompts"
TEMPLATE = "What is {text}?"


def item(text: str, shown: str, rationale: str = "", **more: object) -> Item:
    return Item(id=text, place=text, slots={"text": text}, shown=shown, golds=(shown,), rationale=rationale, **more)  # type: ignore[arg-type]


ASKED = item("8 - 6", "2")
EXAMPLES = (item("2 + 3", "5", "2 + 3 = 5."), item("{x} + 4", "9", "{x} is 5, 5 + 4 = 9."))
SKY = item("Which colour has the sky?", "(B)", options=("red", "blue"), right=(1,))
GRASS = item("Which colour has grass?", "(A)", options=("green", "grey"), right=(0,))


@pytest.mark.parametrize("cot", [False, True], ids=["direct", "cot"])
@pytest.mark.parametrize(("name", "shots"), [("zero", 0), ("one", 1), ("few", 2)])
def test_prompts_are_those_of_the_golden_files_to_the_byte(name: str, shots: int, cot: bool) -> None:
    prompt = prompt_of(ASKED, EXAMPLES[:shots], TEMPLATE, "number", cot=cot)
    golden = (GOLDEN / f"{name}_{'cot' if cot else 'direct'}.txt").read_bytes()
    assert prompt.text.encode() == golden


def test_the_prompt_of_wei_2022_is_kept_word_for_word() -> None:
    gsm8k = benchmarks()["gsm8k"]
    prompt = prompt_of(item("How many?", "1"), fixed_examples(gsm8k), gsm8k.templates[0], "number", cot=True)
    assert prompt.text.encode() == (GOLDEN / "wei_2022_maths_8_shot_cot.txt").read_bytes()


@pytest.mark.parametrize(
    ("answer_type", "closing"),
    [
        ("number", "\nTherefore, the answer (arabic numerals) is"),
        ("yes_no", "\nTherefore, the answer (Yes or No) is"),
        ("choice", "\nTherefore, among A through B, the answer is"),
        ("letters", "\nTherefore, the answer is"),
    ],
)
def test_without_examples_the_answer_is_asked_for_after_the_rationale(answer_type: str, closing: str) -> None:
    """Kojima et al. 2022, table 9."""
    assert prompt_of(SKY, (), "{text}", answer_type, cot=True).closing == closing
    assert prompt_of(SKY, EXAMPLES, "{text}", answer_type, cot=True).closing == ""


def test_a_model_that_talks_is_given_turns_and_no_beginning_of_an_answer() -> None:
    assert prompt_of(ASKED, EXAMPLES[:1], TEMPLATE, "number", cot=True).turns == [
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "content": "2 + 3 = 5. The answer is 5."},
        {"role": "user", "content": "What is 8 - 6?"},
    ]
    thinking = prompt_of(ASKED, (), TEMPLATE, "number", cot=True).turns
    assert thinking == [{"role": "user", "content": "What is 8 - 6?\nLet's think step by step."}]
    assert prompt_of(ASKED, (), TEMPLATE, "number", cot=False).turns == [{"role": "user", "content": "What is 8 - 6?"}]


def test_options_are_listed_with_their_letters() -> None:
    assert filled("{text} {options}", SKY) == "Which colour has the sky? Answer Choices: (A) red (B) blue"


def test_texts_of_options_are_scored_unlisted_and_letters_after_a_list() -> None:
    bare = "Q: Which colour has grass?\nA: green\n\nQ: Which colour has the sky?\nA:"
    prompt, options = choices_of(SKY, (GRASS,), "{text} {options}", "texts")
    assert (prompt.text, options) == (bare, ("red", "blue"))
    listed = "Q: Which colour has the sky? Answer Choices: (A) red (B) blue\nA:"
    prompt, options = choices_of(SKY, (), "{text} {options}", "letters")
    assert (prompt.text, options) == (listed, ("(A)", "(B)"))
