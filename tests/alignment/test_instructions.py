"""Instruction items from a corpus: wordings of different form, a family held out, and answers that are right."""

import dataclasses
import json
import os
import re
import shutil
import string
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import chi2

from tasks.alignment.__main__ import instructions as instructions_stage
from tasks.alignment.drawing import InstructionItem
from tasks.alignment.instructions import (
    InstructionConfig,
    InstructionSet,
    build_instructions,
    check_asked,
    mixing_weights,
    read_items,
    removed_families,
)
from tasks.artifacts import read_artifact, verify
from tasks.corpus.__main__ import STAGES, run
from tasks.corpus.documents import SPLITS, read_documents
from tasks.corpus.words import words_of
from tasks.evaluation.answers import shallow_rules
from tasks.exercises.corpus_makers import NUMBERS
from tasks.exercises.task_files import built_in_tasks

CHECKOUT = Path(__file__).resolve().parents[2]
TASKS = {task.name: task for task in built_in_tasks()}
OF_CORPUS = {name: task for name, task in TASKS.items() if task.source.corpus}
HELD_OUT_FAMILY = "completion"
SMALL = InstructionConfig(per_task=300, unseen_per_task=40, fewest_train_items=30, fewest_unseen_items=10)


@dataclasses.dataclass(frozen=True)
class Made:
    """A checkout whose instruction set is made, and all the text it was made from, with single spaces."""

    checkout: Path
    folder: Path
    text: str

    def items(self, *names: str) -> list[InstructionItem]:
        return [
            item
            for name in names or ("train", "valid", "held_out")
            for item in read_items(self.folder / f"{name}.jsonl")
        ]


def make(checkout: Path, name: str) -> Made:
    for stage in STAGES:
        run(stage, name, checkout)
    instructions_stage(name, checkout)
    data = checkout / ".espalier" / "data" / name
    documents = [item for split in SPLITS for item in read_documents(data / "split" / f"{split}.jsonl")]
    text = " ".join(" ".join(document.text.split()) for document in documents)
    return Made(checkout, data / "instructions", text)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The tiny corpus of params.yaml itself."""
    checkout = tmp_path_factory.mktemp("tiny")
    shutil.copy(CHECKOUT / "params.yaml", checkout)
    return make(checkout, "tiny")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Made:
    """Speeches, human rights in three hundred languages, and Korean laws."""
    checkout = tmp_path_factory.mktemp("foreign")
    paths = ("public_domain_text/inaugural.zip", "public_domain_text/udhr2.zip", "ko_public_text")
    sources = [{"path": str(test_data / path), "name": path.replace("/", "-")} for path in paths]
    params = {"corpora": {"own": {"sources": sources}}, "instructions": {"own": {"per_task": 500}}}
    (checkout / "params.yaml").write_text(json.dumps(params))
    return make(checkout, "own")


def words_in(text: str) -> list[str]:
    """Words, or letters where the script writes no spaces."""
    return text.split() if " " in text else list(text)


def filled(item: InstructionItem) -> dict[str, str]:
    """What stands in the slots of an item's wording, read back from the finished prompt."""
    template = next(each for each in TASKS[item.task].templates if each.name == item.template)
    parts = string.Formatter().parse(template.prompt)
    pattern = "".join(re.escape(said) + (f"(?P<{name}>.+)" if name else "") for said, name, _, _ in parts)
    found = re.fullmatch(pattern, item.prompt)
    assert found, item
    return found.groupdict()


def marked(item: InstructionItem) -> bool:
    if item.template.endswith("/9"):  # turned around: the place is given, the word asked for
        return f"[{item.answer}]" in item.input and right_place(item.input) == filled(item)["answer"]
    return right_place(item.input) == item.answer


def right_place(text: str) -> str:
    before, _, after = re.split(r"\[(.+)\]", text)
    return "start" if not before else "middle" if after else "end"


def definition(item: InstructionItem, text: str) -> str:
    if " = " in item.input:
        return "constant"
    if f"class {item.input}" in text:
        return "class"
    assert f"def {item.input}" in text
    return "method" if re.search(r"\((self|cls)\b", item.input) else "function"


CHECKS: dict[str, Callable[[InstructionItem, Made], bool]] = {
    "count_words": lambda item, _: NUMBERS[len(words_in(item.input)) - 1] == item.answer,
    "first_letter": lambda item, _: item.input.startswith(item.answer) and len(item.answer) == 1,
    "position": lambda item, _: marked(item),
    "kind_of_definition": lambda item, made: definition(item, made.text) == item.answer,
    "spelling": lambda item, made: (item.input in made.text) == (item.answer == "correct"),
    "contains": lambda item, _: (filled(item)["word"] in words_in(item.input)) == (item.answer == "yes"),
    "brackets": lambda item, _: (item.input.count("(") == item.input.count(")")) == (item.answer == "yes"),
    "marked_word": lambda item, _: f"[{item.answer}]" in item.input,
    "number": lambda item, _: re.findall(r"\d+", item.input) == [item.answer],
    "cloze": lambda item, made: item.input.replace("___", item.answer) in made.text,
    "next_word": lambda item, made: any(item.input + gap + item.answer in made.text for gap in (" ", "")),
    "describe": lambda item, made: (
        (item.answer in made.text and f"def {item.input}" in made.text) or f"class {item.input}" in made.text
    ),
}


def test_every_answer_is_right_by_another_way_of_finding_it(tiny: Made) -> None:
    items = [item for item in tiny.items() if item.task in OF_CORPUS]
    assert set(CHECKS) == {item.task for item in items} == set(OF_CORPUS)
    wrong = [item for item in items if not CHECKS[item.task](item, tiny)]
    assert wrong == []


def test_foreign_text_gives_six_tasks_in_three_families_with_right_answers(foreign: Made) -> None:
    items = [item for item in foreign.items() if item.task in OF_CORPUS]
    assert len({item.task for item in items}) >= 6
    assert len({item.family for item in items}) >= 3
    assert {item.family for item in foreign.items("held_out")} == {HELD_OUT_FAMILY}
    assert [item for item in items if not CHECKS[item.task](item, foreign)] == []
    assert sum(bool(re.search("[가-힣]", item.prompt)) for item in items) > 10
    assert sum(bool(re.search("[\u0e00-\u0e7f\u4e00-\u9fff]", item.prompt)) for item in items) > 5


@pytest.mark.parametrize("held_out", [("completion",), ("symbolic",), ("judgement", "extraction")], ids=str)
def test_no_wording_and_no_text_of_a_held_out_family_is_trained_on(held_out: tuple[str, ...], tiny: Made) -> None:
    made = build_instructions(tiny.folder.parent / "split", dataclasses.replace(SMALL, held_out=held_out))
    assert {item.family for item in made.held_out} == set(held_out)
    assert {item.family for item in (*made.train, *made.valid)}.isdisjoint(held_out)
    wordings = {each.name: each.prompt for task in TASKS.values() for each in task.templates}
    apart = {each.prompt for task in TASKS.values() if task.family in held_out for each in task.templates}
    assert apart.isdisjoint({wordings[item.template] for item in (*made.train, *made.valid)})
    assert {item.input for item in made.held_out}.isdisjoint({item.input for item in made.train})
    assert {item.prompt for item in made.held_out}.isdisjoint({item.prompt for item in made.train})
    texts = {text.rstrip(".") for item in made.train for text in (item.input, item.answer)}
    assert {item.answer for item in made.held_out if item.answer.count(" ") > 1}.isdisjoint(texts)


def test_families_related_to_a_held_out_one_are_left_out_with_it() -> None:
    """Declared by the tasks of the held-out family: completion -> related."""
    tasks = [
        dataclasses.replace(task, related=("form", "symbolic")) if task.name == "cloze" else task
        for task in TASKS.values()
    ]
    assert removed_families(tasks, ("completion",)) == {"completion", "form", "symbolic"}
    assert removed_families(tasks, ("form",)) == {"form"}  # what is related to a family is said by that family
    with pytest.raises(ValueError, match=r"^instructions\.held_out: there is no family fom; did you mean form\?$"):
        removed_families(tasks, ("fom",))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("form", r"expected a list, for example \[form\], found 'form'$"),
        (True, r"expected a list, for example \[form\], found True$"),
        ([1], "1 is none of the families that params.yaml trains on; there are arithmetic, "),
        (["completion"], "completion is none of the families that params.yaml trains on; there are arithmetic, "),
    ],
)
def test_families_for_rlhf_that_are_none_are_a_sentence(asked: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^align\.families: {sentence}"):
        check_asked(InstructionConfig(), asked)
    check_asked(InstructionConfig(), ["form"])


def test_a_family_that_is_held_out_must_be_one_of_those_that_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"held_out: completion is none of instructions\.families \(form\); add it there"
    ):
        check_asked(InstructionConfig(families=("form",)), [])


def test_unseen_items_ask_about_nothing_that_was_trained_on(tiny: Made) -> None:
    trained = tiny.items("train")
    asked = {(item.task, item.input) for item in trained}
    assert not [item for item in tiny.items("valid") if (item.task, item.input) in asked]
    prompts = {item.prompt for item in trained}
    assert not [item for item in tiny.items("valid", "held_out") if item.prompt in prompts]


def test_what_one_task_asks_unseen_no_other_task_without_a_corpus_trains_on(tiny: Made) -> None:
    """What is a petal part of? is asked by two tasks, and a word by several."""
    turned = {each.name for task in TASKS.values() for each in task.templates if each.turned_around}
    own = [item for item in tiny.items("train") if item.task not in OF_CORPUS and item.template not in turned]
    asked = {item.input for item in tiny.items("valid") if item.task not in OF_CORPUS}
    assert len(asked) > 100
    assert asked.isdisjoint({item.input for item in own})


def test_unseen_items_ask_for_the_answer_and_trained_ones_are_turned_around_too(tiny: Made) -> None:
    turned = {each.name for task in TASKS.values() for each in task.templates if each.turned_around}
    assert {item.template for item in tiny.items("valid", "held_out")}.isdisjoint(turned)
    of_turned = [item for item in tiny.items("train") if item.template in turned]
    assert {item.template for item in of_turned} == {
        name for name in turned if TASKS[name.split("/")[0]].family != "completion"
    }
    assert {item.answer_type for item in of_turned} == {"text"}


def test_wordings_are_chosen_uniformly(tiny: Made) -> None:
    """By chi-square over all tasks together: one degree of freedom for each wording but one of each task."""
    used: dict[str, Counter[str]] = defaultdict(Counter)
    for item in tiny.items("train"):
        used[item.task][item.template] += 1
    statistic = freedom = 0.0
    for task, counts in used.items():
        wordings = len(TASKS[task].templates)
        expected = counts.total() / wordings
        statistic += sum((counts[f"{task}/{place}"] - expected) ** 2 / expected for place in range(wordings))
        freedom += wordings - 1
    assert chi2.sf(statistic, freedom) > 1e-3
    assert chi2.sf(statistic * 2, freedom) < 1e-3  # twice as uneven would be found


def test_answers_cannot_be_copied_or_guessed(tiny: Made) -> None:
    """At least two tasks whose answer does not stand in the prompt; closed answers even; no open answer too frequent."""
    hidden = set()
    for task in OF_CORPUS.values():
        items = [item for item in tiny.items() if item.task == task.name]
        choices = {template.name for template in task.templates if template.form == "choice"}
        free = [item for item in items if item.template not in choices]
        if sum(item.answer in words_of(item.prompt) for item in free) < 0.05 * len(free):
            hidden.add(task.name)
        said = Counter(item.answer for item in items if not (task.name == "position" and item.template.endswith("/9")))
        if task.options:
            assert set(said) == set(task.options)
            assert (
                max(said.values()) <= 1.4 * sum(said.values()) / len(task.options) or task.name == "kind_of_definition"
            )
        elif task.family != HELD_OUT_FAMILY:
            assert max(said.values()) <= 0.06 * len(items)
    assert hidden >= {"count_words", "next_word"}


def test_no_task_is_answered_by_copying_the_text_or_a_word_of_it(tiny: Made) -> None:
    """As answers are compared, without case: "write key in upper case" would be."""
    items = [dataclasses.asdict(item) for item in tiny.items("train")]
    rules = shallow_rules(items, items)
    assert max(each["copy"]["exact_match"] for each in rules.values()) < 0.6


def test_items_fit_their_bounds_and_their_names_are_unique(tiny: Made) -> None:
    items = tiny.items()
    assert all(len(item.prompt.encode()) <= 300 and 0 < len(item.answer.encode()) <= 60 for item in items)
    assert len({item.id for item in items}) == len(items)
    assert all(item.input in item.prompt for item in items if item.task in OF_CORPUS)
    counts = Counter(item.task for item in tiny.items("train"))
    assert max(counts.values()) <= SMALL.per_task


def test_the_folder_is_sealed_and_its_index_says_what_is_there(tiny: Made) -> None:
    assert verify(tiny.folder) == (True, "")
    assert read_artifact(tiny.folder).parents == (read_artifact(tiny.folder.parent / "split").digest,)
    index = json.loads((tiny.folder / "index.json").read_text())
    assert index["items"] == {name: len(tiny.items(name)) for name in ("train", "valid", "held_out")}
    assert index["held_out"] == [HELD_OUT_FAMILY]
    assert index["skipped"] == {}
    assert set(index["weights"]) == {item.task for item in tiny.items("train")}
    assert sum(index["weights"].values()) == pytest.approx(1)


def test_the_same_corpus_gives_the_same_bytes_in_another_process(tiny: Made) -> None:
    before = {path.name: path.read_bytes() for path in tiny.folder.iterdir()}
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONHASHSEED": "5"}
    command = [sys.executable, "-m", "tasks.alignment", "instructions", "tiny"]
    result = subprocess.run(command, cwd=tiny.checkout, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert {path.name: path.read_bytes() for path in tiny.folder.iterdir()} == before


def ids(items: InstructionSet) -> set[str]:
    return {item.id for item in (*items.train, *items.valid, *items.held_out)}


def test_one_more_document_changes_little_but_its_own_items(tiny: Made, tmp_path: Path) -> None:
    families = tuple({task.family for task in OF_CORPUS.values()})
    much = {"per_task": 100_000, "unseen_per_task": 100_000, "largest_answer_share": 1.0}
    config = dataclasses.replace(SMALL, families=families, **much)
    split = tmp_path / "split"
    shutil.copytree(tiny.folder.parent / "split", split)
    before = ids(build_instructions(split, config))
    text = "The gardener waters every young tree before the sun stands high over the wall. " * 2
    document = {"group": "new", "id": "new", "kind": "text", "text": text}
    with (split / "train.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(document) + "\n")
    after = ids(build_instructions(split, config))
    assert 10 < len(after - before) < 60
    assert len(before - after) < 20


def test_too_little_text_ends_in_a_sentence_that_names_what_lacks(tmp_path: Path) -> None:
    for name in SPLITS:
        document = {"group": name, "id": name, "kind": "text", "text": f"The {name} text has one whole sentence only."}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(document) + "\n")
    with pytest.raises(
        ValueError, match=r"^instructions: the corpus gives \d tasks and 6 are needed \(.*at least 30 needed"
    ):
        build_instructions(tmp_path, SMALL)
    with pytest.raises(ValueError, match="every count must be at least 1"):
        InstructionConfig(per_task=0)


def test_mixing_weights_are_proportional_up_to_the_cap() -> None:
    """3000 + 3000 + 1500 + 100 = 7600."""
    weights = mixing_weights((1_000_000, 30_000, 1500, 100), 3000)
    assert weights == pytest.approx((3000 / 7600, 3000 / 7600, 1500 / 7600, 100 / 7600))
