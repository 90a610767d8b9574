"""Wordings of a task: several of different form, of which one is chosen by the exercise alone (FLAN: uniformly at random)."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.exercises.exercise import Exercise
from tasks.exercises.phrases import key_of

TURNED = "turned"
FORMS = (
    "question", "order", "statement", "text_first", "first_person", "choice", "json", "dialogue", "form", "quoted", TURNED,
)  # fmt: skip
AS_IT_IS = "{answer}"


@dataclass(frozen=True, kw_only=True)
class Template:
    """A wording with slots; a turned-around one gives the answer and asks for what was given."""

    name: str
    form: str
    prompt: str
    answer: str = AS_IT_IS

    @property
    def turned_around(self) -> bool:
        return self.answer != AS_IT_IS

    def fill(self, exercise: Exercise) -> tuple[str, str]:
        """(prompt, answer); values are put in as they are, so braces in a text stay braces."""
        slots = {
            **exercise.slots,
            "text": exercise.text,
            "answer": exercise.answer,
            "options": ", ".join(exercise.options),
        }
        return self.prompt.format_map(slots), self.answer.format_map(slots)


def slots_in(wording: str) -> set[str]:
    """The slot names a wording uses; ValueError for braces that are no slot."""
    found = set()
    for _, name, spec, conversion in string.Formatter().parse(wording):
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"{{{name}{'!' if conversion else ''}{conversion or ''}{':' if spec else ''}{spec}}}")
        found.add(name)
    return found


def choose(templates: Sequence[Template], *key: object) -> Template:
    """One of `templates`, uniformly and by `key` alone."""
    return templates[int(key_of("template", *key), 16) % len(templates)]
