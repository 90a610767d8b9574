"""A task's exercises, those to train on apart from those to judge by, and the instruction items made of them."""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from tasks.evaluation.answerable import answerable
from tasks.exercises.corpus_makers import CLOSED, CORPUS_MAKERS
from tasks.exercises.exercise import Exercise
from tasks.exercises.makers import MAKERS
from tasks.exercises.phrases import Definition, Material, Phrase, key_of
from tasks.exercises.task_files import TaskFile
from tasks.exercises.task_rows import file_exercises
from tasks.exercises.template import choose, slots_in

Side = Literal["train", "unseen"]
UNSEEN_OF = 5  # where no document decides it, one text of so many is for judging
_DRAWS_PER_ITEM = 6
_FRUITLESS_DRAWS = 300  # so many draws without a new exercise, and there are no more


@dataclass(frozen=True, kw_only=True)
class InstructionItem:
    """One question; `input` is the raw text it is about, all that a copy rule may look at."""

    id: str
    task: str
    family: str
    template: str
    input: str
    prompt: str
    answer: str
    answer_type: str = "text"
    options: tuple[str, ...] = ()
    rationale: str = ""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How many items of one task there may be, and how long they may be."""

    most: int
    largest_answer_share: float
    max_prompt_bytes: int
    max_answer_bytes: int
    seed: int


def exercises_of(task: TaskFile, side: Side, material: Material, bounds: Bounds) -> Iterator[Exercise]:
    """In an order that depends on content and seed alone. Of makers and files a fact is on one side only, in all tasks."""
    if task.source.corpus:
        found: Iterable[Exercise] = _from_corpus(task, material, bounds.seed)
    else:
        from_file = task.source.file is not None
        every = _shuffled(file_exercises(task, answerable), bounds.seed) if from_file else _drawn(task, bounds)
        found = (exercise for exercise in every if side_of(exercise) == side)
    for exercise in found:
        yield _checked(task, exercise)


def side_of(exercise: Exercise) -> Side | None:
    """By what must be known for it alone: what one task asks to be judged by, no task teaches, in whatever words.

    None where a part of it is taught and another is judged by.
    """
    sides: set[Side] = {
        "train" if int(key_of("side", bare(fact)), 16) % UNSEEN_OF else "unseen"
        for fact in exercise.facts or (exercise.text,)
    }
    return sides.pop() if len(sides) == 1 else None


def _from_corpus(task: TaskFile, material: Material, seed: int) -> Iterator[Exercise]:
    maker = CORPUS_MAKERS[task.source.corpus][task.source.maker]
    things: tuple[Phrase | Definition | str, ...] = getattr(material, task.source.corpus)
    for thing in things:
        key = thing if isinstance(thing, str) else thing.key
        chance = random.Random(key_of("exercise", seed, task.name, key))
        label = chance.choice(task.options) if task.source.maker in CLOSED else ""
        exercise = maker(thing, chance, label, material)
        if exercise is not None:
            yield exercise


def _drawn(task: TaskFile, bounds: Bounds) -> Iterator[Exercise]:
    seen: set[str] = set()
    fruitless = 0
    for number in range(_DRAWS_PER_ITEM * (bounds.most + _FRUITLESS_DRAWS)):
        exercise = MAKERS[task.source.maker](random.Random(key_of("draw", bounds.seed, task.name, number)))
        key = _key(exercise)
        fruitless = fruitless + 1 if key in seen else 0
        if fruitless == _FRUITLESS_DRAWS:
            return
        if key not in seen:
            seen.add(key)
            yield exercise


def _shuffled(exercises: Iterable[Exercise], seed: int) -> list[Exercise]:
    return sorted(exercises, key=lambda exercise: key_of("row", seed, _key(exercise)))


def _key(exercise: Exercise) -> str:
    return key_of(exercise.text, exercise.answer, *sorted(exercise.slots.items()))


def _checked(task: TaskFile, exercise: Exercise) -> Exercise:
    """With the options it is shown with. ValueError where the maker is not as the task file says."""
    lacking = set(task.slots) - set(exercise.slots)
    if lacking:
        raise ValueError(f"{task.path}: {task.source.maker} fills no slot {min(lacking)}; take it out of slots")
    options = exercise.options or task.options
    if options and exercise.answer not in options:
        raise ValueError(f"{task.path}: the answer {exercise.answer!r} is none of the options {', '.join(options)}")
    return replace(exercise, options=options)


def items_of(
    task: TaskFile, side: Side, material: Material, bounds: Bounds, without: Collection[str] = ()
) -> list[InstructionItem]:
    """At most `bounds.most` items, none of them twice: closed answers in equal parts, no open one above its share.

    `without` are texts that are asked about or answered elsewhere; a question that is turned around is about an answer.

    Wordings that are turned around are for training alone: such a question may have several right answers.
    """
    apart = {bare(text) for text in without}
    items: dict[str, InstructionItem] = {}
    said: Counter[str] = Counter()
    for exercise in exercises_of(task, side, material, bounds):
        if bare(exercise.text) in apart or said[exercise.answer] >= _quota(task, bounds, len(items)):
            continue
        item = item_of(task, exercise, side, bounds.seed)
        if _fits(item, bounds) and bare(item.input) not in apart and item.id not in items:
            items[item.id] = item
            said[exercise.answer] += 1
        if len(items) == bounds.most:
            break
    return list(items.values())


def bare(text: str) -> str:
    """A text as it is compared with others: a full stop at its end does not count."""
    return text.strip().rstrip(".")


def _quota(task: TaskFile, bounds: Bounds, made: int) -> int:
    """How often one answer may be given. A maker or a file chooses its open answers itself, but none is half of all."""
    if task.options:
        return -(-bounds.most // len(task.options))
    if task.source.corpus:
        return max(3, round(bounds.largest_answer_share * bounds.most))
    return made // 2 + 3


def item_of(task: TaskFile, exercise: Exercise, side: Side, seed: int) -> InstructionItem:
    template = choose(task.templates if side == "train" else task.asking, seed, task.name, _key(exercise))
    prompt, answer = template.fill(exercise)
    turned: dict[str, Any] = {"answer_type": "text", "options": (), "rationale": ""}
    asked = {"answer_type": task.answer_type, "options": exercise.options, "rationale": exercise.rationale}
    return InstructionItem(
        id=key_of("item", task.name, prompt, answer),
        task=task.name,
        family=task.family,
        template=template.name,
        input=exercise.answer if template.turned_around and "text" not in slots_in(template.prompt) else exercise.text,
        prompt=prompt,
        answer=answer,
        **(turned if template.turned_around else asked),
    )


def _fits(item: InstructionItem, bounds: Bounds) -> bool:
    """Bytes bound tokens without asking a tokenizer: a byte-level one never makes more tokens than bytes."""
    prompt, answer = item.prompt.encode("utf-8", "replace"), item.answer.encode("utf-8", "replace")
    return len(prompt) <= bounds.max_prompt_bytes and len(answer) <= bounds.max_answer_bytes
