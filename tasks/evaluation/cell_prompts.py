"""The prompts of a cell, and whether the model can read them; torch is not needed to know."""

from collections.abc import Iterator
from functools import partial

from tasks.evaluation.benchmark import Item
from tasks.evaluation.cells import LIKELIHOOD, Cell
from tasks.evaluation.fitting import tokens_needed, tokens_of_choice
from tasks.evaluation.prompts import Prompt, choices_of, prompt_of
from tasks.evaluation.subject import Subject


def prompts_of(cell: Cell) -> Iterator[Prompt]:
    ask = partial(prompt_of, examples=cell.examples, template=cell.template, cot=cell.reasons)
    return (ask(item, answer_type=cell.benchmark.answer_type) for item in cell.items)


def choices_in(cell: Cell, item: Item) -> tuple[Prompt, tuple[str, ...]]:
    return choices_of(item, cell.examples, cell.template, cell.benchmark.likelihood)


def too_long(cell: Cell, subject: Subject) -> str:
    """Why the model cannot be asked this, or "": the first item whose prompt and answer are longer than its context."""
    for item, prompt in zip(cell.items, prompts_of(cell), strict=True):
        if cell.mode == LIKELIHOOD:
            asked, options = choices_in(cell, item)
            needed = max(tokens_of_choice(subject, asked, option) for option in options)
        else:
            needed = tokens_needed(subject, prompt, cell.max_tokens)
        if needed > subject.context:
            return f"{item.place}: with its answer it takes {needed:,} tokens, and {subject.name} reads {subject.context:,}"
    return ""
