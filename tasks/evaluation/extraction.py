"""An answer taken out of a completion by a published rule, or None where the rule finds none.

The rules are those of lm-evaluation-harness (gsm8k.yaml version 3, gsm8k-cot.yaml) and of "Large Language Models are
Zero-Shot Reasoners" (Kojima et al. 2022, answer_cleansing), quirks included: a recorded decision is to come out again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

HASHES = re.compile(r"#### (\-?[0-9\.\,]+)")
LAST_NUMBER = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
ANSWER_IS = re.compile(r"The answer is (\-?[0-9\.\,]+).")
LAST_LINE = re.compile(r"^A: ?\$?(-?[0-9.,]*[0-9])[^\d\n]*+\s*+\Z", re.MULTILINE)
NUMBER = re.compile(r"-?\d+\.?\d*")
CAREFUL_LETTER = re.compile(r"\(([A-Z])\)|(?<![\w'(])([A-Z])(?=[).:,]|\s*$)")
NEXT_LETTER = re.compile(r"[\s:]*\(?([A-Z])\b")
FEW_SHOT_TRIGGER = "The answer is"
ZERO_SHOT_TRIGGER = re.compile(
    r"the answer \((?:arabic numerals|yes or no)\) is|among A through [A-Z], the answer is", re.I
)
ANSWER_TRIGGER = re.compile(r"\banswer(?: \([^)\n]{0,40}\))?(?: is|:)", re.IGNORECASE)
CODE_BLOCK = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
NEXT_QUESTION = re.compile(r"\n[ \t]*(?:Question|Q):")

LETTERS = "ABCDE"
AUTOMATIC = "auto"
CODE = "code"


@dataclass(frozen=True, kw_only=True)
class Found:
    """`answer` is None where `rule` found none: unparsed, which is not the same as wrong."""

    answer: str | None
    rule: str


def gsm8k_strict(completion: str) -> str | None:
    """'so 9 * 2 = 18\\n#### 18' -> '18': the first number after ####."""
    found = HASHES.search(completion)
    return found[1] if found else None


def gsm8k_flexible(completion: str) -> str | None:
    """'He pays $18.' -> '$18.': the last that looks like a number."""
    found = LAST_NUMBER.findall(completion)
    return (found[-1][0] or found[-1][1]) if found else None


def answer_is(completion: str) -> str | None:
    """'The answer is 18.' -> '18'. The rule wants one more character, so '18' without a full stop is read as '1'."""
    found = ANSWER_IS.search(completion)
    return found[1] if found else None


def last_line(completion: str) -> str | None:
    """'9 * 2 = 18\\nA: 18' -> '18': how OpenAI's recorded solutions of GSM8K end."""
    found = LAST_LINE.search(completion)
    return found[1] if found else None


def numbers(text: str) -> list[str]:
    return NUMBER.findall(text.replace(",", ""))


def any_letters(text: str, letters: str = LETTERS) -> list[str]:
    """Every capital that may be a choice, inside words too, as Kojima et al. did: 'Apple' -> ['A']."""
    return [character for character in text if character in letters]


def careful_letters(text: str, letters: str = LETTERS) -> list[str]:
    """Choices that are meant as such, in brackets before bare ones: 'Apple trees, so (B)' -> ['B']."""
    found = [(bracketed, bare) for bracketed, bare in CAREFUL_LETTER.findall(text) if (bracketed or bare) in letters]
    return [bracketed for bracketed, _ in found if bracketed] or [bare for _, bare in found]


def yes_or_no(text: str) -> list[str]:
    return [word for word in re.sub(r"[\"'.:,\s]", " ", text.lower()).split(" ") if word in ("yes", "no")]


def joined_letters(text: str) -> list[str]:
    """' "f n e l".' -> ['fnel']"""
    return [re.sub(r"[\"'.\s]", "", text)]


def code(completion: str) -> Found:
    """The first fenced block, or all of it; the indentation of a body that goes on from a prompt stays."""
    block = CODE_BLOCK.search(completion)
    text, rule = (block[1], "code_block") if block else (completion, "whole")
    return Found(answer=text if text.strip() else None, rule=rule)


def first_line(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()][:1]


Candidates = Callable[[str, str], list[str]]
CANDIDATES: Mapping[str, Candidates] = {
    "number": lambda text, _: numbers(text),
    "choice": any_letters,
    "yes_no": lambda text, _: yes_or_no(text),
    "letters": lambda text, _: joined_letters(text),
    "text": lambda text, _: first_line(text),
    "summary": lambda text, _: [text.strip()],
}


def zero_shot(completion: str, answer_type: str, letters: str = LETTERS) -> str | None:
    """Kojima's zero-shot rule: the first candidate, after the question for the answer if the completion holds it."""
    return _ended(CANDIDATES[answer_type](ZERO_SHOT_TRIGGER.split(completion)[-1], letters), 0)


def few_shot(completion: str, answer_type: str, letters: str = LETTERS) -> str | None:
    """Kojima's few-shot rule: the first candidate after the last 'The answer is', without one the last candidate."""
    *before, rest = completion.split(FEW_SHOT_TRIGGER)
    return _ended(CANDIDATES[answer_type](rest, letters), 0 if before else -1)


def _ended(candidates: list[str], place: int) -> str | None:
    return (candidates[place].removesuffix(".") or None) if candidates else None


def careful_choice(completion: str, letters: str = LETTERS) -> str | None:
    """The first choice after the last 'answer is', without one the last choice."""
    *before, rest = ANSWER_TRIGGER.split(completion)
    next_letter = NEXT_LETTER.match(rest) if before else None
    if next_letter and next_letter[1] in letters:
        return next_letter[1]
    return _ended(careful_letters(rest, letters), 0 if before else -1) or _ended(
        careful_letters(completion, letters), -1
    )


NUMBER_RULES: Mapping[str, Callable[[str], str | None]] = {
    "strict": gsm8k_strict,
    "flexible": gsm8k_flexible,
    "answer_is": answer_is,
    "last_line": last_line,
}
SHOT_RULES: Mapping[str, Callable[[str, str, str], str | None]] = {
    "zero_shot": zero_shot,
    "zero_shot_cot": zero_shot,
    "few_shot": few_shot,
    "few_shot_cot": few_shot,
}


def modes(answer_type: str) -> tuple[str, ...]:
    """What a row may ask for by "mode"."""
    if answer_type == CODE:
        return (AUTOMATIC,)
    return (AUTOMATIC, *SHOT_RULES, *(NUMBER_RULES if answer_type == "number" else ()))


def extract(
    completion: str,
    answer_type: str,
    mode: str = AUTOMATIC,
    *,
    shots: int | None = None,
    letters: str = LETTERS,
) -> Found:
    """The answer by the rule that `mode` names; "auto" takes the mark that the completion carries, else goes by `shots`.

    extract("16 - 7 = 9\\n#### 9", "number") -> Found(answer="9", rule="strict")
    """
    if answer_type == CODE:
        return code(completion)
    if mode in SHOT_RULES:
        return Found(answer=SHOT_RULES[mode](completion, answer_type, letters), rule=mode)
    if mode != AUTOMATIC:
        return Found(answer=NUMBER_RULES[mode](completion), rule=mode)
    own = NEXT_QUESTION.split(completion)[0]
    for rule in ("strict", "last_line") if answer_type == "number" else ():
        marked = NUMBER_RULES[rule](own)
        if marked is not None:
            return Found(answer=marked, rule=rule)
    if answer_type == "choice" and shots is None:
        return Found(answer=careful_choice(own, letters), rule="careful_choice")
    rule = "zero_shot" if shots == 0 and FEW_SHOT_TRIGGER not in own else "few_shot"
    return Found(answer=SHOT_RULES[rule](own, answer_type, letters), rule=rule)
