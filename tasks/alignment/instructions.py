"""Instruction items made from a corpus itself, the FLAN way (Wei et al. 2022).

Several wordings per task, at most `per_task` items of each (examples-proportional mixing with a cap), one whole family
held out. Items to train on come from the training documents, unseen ones from the groups kept apart. The same documents
and settings give the same bytes on any machine.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from tasks.alignment.exercises import HELD_OUT_FAMILY, TASKS, Task
from tasks.alignment.phrases import Definition, Material, Phrase, gather, key_of
from tasks.alignment.templates import choose, templates_of
from tasks.corpus.documents import halvings, in_sample
from tasks.corpus.json_lines import numbered_lines
from tasks.exercises.exercise import Exercise

_UNSEEN_SPLITS = ("valid", "test")


@dataclass(frozen=True, kw_only=True)
class InstructionConfig:
    """How many items; a task with fewer than `fewest_*` is skipped, fewer than `fewest_tasks` tasks is an error."""

    per_task: int = 3000
    unseen_per_task: int = 100
    fewest_train_items: int = 100
    fewest_unseen_items: int = 20
    fewest_tasks: int = 6
    most_phrases: int = 60_000
    max_text_bytes: int = 50_000_000  # of a longer split a sample of documents is read; it holds phrases enough
    largest_answer_share: float = 0.03
    max_prompt_bytes: int = 240
    max_answer_bytes: int = 60
    seed: int = 1

    def __post_init__(self) -> None:
        counts = (self.per_task, self.unseen_per_task, self.fewest_train_items, self.fewest_unseen_items)
        bounds = (self.most_phrases, self.max_text_bytes, self.max_prompt_bytes, self.max_answer_bytes)
        if min(*counts, self.fewest_tasks, *bounds) < 1:
            raise ValueError("instructions: every count must be at least 1")
        if not 0 < self.largest_answer_share <= 1:
            raise ValueError("instructions.largest_answer_share: expected a share above 0 and at most 1")


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


@dataclass(frozen=True, kw_only=True)
class InstructionSet:
    """Items to train on, unseen items of the trained families, items of the held-out family, skipped tasks and why."""

    train: tuple[InstructionItem, ...]
    valid: tuple[InstructionItem, ...]
    held_out: tuple[InstructionItem, ...]
    skipped: Mapping[str, str]


def build_instructions(split: Path, config: InstructionConfig) -> InstructionSet:
    """The instruction set of a split corpus (`train.jsonl`, `valid.jsonl`, `test.jsonl`).

    ValueError when the corpus gives fewer than `fewest_tasks` tasks, with what each of the others lacked.
    """
    seen = gather(_documents(split / "train.jsonl", config), most=config.most_phrases)
    apart = chain.from_iterable(_documents(split / f"{name}.jsonl", config) for name in _UNSEEN_SPLITS)
    unseen = gather(apart, most=config.most_phrases, without=seen)
    train: list[InstructionItem] = []
    kept: dict[str, list[InstructionItem]] = {}
    skipped: dict[str, str] = {}
    for task in TASKS:
        trained = [] if task.family == HELD_OUT_FAMILY else items_of(task, seen, config, config.per_task)
        others = replace(unseen, words=_words_apart(unseen.words, trained)) if task.source == "words" else unseen
        fresh = items_of(task, others, config, config.unseen_per_task)
        passed, reason = _enough(task, len(trained), len(fresh), config)
        if passed:
            train += trained
            kept[task.name] = fresh
        else:
            skipped[task.name] = reason
    _refuse_too_few(kept, skipped, config)
    unseen_items = sorted(chain.from_iterable(kept.values()), key=lambda item: item.id)
    return InstructionSet(
        train=tuple(sorted(train, key=lambda item: item.id)),
        valid=tuple(item for item in unseen_items if item.family != HELD_OUT_FAMILY),
        held_out=tuple(item for item in unseen_items if item.family == HELD_OUT_FAMILY),
        skipped=skipped,
    )


def _documents(path: Path, config: InstructionConfig) -> Iterator[dict[str, Any]]:
    halved = halvings(path.stat().st_size, config.max_text_bytes)
    return (document for document in read_lines(path) if in_sample(document["id"], halved))


def items_of(task: Task, material: Material, config: InstructionConfig, most: int) -> list[InstructionItem]:
    """At most `most` items of one task: closed answers in equal parts, no open answer above its share.

    The things are taken in the order of their keys, a random order that depends on content alone.
    """
    items: dict[str, InstructionItem] = {}
    said: Counter[str] = Counter()
    quota = _quota(task, config, most)
    for thing in getattr(material, task.source):
        exercise = _exercise(task, thing, material, config.seed)
        if exercise is None or said[exercise.answer] >= quota:
            continue
        item = _item(task, exercise, config.seed)
        if _fits(item, config) and item.id not in items:
            items[item.id] = item
            said[exercise.answer] += 1
        if len(items) == most:
            break
    return list(items.values())


def _quota(task: Task, config: InstructionConfig, most: int) -> int:
    if task.labels:
        return -(-most // len(task.labels))
    return max(3, round(config.largest_answer_share * most))


def _exercise(task: Task, thing: Phrase | Definition | str, material: Material, seed: int) -> Exercise | None:
    key = thing if isinstance(thing, str) else thing.key
    chance = random.Random(key_of("exercise", seed, task.name, key))
    label = chance.choice(task.labels) if task.labels else ""
    return task.make(thing, chance, label, material)


def _item(task: Task, exercise: Exercise, seed: int) -> InstructionItem:
    template = choose(templates_of(task.name), seed, task.name, exercise.text)
    prompt, answer = template.fill({"text": exercise.text, "answer": exercise.answer, **exercise.slots})
    return InstructionItem(
        id=key_of("item", task.name, prompt, answer),
        task=task.name,
        family=task.family,
        template=template.name,
        input=exercise.text,
        prompt=prompt,
        answer=answer,
    )


def _fits(item: InstructionItem, config: InstructionConfig) -> bool:
    """Bytes bound tokens without asking a tokenizer: a byte-level one never makes more tokens than bytes."""
    prompt, answer = item.prompt.encode("utf-8", "replace"), item.answer.encode("utf-8", "replace")
    return len(prompt) <= config.max_prompt_bytes and len(answer) <= config.max_answer_bytes


def _words_apart(words: Sequence[str], trained: Iterable[InstructionItem]) -> tuple[str, ...]:
    """`words` that no training item asks about: a word may stand in many groups, its question must not."""
    asked = {item.input for item in trained}
    return tuple(word for word in words if word not in asked)


def _enough(task: Task, trained: int, fresh: int, config: InstructionConfig) -> tuple[bool, str]:
    if task.family != HELD_OUT_FAMILY and trained < config.fewest_train_items:
        return False, f"{trained} items from the training text, at least {config.fewest_train_items} needed"
    if fresh < config.fewest_unseen_items:
        return False, f"{fresh} items from unseen groups, at least {config.fewest_unseen_items} needed"
    return True, ""


def _refuse_too_few(kept: Mapping[str, object], skipped: Mapping[str, str], config: InstructionConfig) -> None:
    if len(kept) < config.fewest_tasks:
        lacking = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise ValueError(
            f"instructions: the corpus gives {len(kept)} tasks and {config.fewest_tasks} are needed ({lacking}); "
            "add more text of whole sentences, or name smaller counts under instructions: in params.yaml"
        )
    families = {task.family for task in TASKS if task.name in kept}
    if HELD_OUT_FAMILY not in families or len(families) < 3:
        raise ValueError(
            f"instructions: the corpus gives only the families {', '.join(sorted(families))}; three are needed, "
            f"{HELD_OUT_FAMILY} (held out) among them: add more text of whole sentences"
        )


def mixing_weights(sizes: Sequence[int], cap: int) -> tuple[float, ...]:
    """Examples-proportional mixing with a maximum (FLAN, Raffel et al. 2020): min(size, cap) / their sum.

    mixing_weights((1_000_000, 30_000, 1500, 100), 3000) -> (0.3947, 0.3947, 0.1974, 0.0132)
    """
    capped = [min(size, cap) for size in sizes]
    return tuple(size / sum(capped) for size in capped)


def write_instructions(folder: Path, items: InstructionSet, config: InstructionConfig) -> dict[str, Any]:
    """train.jsonl, valid.jsonl, held_out.jsonl and index.json in an existing folder; returns the index."""
    for name in ("train", "valid", "held_out"):
        lines = (json.dumps(asdict(item), ensure_ascii=False, sort_keys=True) for item in getattr(items, name))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    index = index_of(items, config)
    text = json.dumps(index, ensure_ascii=False, indent=1, sort_keys=True)
    (folder / "index.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    return index


def index_of(items: InstructionSet, config: InstructionConfig) -> dict[str, Any]:
    counts = {name: Counter(item.task for item in getattr(items, name)) for name in ("train", "valid", "held_out")}
    present = [task for task in TASKS if task.name not in items.skipped]
    trained = [task.name for task in present if task.family != HELD_OUT_FAMILY]
    weights = mixing_weights([counts["train"][name] for name in trained], config.per_task)
    return {
        "held_out_family": HELD_OUT_FAMILY,
        "items": {name: sum(count.values()) for name, count in counts.items()},
        "settings": asdict(config),
        "skipped": dict(items.skipped),
        "tasks": {
            task.name: {
                "answer_in_text": task.answer_in_text,
                "family": task.family,
                "items": {name: count[task.name] for name, count in counts.items()},
                "labels": list(task.labels),
                "templates": len(templates_of(task.name)),
            }
            for task in present
        },
        "weights": dict(zip(trained, weights, strict=True)),
    }


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, one at a time; ValueError with file and line for a broken one."""
    return (line for _, line in numbered_lines(path))


def read_items(path: Path) -> list[InstructionItem]:
    return [InstructionItem(**line) for line in read_lines(path)]
