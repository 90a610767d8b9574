"""Each published rule against decisions worked out by hand, or recorded by those who published it."""

import json
import re
import time
from pathlib import Path

import pytest

from tasks.evaluation.answer_types import TYPES
from tasks.evaluation.extraction import (
    answer_is,
    careful_choice,
    extract,
    few_shot,
    gsm8k_flexible,
    gsm8k_strict,
    last_line,
    modes,
    zero_shot,
)
from tasks.evaluation.golds import golds_of, harness_normalised, is_right


@pytest.mark.parametrize(
    ("completion", "strict", "flexible"),
    [
        ("9 * 2 = 18\n#### 18", "18", "18"),
        ("#### 1,234.5\n#### 7", "1,234.5", "7"),  # the first mark, the last number
        ("#### -3", "-3", "-3"),
        ("####18", None, "18"),  # the rule wants the space
        ("He pays $18.", None, "$18."),
        ("so it is 5", None, "5"),  # one digit, by the second alternative
        ("Wait...", None, "..."),  # a quirk of the rule: an answer, and a wrong one
        ("no idea", None, None),
        ("", None, None),
    ],
)
def test_the_two_rules_of_gsm8k(completion: str, strict: str | None, flexible: str | None) -> None:
    assert gsm8k_strict(completion) == strict
    assert gsm8k_flexible(completion) == flexible


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("The answer is 18.", "18"),
        ("The answer is 1,800. The answer is 2.", "1,800."),  # the full stop goes when answers are compared
        ("The answer is 18", "1"),  # one more character is wanted, so the last digit goes
        ("The answer is 8", None),
        ("The answer is $18.", None),
        ("the answer is 18.", None),
    ],
)
def test_the_rule_of_gsm8k_with_chain_of_thought(completion: str, answer: str | None) -> None:
    assert answer_is(completion) == answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [("9 * 2 = 18\nA: 18", "18"), ("A: $90,000\n", "90,000"), ("A: 7 eggs", "7"), ("A: 7\nA: 8", "8"),
     ("so A: 18", None), ("A: 18\nand more", None), ("A: 2 of 3", None)],
)  # fmt: skip
def test_a_solution_that_ends_in_a_line_of_its_own(completion: str, answer: str | None) -> None:
    assert last_line(completion) == answer


# (answer type, completion, recorded answer); the first ten as in the logs of github.com/kojima-takeshi188/zero_shot_cot
@pytest.mark.parametrize(
    ("answer_type", "completion", "answer"),
    [
        ("number", "30%.", "30"),
        ("number", "$11.50.", "11.50"),
        ("number", "1,123", "1123"),
        ("number", "$125 - $20 - $20 - $60*0.6 = $14.", "125"),
        ("choice", " D. C joined 24 months after B joined. \n\n", "D"),
        ("choice", " (A).", "A"),
        ("yes_no", " the same for both questions. \n\nNo, Jews do not believe in any New Testament angels.", "no"),
        ("yes_no", " not known.", None),
        ("letters", ' "lenyjn."', "lenyjn"),
        ("letters", ' "n-a-e-y".', "n-a-e-y"),
        ("number", "between -3 and 5", "-3"),
        ("number", "none", None),
        ("choice", " none of them", None),
        ("choice", "Because of B", "B"),  # the capital of a word counts; here it is B too
        ("choice", "Apples, so B", "A"),  # and here it is not
        ("yes_no", "Yes, no", "yes"),
        ("yes_no", "nothing yesterday", None),  # whole words alone
        ("number", "8 - 2 = 6\nTherefore, the answer (arabic numerals) is 6.", "6"),  # a completion with the trigger
        ("choice", "B and C\nTherefore, among A through E, the answer is D", "D"),
        ("yes_no", "No. Therefore, the answer (Yes or No) is yes.", "yes"),
    ],
)
def test_zero_shot_takes_the_first(answer_type: str, completion: str, answer: str | None) -> None:
    assert zero_shot(completion, answer_type) == answer
    for mode in ("zero_shot", "zero_shot_cot"):
        assert extract(completion, answer_type, mode).answer == answer


@pytest.mark.parametrize(
    ("answer_type", "completion", "answer"),
    [
        ("number", "5 + 6 = 11. The answer is 11 of 20.", "11"),  # the first after the trigger
        ("number", "The answer is 3. No: The answer is 4.", "4"),  # after the last trigger
        ("number", "There are 5, then 1,006.", "1006"),  # without a trigger the last
        ("number", "7. The answer is unknown.", None),  # nothing after it, whatever stood before
        ("choice", "A or B. The answer is (C) or (D).", "C"),
        ("choice", "A or B", "B"),
        ("yes_no", "No. The answer is yes.", "yes"),
        ("yes_no", "yes, then no", "no"),
        ("letters", 'The answer is "k n".', "kn"),
        ("letters", "The answer is .", None),
        ("text", "It is old. The answer is Rome.\nQ:", "Rome"),
    ],
)
def test_few_shot_takes_the_first_after_the_trigger_else_the_last(
    answer_type: str, completion: str, answer: str | None
) -> None:
    assert few_shot(completion, answer_type) == answer
    for mode in ("few_shot", "few_shot_cot"):
        assert extract(completion, answer_type, mode).answer == answer


def test_the_letters_are_those_of_the_benchmark() -> None:
    assert zero_shot("F or B", "choice", "ABCDEF") == "F"
    assert zero_shot("F or B", "choice", "ABC") == "B"


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("Because the Egyptians did, (B).", "B"),
        ("(A) is too small, so the answer is (D) 12", "D"),
        ("The answer is B because of the cold.", "B"),
        ("Answer: C", "C"),
        ("(A) no, (B) yes", "B"),
        ("A bird in the hand", None),
        ("I pick C.", "C"),
        ("The answer is unclear (E)", "E"),
        ("The answer is (Z)", None),
    ],
)
def test_a_choice_is_not_the_capital_of_a_word_where_no_rule_is_named(completion: str, answer: str | None) -> None:
    assert careful_choice(completion) == answer
    found = extract(completion, "choice")
    assert (found.answer, found.rule) == (answer, "careful_choice")


def test_a_choice_of_known_shots_is_taken_as_published() -> None:
    for shots, answer, rule in ((0, "A", "zero_shot"), (5, "B", "few_shot")):
        found = extract("Apples, so B", "choice", shots=shots)
        assert (found.answer, found.rule) == (answer, rule)


@pytest.mark.parametrize(
    ("completion", "shots", "answer", "rule"),
    [
        ("1 + 1 = 2\n#### 2\n\nQuestion: Next?\nAnswer: 5\n#### 5", 5, "2", "strict"),
        ("1 + 1 = 2\nA: 2", None, "2", "last_line"),
        (" 2\n\nQ: And 3 + 4?\nA: 7", 8, "2", "few_shot"),  # the next question is not the model's answer
        ("1 + 1. The answer is 2. Or 3.", 0, "2", "few_shot"),
        ("2 of 5", 0, "2", "zero_shot"),
        ("2 of 5", None, "5", "few_shot"),
    ],
)
def test_without_a_mode_the_mark_in_the_completion_decides(
    completion: str, shots: int | None, answer: str, rule: str
) -> None:
    found = extract(completion, "number", shots=shots)
    assert (found.answer, found.rule) == (answer, rule)


@pytest.mark.parametrize(
    ("completion", "answer", "rule"),
    [
        ("    return a", "    return a", "whole"),
        ("Sure:\n```python\nx = 1\ny = 2\n```\nand\n```\nz\n```", "x = 1\ny = 2", "code_block"),
        ("```py\nx = 1", "x = 1", "code_block"),  # cut off
        (" \n", None, "whole"),
    ],
)
def test_code_in_a_fence_or_bare(completion: str, answer: str | None, rule: str) -> None:
    found = extract(completion, "code")
    assert (found.answer, found.rule) == (answer, rule)


@pytest.mark.parametrize(
    "text",
    ["answer (" * 20_000, "\n" * 80_000 + "x", "A: 1" + " " * 80_000 + "x\ny", "A" + " " * 80_000 + "x", "-" * 80_000,
     "```\n" + "\n " * 40_000, "A: " + "1" * 80_000 + "x1"],
)  # fmt: skip
def test_a_completion_that_never_stops_is_read_in_an_instant(text: str) -> None:
    began = time.monotonic()
    for answer_type in TYPES:
        for mode in modes(answer_type):
            extract(text, answer_type, mode)
    harness_normalised(10 * text)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("text", "normalised"),
    [("$1,234.", "1234"), ("so 9 * 2\n#### 18", "18"), ("A #### 1 #### 2", "2"), ("18.0", "18.0"), (" X ", "x")],
)
def test_numbers_are_compared_as_the_harness_normalises_them(text: str, normalised: str) -> None:
    assert harness_normalised(text) == normalised


@pytest.mark.parametrize(
    ("value", "answer_type", "gold"),
    [
        ("9 * 2 = 18\n#### 1,800", "number", "1800"),
        ("9 * 2 = 18\nA: 18", "number", "18"),
        (18, "number", "18"),
        (145.0, "number", "145"),
        ("$2.50", "number", "2.50"),
        ("(C)", "choice", "C"),
        ("C", "choice", "C"),
        ("blue", "choice", "B"),
        (True, "yes_no", "yes"),
        ("False", "yes_no", "no"),
        ("No.", "yes_no", "no"),
        ("f n", "letters", "fn"),
    ],
)
def test_a_gold_as_data_sets_write_it(value: object, answer_type: str, gold: str) -> None:
    assert golds_of(value, answer_type, "ABCDE", ("red", "blue")) == (gold,)


@pytest.mark.parametrize(
    ("value", "answer_type", "sentence"),
    [
        ("many", "number", "gold: 'many' is not one number; give it alone"),
        ("1 or 2", "number", "is not one number"),
        (float("nan"), "number", "no finite number"),
        (None, "number", "expected a text or a number, found NoneType"),
        (True, "choice", "expected a text or a number, found bool"),
        ("F", "choice", "'F' is none of the choices; give one of the letters A, B, C, D, E"),
        ("maybe", "yes_no", "'maybe' is neither yes nor no"),
        ([], "text", "at least one text"),
        ([1], "text", "at least one text"),
        (" ", "code", "no test in it"),
    ],
)
def test_a_gold_that_is_no_answer_is_refused(value: object, answer_type: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        golds_of(value, answer_type, "ABCDE", ())


def test_numbers_texts_and_letters_are_each_compared_in_their_own_way() -> None:
    assert is_right("$1,800.", ("1800",), "number")
    assert not is_right("18.0", ("18",), "number")  # as published: the strings decide
    assert is_right("The Beatles!", ("a song", "beatles"), "text")
    assert not is_right("FN", ("fn",), "letters")


def test_every_gold_of_gsm8k_is_a_number_and_its_calculations_are_right(test_data: Path) -> None:
    rows = [json.loads(line) for line in (test_data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 7473
    right = calculations = 0
    for row in rows:
        (gold,) = golds_of(row["answer"], "number", "", ())
        assert re.fullmatch(r"-?\d+(\.\d+)?", gold)
        assert is_right(extract(row["answer"], "number").answer or "", (gold,), "number")
        for sum_, result in re.findall(r"<<([^=<>]+)=([^<>]+)>>", row["answer"]):
            calculations += 1
            right += calculated(sum_) == pytest.approx(calculated(result), abs=0.01)
    assert calculations > 20_000
    assert right / calculations > 0.99


def calculated(text: str) -> float:
    plain = re.sub(r"\b0+(?=\d)", "", text.replace(",", "").replace("$", "").strip())
    if not re.fullmatch(r"[\d.+\-*/() ]+", plain) or "**" in plain:
        return float("nan")
    try:
        return float(eval(plain))
    except (SyntaxError, ZeroDivisionError, TypeError):
        return float("nan")
