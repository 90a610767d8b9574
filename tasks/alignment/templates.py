"""Wordings: several templates of different form per task, chosen by the item's key (FLAN: uniformly at random)."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from tasks.alignment.phrases import key_of

FEWEST_TEMPLATES = 4
_TABLE = Path(__file__).with_name("templates.yaml")


@dataclass(frozen=True, kw_only=True)
class Template:
    """A wording with slots; a turned-around one gives the answer and asks for what was given."""

    name: str
    prompt: str
    answer: str = "{answer}"

    @property
    def turned_around(self) -> bool:
        return self.answer != "{answer}"

    def fill(self, slots: Mapping[str, str]) -> tuple[str, str]:
        """(prompt, answer); values are put in as they are, so braces in a text stay braces."""
        return self.prompt.format_map(slots), self.answer.format_map(slots)


@cache
def templates_of(task: str) -> tuple[Template, ...]:
    """The wordings of `task`; ValueError where the table lacks it or has too few."""
    with _TABLE.open(encoding="utf-8") as stream:
        table = yaml.safe_load(stream)
    if task not in table:
        raise ValueError(f"{_TABLE.name}: no templates for the task {task}; add at least {FEWEST_TEMPLATES}")
    templates = tuple(_template(f"{task}/{place}", entry) for place, entry in enumerate(table[task]))
    if len(templates) < FEWEST_TEMPLATES:
        raise ValueError(f"{_TABLE.name}: {task} has {len(templates)} templates; give at least {FEWEST_TEMPLATES}")
    return templates


def _template(name: str, entry: str | Mapping[str, str]) -> Template:
    if isinstance(entry, str):
        return Template(name=name, prompt=entry)
    return Template(name=name, prompt=entry["prompt"], answer=entry["answer"])


def slots_of(template: Template) -> set[str]:
    """The slot names a wording uses, in its prompt or its answer."""
    parts = string.Formatter().parse(template.prompt + template.answer)
    return {name for _, name, _, _ in parts if name}


def choose(templates: Sequence[Template], *key: object) -> Template:
    """One of `templates`, uniformly and by `key` alone."""
    return templates[int(key_of("template", *key), 16) % len(templates)]
