"""Whether the way to an answer teaches more than the answer alone: the same exercises, tuned on with and without it.

An answer is a rationale and the sentence "The answer is X." (Wei et al. 2022; Chung et al. 2022 tune on such answers), or
that sentence alone. Answers are taken out of what is said by the same rule for both (tasks/evaluation/extraction.py).
"""

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from models.catalogue import load_model
from models.sampling import SamplingConfig
from tasks.alignment.drawing import InstructionItem
from tasks.alignment.tuning import Tuned, Tuning, tune
from tasks.evaluation.answers import ask
from tasks.evaluation.extraction import extract
from tasks.evaluation.seed_intervals import interval
from tasks.exercises.exercise import Exercise, Maker

HELD_OUT_OF = 5  # one text of so many is for judging
MODE = "few_shot"  # the first candidate after the last "The answer is", without one the last candidate
WITH, WITHOUT, SAME_TOKENS = "with rationale", "without", "without, as many tokens"


def different(maker: Maker, number: int, *, seed: int, held_out: bool) -> list[Exercise]:
    """`number` exercises with different texts; a text is held out, or trained on, whatever the seed."""
    found: dict[str, Exercise] = {}
    for place in count():
        exercise = maker(random.Random(f"{seed} {place}"))
        if is_held_out(exercise.text) == held_out:
            found.setdefault(exercise.text, exercise)
        if len(found) == number:
            return list(found.values())
        if place > 100 * number:
            raise ValueError(
                f"this maker has {len(found)} different exercises {'to judge by' if held_out else 'to train on'}, "
                f"fewer than {number}; ask for fewer"
            )
    raise AssertionError("counting never ends")


def is_held_out(text: str) -> bool:
    return zlib.crc32(text.encode()) % HELD_OUT_OF == 0


def item_of(exercise: Exercise, task: str, *, rationale: bool) -> InstructionItem:
    """Question 7 + 5 - 3, answer "7 + 5 = 12, 12 - 3 = 9. The answer is 9." or "The answer is 9." """
    if rationale and not exercise.rationale:
        raise ValueError(f"{task}: the exercise {exercise.text!r} has no rationale; take a maker that writes one")
    way = f"{exercise.rationale} " if rationale else ""
    return InstructionItem(
        id=f"{task}/{exercise.text}/{rationale}",
        task=task,
        family=task,
        template="the text itself",
        input=exercise.text,
        prompt=exercise.text,
        answer=f"{way}The answer is {exercise.answer}.",
    )


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is equal for all models: exercises, steps, batches; `max_answer_tokens` is room for the longest rationale."""

    task: str
    maker: Maker
    answer_type: str
    tuning: Tuning
    train_items: int
    held_out_items: int
    max_answer_tokens: int

    def asked(self) -> list[Exercise]:
        return different(self.maker, self.held_out_items, seed=0, held_out=True)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One tuned model: a score for each asked exercise, in their order, and the share of answers without an answer."""

    name: str
    seed: int
    steps: int
    tokens: int
    exact: Sequence[float]
    unparsed: float
    said: Sequence[str]


def compared(study: Study, base: Callable[[int], Path], folder: Path, seeds: Sequence[int]) -> Iterator[Arm]:
    """Three models a seed: with rationale, without at as many steps, without at as many tokens.

    `base` gives the folder of the model that a seed's three tunings begin from.
    """
    for seed in seeds:
        exercises = different(study.maker, study.train_items, seed=seed, held_out=False)
        found = {}
        for name, rationale in ((WITH, True), (WITHOUT, False)):
            found[name] = _tuned(study, study.tuning.steps, exercises, rationale, base(seed), folder, seed)
            yield _asked(study, name, seed, study.tuning.steps, found[name])
        steps = round(study.tuning.steps * found[WITH].tokens / found[WITHOUT].tokens)
        longer = _tuned(study, steps, exercises, False, base(seed), folder, seed)
        yield _asked(study, SAME_TOKENS, seed, steps, longer)


def difference(arms: Sequence[Arm], name: str, other: str) -> tuple[float, float, float]:
    """Exact match of `name` - that of `other`, seed by seed on the same items; 95 % interval over seeds and items."""
    scores = [np.array([arm.exact for arm in arms if arm.name == each]) for each in (name, other)]
    return interval(scores[0] - scores[1], least=-1.0)


def _tuned(
    study: Study, steps: int, exercises: Sequence[Exercise], rationale: bool, base: Path, folder: Path, seed: int
) -> Tuned:
    items = [item_of(exercise, study.task, rationale=rationale) for exercise in exercises]
    named = folder / f"{study.task}-{'with' if rationale else 'without'}-{steps}-seed{seed}"
    return tune(base, items, replace(study.tuning, steps=steps), named, seed=seed)


def _asked(study: Study, name: str, seed: int, steps: int, tuned: Tuned) -> Arm:
    """Greedy answers to the held-out exercises."""
    asked = study.asked()
    model, tokenizer = load_model(tuned.path)
    config = SamplingConfig(max_tokens=study.max_answer_tokens, temperature=0.0)
    said = [answer.text for answer in ask(model, tokenizer, [exercise.text for exercise in asked], config)]
    found = [extract(text, study.answer_type, MODE).answer for text in said]
    return Arm(
        name=name,
        seed=seed,
        steps=steps,
        tokens=tuned.tokens,
        exact=[float(answer == exercise.answer) for answer, exercise in zip(found, asked, strict=True)],
        unparsed=sum(answer is None for answer in found) / len(found),
        said=said,
    )
