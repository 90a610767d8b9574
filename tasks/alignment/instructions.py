"""The instruction set, made the FLAN way (Wei et al. 2022) from the corpus itself and from tasks that need none.

At least ten wordings per task, at most `per_task` items of each (examples-proportional mixing with a cap), whole families
held out. Items to train on come from the training documents, unseen ones from the groups kept apart. The same documents
and settings give the same bytes on any machine.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tasks.alignment.drawing import Bounds, InstructionItem, bare, items_of
from tasks.artifacts import file_sha256
from tasks.corpus.documents import halvings, in_sample
from tasks.corpus.json_lines import numbered_lines
from tasks.exercises.marked_yaml import nearest
from tasks.exercises.phrases import Material, gather
from tasks.exercises.task_files import TaskFile, all_tasks

_UNSEEN_SPLITS = ("valid", "test")


@dataclass(frozen=True, kw_only=True)
class InstructionConfig:
    """How many items; a task with fewer than `fewest_*` is skipped, fewer than `fewest_tasks` from the corpus an error.

    `families` are those to make items of, () for all; `held_out` are never trained on, and those that their tasks call
    related are left out altogether. `task_files` are tasks of one's own beside the built-in ones, from the checkout on.
    """

    families: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ("completion",)
    task_files: tuple[str, ...] = ()
    per_task: int = 3000
    unseen_per_task: int = 100
    fewest_train_items: int = 100
    fewest_unseen_items: int = 20
    fewest_tasks: int = 6
    most_phrases: int = 60_000
    max_text_bytes: int = 50_000_000  # of a longer split a sample of documents is read; it holds phrases enough
    largest_answer_share: float = 0.03
    max_prompt_bytes: int = 300
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
class InstructionSet:
    """Items to train on, unseen items of the trained families, items of the held-out ones, skipped tasks and why."""

    train: tuple[InstructionItem, ...]
    valid: tuple[InstructionItem, ...]
    held_out: tuple[InstructionItem, ...]
    skipped: Mapping[str, str]
    tasks: tuple[TaskFile, ...]


@dataclass(frozen=True, kw_only=True)
class _Materials:
    """The corpus's own, and how many items of it make a task."""

    seen: Material
    unseen: Material
    config: InstructionConfig

    def train(self, task: TaskFile, without: frozenset[str]) -> list[InstructionItem]:
        return items_of(task, "train", self.seen, self._bounds(self.config.per_task), without)

    def fresh(self, task: TaskFile, without: frozenset[str] = frozenset()) -> list[InstructionItem]:
        return items_of(task, "unseen", self.unseen, self._bounds(self.config.unseen_per_task), without)

    def _bounds(self, most: int) -> Bounds:
        config = self.config
        return Bounds(
            most=most,
            largest_answer_share=config.largest_answer_share,
            max_prompt_bytes=config.max_prompt_bytes,
            max_answer_bytes=config.max_answer_bytes,
            seed=config.seed,
        )


def build_instructions(split: Path, config: InstructionConfig, checkout: Path = Path()) -> InstructionSet:
    """The instruction set of a split corpus (`train.jsonl`, `valid.jsonl`, `test.jsonl`).

    ValueError when the corpus gives fewer than `fewest_tasks` tasks, with what each of the others lacked.
    """
    tasks = _tasks(config, checkout)
    removed = removed_families(tasks, config.held_out)
    materials = _materials(split, config)
    held_out = {task.name: materials.fresh(task) for task in tasks if task.family in config.held_out}
    apart = _texts_of(chain.from_iterable(held_out.values()))
    train: dict[str, list[InstructionItem]] = {}
    valid: dict[str, list[InstructionItem]] = {}
    skipped: dict[str, str] = {}
    for task in tasks:
        if task.family in config.held_out:
            skipped[task.name] = _lacking(None, len(held_out[task.name]), config)
        elif task.family in removed:
            skipped[task.name] = f"its family {task.family} is related to one that is held out"
        else:
            trained = materials.train(task, apart)
            fresh = materials.fresh(task, frozenset(item.input for item in trained))
            skipped[task.name] = _lacking(len(trained), len(fresh), config)
            train[task.name], valid[task.name] = trained, fresh
    kept = [task for task in tasks if not skipped[task.name]]
    _refuse_too_few(tasks, kept, skipped, config)
    return InstructionSet(
        train=_sorted(kept, train),
        valid=_sorted(kept, valid),
        held_out=_sorted(kept, held_out),
        skipped={name: reason for name, reason in skipped.items() if reason},
        tasks=tuple(kept),
    )


def _tasks(config: InstructionConfig, checkout: Path) -> list[TaskFile]:
    tasks = all_tasks([checkout / name for name in config.task_files])
    _refuse_unknown("families", config.families, tasks)
    _refuse_unknown("held_out", config.held_out, tasks)
    for family in config.held_out:
        if config.families and family not in config.families:
            raise ValueError(
                f"instructions.held_out: {family} is none of instructions.families ({', '.join(config.families)}); add it "
                "there, since what is held out is asked too, or hold out one of them"
            )
    return [task for task in tasks if not config.families or task.family in config.families]


def _refuse_unknown(setting: str, families: Sequence[str], tasks: Sequence[TaskFile]) -> None:
    known = sorted({task.family for task in tasks})
    for family in families:
        if family not in known:
            raise ValueError(f"instructions.{setting}: there is no family {family}; {nearest(family, known)}")


def check_asked(config: InstructionConfig, asked: Sequence[str], checkout: Path = Path()) -> None:
    """ValueError where RLHF is to ask a family that is not trained on: to be told before anything is."""
    if not isinstance(asked, list | tuple):
        raise ValueError(f"align.families: expected a list, for example [form], found {asked!r}")
    tasks = _tasks(config, checkout)
    trained = sorted({task.family for task in tasks} - removed_families(tasks, config.held_out))
    for family in asked:
        if family not in trained:
            raise ValueError(
                f"align.families: {family} is none of the families that params.yaml trains on; "
                f"{nearest(str(family), trained)}"
            )


def _texts_of(items: Iterable[InstructionItem]) -> frozenset[str]:
    """What they ask about, and their answers of several words: another task may ask about such an answer."""
    return frozenset(
        bare(text) for item in items for text in (item.input, item.answer) if text == item.input or " " in text
    )


def removed_families(tasks: Sequence[TaskFile], held_out: Sequence[str]) -> frozenset[str]:
    """All that is not trained on: the families held out, and those that their tasks call related."""
    _refuse_unknown("held_out", held_out, tasks)
    related = {family for task in tasks if task.family in held_out for family in task.related}
    return frozenset(held_out) | related


def _materials(split: Path, config: InstructionConfig) -> _Materials:
    seen = gather(_documents(split / "train.jsonl", config), most=config.most_phrases)
    apart = chain.from_iterable(_documents(split / f"{name}.jsonl", config) for name in _UNSEEN_SPLITS)
    unseen = gather(apart, most=config.most_phrases, without=seen)
    return _Materials(seen=seen, unseen=unseen, config=config)


def _documents(path: Path, config: InstructionConfig) -> Iterator[dict[str, Any]]:
    halved = halvings(path.stat().st_size, config.max_text_bytes)
    return (document for document in read_lines(path) if in_sample(document["id"], halved))


def _sorted(kept: Sequence[TaskFile], items: Mapping[str, Sequence[InstructionItem]]) -> tuple[InstructionItem, ...]:
    found = chain.from_iterable(items.get(task.name, ()) for task in kept)
    return tuple(sorted(found, key=lambda item: item.id))


def _lacking(trained: int | None, fresh: int, config: InstructionConfig) -> str:
    """Why a task is skipped, or ""; `trained` is None where it is not to be trained on."""
    if trained is not None and trained < config.fewest_train_items:
        return f"{trained} items to train on, at least {config.fewest_train_items} needed"
    if fresh < config.fewest_unseen_items:
        return f"{fresh} unseen items, at least {config.fewest_unseen_items} needed"
    return ""


def _refuse_too_few(
    tasks: Sequence[TaskFile], kept: Sequence[TaskFile], skipped: Mapping[str, str], config: InstructionConfig
) -> None:
    of_corpus = [task.name for task in kept if task.source.corpus]
    if len(of_corpus) < config.fewest_tasks:
        lacking = "; ".join(f"{task.name}: {skipped[task.name]}" for task in tasks if skipped[task.name])
        raise ValueError(
            f"instructions: the corpus gives {len(of_corpus)} tasks and {config.fewest_tasks} are needed ({lacking}); "
            "add more text of whole sentences, or name smaller counts under instructions: in params.yaml"
        )
    families = {task.family for task in kept}
    missing = [family for family in config.held_out if family not in families]
    if missing or len(families) < 3:
        raise ValueError(
            f"instructions: there are only the families {', '.join(sorted(families))}; three are needed, and among them "
            f"those held out ({', '.join(config.held_out)}): add more text of whole sentences, or hold out another"
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
    trained = [task.name for task in items.tasks if task.family not in config.held_out]
    weights = mixing_weights([counts["train"][name] for name in trained], config.per_task)
    own = {Path(name).stem for name in config.task_files}
    # a task of one's own counts by what it says, not by where it lies
    digests = {task.name: file_sha256(task.path) for task in items.tasks if task.name in own}
    return {
        "held_out": list(config.held_out),
        "items": {name: sum(count.values()) for name, count in counts.items()},
        "settings": {**asdict(config), "task_files": digests},
        "skipped": dict(items.skipped),
        "tasks": {
            task.name: {
                "answer_in_text": task.answer_in_text,
                "answer_type": task.answer_type,
                "family": task.family,
                "items": {name: count[task.name] for name, count in counts.items()},
                "labels": list(task.options),
                "templates": len(task.templates),
            }
            for task in items.tasks
        },
        "weights": dict(zip(trained, weights, strict=True)),
    }


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, one at a time; ValueError with file and line for a broken one."""
    return (line for _, line in numbered_lines(path))


def read_items(path: Path) -> list[InstructionItem]:
    lines = read_lines(path)
    return [InstructionItem(**{**line, "options": tuple(line.get("options", ()))}) for line in lines]


def read_asked(path: Path, families: Sequence[str]) -> list[InstructionItem]:
    """The items of `families`, () for all; a corpus may have none of one of them. ValueError where it has none of any."""
    items = read_items(path)
    asked = [item for item in items if not families or item.family in families]
    if not asked:
        known = ", ".join(sorted({item.family for item in items}))
        raise ValueError(
            f"align.families: {path.name} has no items of {', '.join(families)}; name some of {known}, or [] for all"
        )
    return asked
