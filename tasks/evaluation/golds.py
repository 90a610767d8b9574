"""The right answers as a data set writes them, in the form in which an extracted answer is compared with them."""

import math
import re
from collections.abc import Sequence
from typing import Any

from tasks.evaluation.extraction import CODE, gsm8k_strict, joined_letters, last_line, numbers, yes_or_no
from tasks.evaluation.overlap import squad_words

_IGNORED = re.compile(r"[,$]")


def harness_normalised(text: str) -> str:
    """What exact_match of gsm8k.yaml compares: "$1,234." -> "1234". 18 and 18.0 stay two answers."""
    # what its pattern ".*#### " takes out, which itself takes the square of a long text's length
    found = _IGNORED.sub("", text.lower()).rpartition("#### ")[2]
    return re.sub(r"\.$", "", found).strip()


def number_gold(text: str) -> str:
    """'9 * 2 = 18\\n#### 1,800' -> '1800', '$145.0' -> '145'."""
    found = numbers(gsm8k_strict(text) or last_line(text) or text)
    if len(found) != 1:
        raise ValueError(f"gold: {text[:60]!r} is not one number; give it alone, or a solution that ends in #### N")
    return found[0].removesuffix(".").removesuffix(".0")


def choice_gold(text: str, letters: str, choices: Sequence[str]) -> str:
    """'(B)', 'B', or the text of the second choice -> 'B'."""
    if text in choices:
        if list(choices).count(text) > 1:
            raise ValueError(f"gold: {text[:60]!r} is more than one of the choices; give the letter that is meant")
        return letters[list(choices).index(text)]
    found = re.fullmatch(r"\(?([A-Z])\)?\.?", text.strip())
    if found is None or found[1] not in letters:
        raise ValueError(f"gold: {text[:60]!r} is none of the choices; give one of the letters {', '.join(letters)}")
    return found[1]


def yes_no_gold(value: Any) -> str:
    """True, "true" and "Yes." -> "yes"."""
    found = yes_or_no({"true": "yes", "false": "no"}.get(str(value).lower(), str(value)))
    if len(found) != 1:
        raise ValueError(f"gold: {str(value)[:60]!r} is neither yes nor no; give yes, no, true or false")
    return found[0]


def golds_of(value: Any, answer_type: str, letters: str, choices: Sequence[str]) -> tuple[str, ...]:
    """One right answer, or several for texts. ValueError when it is no answer of that type."""
    if answer_type == "yes_no":
        return (yes_no_gold(value),)
    if answer_type in ("text", "summary") and isinstance(value, list):
        if not value or not all(isinstance(each, str) for each in value):
            raise ValueError("gold: expected a text or a list of at least one text")
        return tuple(value)
    text = _as_text(value)
    if answer_type == "number":
        return (number_gold(text),)
    if answer_type == "choice":
        return (choice_gold(text, letters, choices),)
    if answer_type == CODE and not text.strip():
        raise ValueError("gold: there is no test in it; give assertions that end a program which is right")
    return (joined_letters(text)[0] if answer_type == "letters" else text,)


def _as_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"gold: expected a text or a number, found {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"gold: {value} is no finite number")
    return str(value)


def comparable(answer: str, answer_type: str) -> str:
    """What two equal answers have in common: numbers as the harness normalises them, texts as SQuAD does."""
    if answer_type == "number":
        return harness_normalised(answer)
    return " ".join(squad_words(answer)) if answer_type in ("text", "summary") else answer


def is_right(answer: str, golds: Sequence[str], answer_type: str) -> bool:
    return comparable(answer, answer_type) in {comparable(gold, answer_type) for gold in golds}
