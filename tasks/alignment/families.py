"""Leave one family out (Wei et al. 2022, FLAN): whose items are trained on, and whose are asked about without a shot.

A family is held out together with those that its tasks call related. The control without templates is trained on a task's
name and its bare fields, and asked in the same plain words as the others.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tasks.alignment.drawing import Bounds, InstructionItem, items_of
from tasks.alignment.instructions import removed_families
from tasks.exercises.phrases import Material
from tasks.exercises.task_files import TaskFile
from tasks.exercises.template import Template

Wording = Literal["templates", "names"]
BARE = "bare"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Tasks and the corpus's material for those that need some; `per_task` items to train on, `asked_per_task` to ask."""

    tasks: Sequence[TaskFile]
    seen: Material
    unseen: Material
    per_task: int = 300
    asked_per_task: int = 50
    seed: int = 1
    max_prompt_bytes: int = 300
    max_answer_bytes: int = 60

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(sorted({task.family for task in self.tasks}))

    def asked(self, family: str) -> list[InstructionItem]:
        """The questions of a family when it is held out: always the same ones, in plain words."""
        found = [
            items_of(task, "unseen", self.unseen, self._bounds(self.asked_per_task)) for task in self._of({family})
        ]
        return [item for items in found for item in items]

    def trained(self, families: Collection[str], wording: Wording, without: Collection[str]) -> list[InstructionItem]:
        """Items of `families`, none of them about one of the texts `without`, mixed by numbers with a cap."""
        tasks = [bare(task) if wording == "names" else task for task in self._of(families)]
        found = [items_of(task, "train", self.seen, self._bounds(self.per_task), without) for task in tasks]
        return [item for items in found for item in items]

    def _of(self, families: Collection[str]) -> list[TaskFile]:
        return [task for task in self.tasks if task.family in families]

    def _bounds(self, most: int) -> Bounds:
        return Bounds(
            most=most,
            largest_answer_share=0.1,
            max_prompt_bytes=self.max_prompt_bytes,
            max_answer_bytes=self.max_answer_bytes,
            seed=self.seed,
        )


def bare(task: TaskFile) -> TaskFile:
    """Without instructions: "contains: Return the value; word: value" is all that is said."""
    fields = "".join(f"; {slot}: {{{slot}}}" for slot in task.slots)
    options = "; options: {options}" if task.options else ""
    template = Template(name=f"{task.name}/{BARE}", form="form", prompt=f"{task.name}: {{text}}{fields}{options}")
    return replace(task, templates=(template,))


def trained_families(pool: Pool, held_out: str, most: int | None, seed: int) -> tuple[str, ...]:
    """The first `most` (None: all) in the order that a seed gives the families, none of them related to `held_out`.

    The order is one for all held-out families, so that most of them share their smaller mixtures: a mixture is trained once.
    """
    removed = removed_families(pool.tasks, (held_out,))
    order = list(pool.families)
    random.Random(f"families {seed}").shuffle(order)
    left = [family for family in order if family not in removed]
    if most is not None and most > len(left):
        raise ValueError(f"{held_out}: {most} families to train on, and there are {len(left)} others; ask for fewer")
    return tuple(left[:most])


def check_apart(trained: Sequence[InstructionItem], asked: Sequence[InstructionItem], removed: Collection[str]) -> None:
    """ValueError where a held-out family's item, wording or text was trained on: the figures would mean nothing."""
    texts, wordings = {item.input for item in asked}, {item.template for item in asked}
    for item in trained:
        if item.family in removed or item.template in wordings:
            raise ValueError(f"{item.task}: an item of the held-out family {item.family} is among those trained on")
        if item.input in texts:
            raise ValueError(f"{item.task}: the text {item.input!r} is asked about and trained on; draw other items")
