"""The task files of the makers: ten forms that differ, filled with real exercises, short enough for a small model."""

import random
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.exercises import table_files
from tasks.exercises.exercise import Exercise
from tasks.exercises.makers import MAKERS

FOLDER = Path(table_files.__file__).with_name("tasks")
FILES = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml"))}
TASKS = {name: file for name, file in FILES.items() if "corpus" not in file["source"]}
LONGEST_PROMPT = 230  # bytes; the smallest models read 256 tokens
MOST_SHARED = 0.5


def filled(task: dict[str, Any], template: dict[str, str], item: Exercise) -> tuple[str, str]:
    slots = {**{slot: item.slots[slot] for slot in task["slots"]}, "options": ", ".join(item.options)}
    slots |= {"text": item.text, "answer": item.answer}
    return template["prompt"].format_map(slots), template.get("answer", "{answer}").format_map(slots)


def own_words(prompt: str) -> set[str]:
    return set(re.findall("[a-z]+", re.sub(r"\{\w+\}", " ", prompt.lower())))


def test_every_maker_has_its_task_in_one_of_six_families() -> None:
    assert {task["source"]["maker"] for task in TASKS.values()} == set(MAKERS)
    families = {task["family"] for task in TASKS.values()}
    assert {"arithmetic", "symbolic", "commonsense", "editing", "language", "closed_book"} <= families
    assert all(set(task["related"]) <= {*families, "completion"} for task in TASKS.values())


@pytest.mark.parametrize("name", TASKS)
def test_ten_wordings_of_which_few_are_turned_around(name: str) -> None:
    templates = TASKS[name]["templates"]
    turned = [template for template in templates if template["form"] == "turned"]
    assert len(templates) >= 10
    assert len(turned) <= 3
    assert all(("answer" in template) == (template in turned) for template in templates)
    assert len({template["form"] for template in templates}) >= 8


@pytest.mark.parametrize("name", TASKS)
def test_wordings_share_few_words(name: str) -> None:
    for first, second in combinations(TASKS[name]["templates"], 2):
        one, other = own_words(first["prompt"]), own_words(second["prompt"])
        assert len(one & other) <= MOST_SHARED * max(1, len(one | other)), (first, second)


@pytest.mark.parametrize("name", TASKS)
def test_a_filled_wording_is_short_and_shows_what_is_asked(name: str) -> None:
    task, chance = TASKS[name], random.Random(1)
    for item in [MAKERS[task["source"]["maker"]](chance) for _ in range(200)]:
        for template in task["templates"]:
            prompt, answer = filled(task, template, item)
            assert len(prompt.encode()) <= LONGEST_PROMPT
            assert answer.strip()
            given = item.answer if template["form"] == "turned" else item.text
            shown = [given, item.slots.get("claim", given), item.slots.get("story", given), *item.options[:1]]
            assert any(part in prompt for part in shown), prompt


@pytest.mark.parametrize("name", TASKS)
def test_options_and_check_are_those_of_the_exercises(name: str) -> None:
    task = TASKS[name]
    item = MAKERS[task["source"]["maker"]](random.Random(2))
    if task["options"]:
        assert tuple(task["options"]) == item.options
    if task["answer_type"] == "number":
        assert item.answer.isdigit()
    assert task["answer_in_text"] == (name == "compare_numbers")
