"""Prompts, to the byte: some examples, a question, and how its answer begins.

In plain text they are those of Wei et al. (2022) with examples, and of Kojima et al. (2022) without:

Q: What is 2 + 3?
A: 2 + 3 = 5. The answer is 5.

Q: What is 4 + 4?
A:

A model that talks is given the same questions and answers as turns of a chat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.evaluation.benchmark import Item

ANSWER_IS = "The answer is"
THINK = "Let's think step by step."
ROLES = ("user", "assistant")
# Kojima et al., table 9: how the answer is asked for, where no example shows it
_ASKED_FOR: Mapping[str, str] = {
    "number": "the answer (arabic numerals) is",
    "yes_no": "the answer (Yes or No) is",
    "choice": "among A through {last}, the answer is",
}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """`shown` are (question, answer); `opening` begins the answer, `closing` asks for it after a rationale."""

    shown: tuple[tuple[str, str], ...]
    question: str
    opening: str = ""
    closing: str = ""

    @property
    def text(self) -> str:
        parts = [*(f"Q: {question}\nA: {answer}" for question, answer in self.shown), f"Q: {self.question}\nA:"]
        return "\n\n".join(parts) + (f" {self.opening}" if self.opening else "")

    @property
    def turns(self) -> list[dict[str, str]]:
        """The same as a chat. Nobody begins another's answer: to think step by step is asked for in the question."""
        thinking = f"\n{THINK}" if self.opening == THINK else ""
        said = [{"role": role, "content": text} for pair in self.shown for role, text in zip(ROLES, pair, strict=True)]
        return [*said, {"role": "user", "content": self.question + thinking}]

    @property
    def has_line_breaks(self) -> bool:
        """Whether an answer may go on after a line: the examples' do, or no example says how an answer ends."""
        return any("\n" in answer for _, answer in self.shown) or (not self.shown and self.opening == THINK)


def prompt_of(item: Item, examples: Sequence[Item], template: str, answer_type: str, *, cot: bool) -> Prompt:
    """What is asked about `item` after `examples`, in their order; with `cot` the examples reason and the model is to."""
    shown = tuple((filled(template, each), _answer(each, cot)) for each in examples)
    question = filled(template, item)
    if shown:
        return Prompt(shown=shown, question=question)
    asked_for = _ASKED_FOR.get(answer_type, "the answer is").format(last=item.letters[-1:])
    if cot:
        return Prompt(shown=(), question=question, opening=THINK, closing=f"\nTherefore, {asked_for}")
    return Prompt(shown=(), question=question, opening=asked_for[0].upper() + asked_for[1:])


def choices_of(item: Item, examples: Sequence[Item], template: str, likelihood: str) -> tuple[Prompt, tuple[str, ...]]:
    """What is asked, and the answers to it whose likelihoods are compared.

    "letters" lists the options in the question, as MMLU does; "texts" does not, as ARC does.
    """
    lists = likelihood == "letters"
    wording = template if lists else template.replace(" {options}", "")
    shown = tuple((filled(wording, each), each.shown if lists else _option(each)) for each in examples)
    options = tuple(f"({letter})" for letter in item.letters) if lists else item.options
    return Prompt(shown=shown, question=filled(wording, item)), options


def _option(item: Item) -> str:
    return item.options[item.right[0]]


def filled(template: str, item: Item) -> str:
    """Values are put in as they are: braces in a text stay braces."""
    options = " ".join(f"({letter}) {text}" for letter, text in zip(item.letters, item.options, strict=True))
    return template.format_map({**item.slots, "options": f"Answer Choices: {options}"})


def _answer(item: Item, cot: bool) -> str:
    said = f"{ANSWER_IS} {item.shown}."
    return f"{item.rationale} {said}" if cot else said
