"""Tasks as data: the built-in ones differ in form, and whatever is wrong with a file is said with its line."""

import json
import os
import random
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from tasks.evaluation.answer_types import TYPES
from tasks.evaluation.answerable import answerable
from tasks.exercises.exercise import Exercise
from tasks.exercises.makers import MAKERS
from tasks.exercises.task_files import (
    ANSWER_TYPES,
    FEWEST_TEMPLATES,
    MOST_TURNED,
    TaskFile,
    all_tasks,
    built_in_tasks,
    read_task,
)
from tasks.exercises.task_rows import file_exercises
from tasks.exercises.template import slots_in

TASKS = {task.name: task for task in built_in_tasks()}
MOST_ALIKE = 0.53  # as a share of characters that need not be changed to make one wording of another


def distance(one: str, other: str) -> int:
    """How many characters must be put in, left out or changed (Levenshtein): kitten, sitting -> 3."""
    row = list(range(len(other) + 1))
    for place, mine in enumerate(one, start=1):
        before, row[0] = row[0], place
        for column, theirs in enumerate(other, start=1):
            changed = before + (mine != theirs)
            before, row[column] = row[column], min(changed, row[column] + 1, row[column - 1] + 1)
    return row[-1]


def plain(prompt: str) -> str:
    """A wording without what stands in its slots: "Count: {text}" -> "count: #"."""
    return prompt.format_map(dict.fromkeys(slots_in(prompt), "#")).lower()


def alike(one: str, other: str) -> float:
    """Of plain wordings: 1 for the same, 0 for one that shares nothing with the other."""
    return 1 - distance(one, other) / max(len(one), len(other))


def test_distances() -> None:
    assert distance("kitten", "sitting") == 3
    assert distance("", "abc") == distance("abc", "") == 3
    assert plain("Count: {text}") == plain("count: {word}") == "count: #"
    assert alike("kitten", "sitting") == pytest.approx(1 - 3 / 7)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_wordings_of_a_task_differ_in_form_and_not_by_a_synonym(task: TaskFile) -> None:
    assert len(task.templates) >= FEWEST_TEMPLATES
    assert len({template.form for template in task.templates}) >= 8
    wordings = [plain(template.prompt) for template in task.templates]
    near = [(one, other) for one, other in combinations(wordings, 2) if alike(one, other) > MOST_ALIKE]
    assert near == []


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_bound_finds_a_synonym(task: TaskFile) -> None:
    """Each wording of three words or more with its longest word exchanged for one that shares no letter with it."""
    for wording in (plain(template.prompt) for template in task.templates):
        words = [word for word in wording.split() if "#" not in word]
        if len(words) >= 3:
            longest = max(words, key=len)
            assert alike(wording, wording.replace(longest, "§" * len(longest), 1)) > MOST_ALIKE


def test_no_two_tasks_share_a_wording_and_there_are_twelve_tasks_in_eight_families() -> None:
    prompts = [
        template.prompt for task in TASKS.values() for template in task.templates if plain(template.prompt) != "#"
    ]
    assert len(set(prompts)) == len(prompts)
    assert len(TASKS) >= 12
    families = {task.family for task in TASKS.values()}
    assert len(families) >= 8
    assert {related for task in TASKS.values() for related in task.related} <= families


def test_what_a_task_may_answer_is_what_evaluation_can_check() -> None:
    assert sorted(ANSWER_TYPES) == sorted(TYPES)


def templates(*instead: str, count: int = FEWEST_TEMPLATES) -> str:
    lines = [f'  - {{form: order, prompt: "{number} {{text}}"}}' for number in range(count)]
    return "\n".join((*instead, *lines[len(instead) :]))


def written(**changed: str) -> str:
    """A task file that is right but for what is `changed`; "" leaves a key out."""
    parts = {
        "family": "own",
        "source": "{maker: last_letters}",
        "slots": "[]",
        "answer_type": "letters",
        "options": "[]",
        "templates": "\n" + templates(),
        **changed,
    }
    return "".join(f"{key}: {value}\n" for key, value in parts.items() if value)


TURNED = [f'  - {{form: turned, prompt: "{number} {{answer}}", answer: "{{text}}"}}' for number in range(4)]
WRONG = {
    "a field that is missing": (written(family=""), 1, "family is missing; write family: … here"),
    "an unknown key": (written(familly="x"), 17, "unknown key familly; did you mean family?"),
    "a key given twice": (written() + "family: x\n", 17, "the key family is given twice; keep one"),
    "an unknown maker": (
        written(source="{maker: last_leters}"), 2, "there is no maker last_leters; did you mean last_letters?",
    ),
    "an unknown material": (
        written(source="{corpus: phrase, maker: number}"), 2, "there is no material phrase; did you mean phrases?",
    ),
    "a maker of other material": (
        written(source="{corpus: words, maker: number}"), 2, "there is no maker of words number; there are first_letter",
    ),
    "a source of nothing": (written(source="{}"), 2, "maker is missing; write maker: … here"),
    "a file that is not there": (
        written(source="{file: no.csv, fields: {text: a, answer: b}}"), 2,
        "there is no file FOLDER/no.csv; name one beside this file, or by its whole path",
    ),
    "an unknown answer type": (
        written(answer_type="letter"), 4, "there is no answer_type letter; did you mean letters?",
    ),
    "an option that is never answered": (
        written(source="{corpus: phrases, maker: contains}", options='["yes", maybe]'), 5,
        "contains never answers maybe; there are yes, no",
    ),
    "closed answers without options": (
        written(source="{corpus: phrases, maker: contains}"), 5,
        "the answers of contains are closed; write options: [yes, no]",
    ),
    "an option given twice": (written(options="[a, b, a]"), 5, "a is given twice; keep one"),
    "too few templates": (
        written(templates="\n" + templates(count=9)), 7, "9 templates, and a task has at least 10; add other forms",
    ),
    "too many turned around": (
        written(templates="\n" + templates(*TURNED)),
        10, "more than 3 templates are turned around; ask for the answer in this one",
    ),
    "an unknown form": (
        written(templates="\n" + templates('  - {form: quesion, prompt: "{text}"}')), 7,
        "there is no form quesion; did you mean question?",
    ),
    "an unknown variable": (
        written(templates="\n" + templates('  - {form: order, prompt: "a {tex}"}')), 7,
        "unknown template variable {tex}; did you mean text?, or name it in slots",
    ),
    "braces that are no slot": (
        written(templates="\n" + templates("""  - {form: json, prompt: '{"a": "{text}"}'}""")), 7,
        'braces that are no slot ({"a": "{text}"}); double them, as {{ and }}',
    ),
    "an attribute of a slot": (
        written(templates="\n" + templates('  - {form: order, prompt: "{text.__class__}"}')), 7,
        "braces that are no slot ({text.__class__}); double them, as {{ and }}",
    ),
    "a prompt without a slot": (
        written(templates="\n" + templates('  - {form: order, prompt: "say yes"}')), 7,
        "the prompt shows nothing of the exercise; put {text} into it",
    ),
    "the same prompt again": (
        written(templates="\n" + templates('  - {form: order, prompt: "1 {text}"}')), 8,
        "the same prompt as that of task/0; word it in another form",
    ),
    "turned around in name only": (
        written(templates="\n" + templates('  - {form: turned, prompt: "a {text}"}')), 7,
        "a template of the form turned, and no other, has an answer of its own; for example {text}",
    ),
    "a list where a text belongs": (written(family="[a]"), 1, "expected one value, found a list"),
    "nothing where a text belongs": (written(family='""'), 1, "there is nothing here; write a text"),
    "no YAML": ("family: [a\nsource: {", 2, "not valid YAML (expected ',' or ']', but got ':'); quote what holds signs"),
    "an empty file": ("", 1, "the file is empty; write family, source, answer_type and templates"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "sentence"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_one_sentence_with_its_line(text: str, line: int, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        read_task(path)
    assert str(caught.value) == f"{path}, line {line}: {sentence.replace('FOLDER', str(tmp_path))}"


def test_a_right_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(written(related="[symbolic]", slots="[]", options="[yes, no]", answer_type="yes_no"))
    task = read_task(path)
    assert (task.name, task.family, task.related, task.options) == ("own", "own", ("symbolic",), ("yes", "no"))
    assert task.templates[3].fill(Exercise(text="{a}", answer="b")) == ("3 {a}", "b")
    assert [each.name for each in all_tasks([path])] == sorted([*TASKS, "own"])
    (tmp_path / "plural.yaml").write_text(written())
    with pytest.raises(ValueError, match=r"there is a task plural already \(.*\); rename the file$"):
        all_tasks([tmp_path / "plural.yaml"])
    (tmp_path / "near.yaml").write_text(written(related="[symbolik]"))
    with pytest.raises(ValueError, match=r"near.yaml: related: there is no family symbolik; did you mean symbolic\?$"):
        all_tasks([tmp_path / "near.yaml"])


@pytest.fixture
def of_rows(tmp_path: Path) -> Callable[..., TaskFile]:
    """of_rows("rows.csv", text, "{text: q, answer: a}") -> a task whose exercises stand in that file."""

    def write(
        name: str, text: str, fields: str, options: str = "[]", slots: str = "[]", kind: str = "text"
    ) -> TaskFile:
        (tmp_path / name).write_text(text, encoding="utf-8")
        source = f"{{file: {name}, fields: {fields}}}"
        (tmp_path / "own.yaml").write_text(written(source=source, answer_type=kind, options=options, slots=slots))
        return read_task(tmp_path / "own.yaml")

    return write


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'q,a,w,why\n"two, or\nmore",yes,or,because\n3,no,-,so\n'),
        ("a.tsv", 'q\ta\tw\twhy\n"two, or\nmore"\tyes\tor\tbecause\n3\tno\t-\tso\n'),
        ("a.jsonl", '{"q": "two, or\\nmore", "a": "yes", "w": "or", "why": "because"}\n'
         '{"q": 3, "a": "no", "w": "-", "why": "so"}\n'),
        ("a.json", '[{"q": "two, or\\nmore", "a": "yes", "w": "or", "why": "because"},{"q": 3,"a":"no","w":"-","why":"so"}]'),
    ],
)  # fmt: skip
def test_a_task_of_ones_own_rows(name: str, text: str, of_rows: Callable[..., TaskFile]) -> None:
    task = of_rows(name, text, "{text: q, answer: a, word: w, rationale: why}", options="[yes, no]", slots="[word]")
    first, second = file_exercises(task, answerable)
    options = ("yes", "no")
    slots = {"word": "or"}
    assert first == Exercise(text="two, or\nmore", answer="yes", slots=slots, rationale="because", options=options)
    assert (second.text, second.answer, second.slots) == ("3", "no", {"word": "-"})


def test_a_row_may_have_options_of_its_own(of_rows: Callable[..., TaskFile]) -> None:
    task = of_rows("a.jsonl", '{"q": "x", "a": "b", "c": ["a", "b"]}\n', "{text: q, answer: a, options: c}")
    assert [each.options for each in file_exercises(task, answerable)] == [("a", "b")]


BAD_ROWS = {
    "a label outside its options": (
        "a.csv", "q,a\nx,yes\ny,maybe\n", "{text: q, answer: a}", "[yes, no]",
        "line 3: the answer 'maybe' is none of the options yes, no; correct it, or add it to the options in FOLDER/own.yaml",
    ),
    "a field that is not there": (
        "a.jsonl", '{"q": "x", "b": "y"}\n', "{text: q, answer: a}", "[]",
        "line 1: no field a; it has q, b: name one for answer in fields",
    ),
    "an empty answer": (
        "a.jsonl", '{"q": "x", "a": "y"}\n\n{"q": "x", "a": " "}\n', "{text: q, answer: a}", "[]",
        "line 3: a is empty; write the answer there, or leave the row out",
    ),
    "a number of cells": (
        "a.csv", "q,a\nx,yes,1\n", "{text: q, answer: a}", "[]",
        "line 2: other than the 2 cells that the first line names; mend the quotes",
    ),
    "a column twice": (
        "a.csv", "q,a,a\nx,yes,no\n", "{text: q, answer: a}", "[]",
        "line 1: a column is named twice (q, a, a); give each a name of its own",
    ),
    "a quotation mark without another": (
        "a.csv", 'q,a\nx,y\n"z,y\n', "{text: q, answer: a}", "[]",
        "line 3: unexpected end of data; mend the quotes, or shorten the cell",
    ),
    "options in a table": (
        "a.csv", "q,a,c\nx,y,y\n", "{text: q, answer: a, options: c}", "[]",
        "line 2: c is no list of texts; write one, in JSON lines as a table has none",
    ),
    "half a character": (
        "a.jsonl", '{"q": "\\ud83d", "a": "y"}\n', "{text: q, answer: a}", "[]",
        "line 1: q has half a character, which no file holds; mend its escapes",
    ),
    "a list": (
        "a.json", '[{"q": ["x"], "a": "y"}]', "{text: q, answer: a}", "[]", "row 1: q is list; write a text or a number",
    ),
    "no object": ("a.jsonl", '"x"\n', "{text: q, answer: a}", "[]", "line 1: expected fields and values, found str"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "fields", "options", "sentence"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_wrong_row_is_one_sentence_with_its_line(
    name: str, text: str, fields: str, options: str, sentence: str, of_rows: Callable[..., TaskFile], tmp_path: Path
) -> None:
    task = of_rows(name, text, fields, options=options)
    with pytest.raises(ValueError) as caught:
        file_exercises(task, answerable)
    assert str(caught.value) == f"{tmp_path / name}, {sentence.replace('FOLDER', str(tmp_path))}"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_file_of_rows_that_may_not_be_read_is_one_sentence(
    name: str, of_rows: Callable[..., TaskFile], tmp_path: Path
) -> None:
    task = of_rows(name, "q,a\n1,2\n", "{text: q, answer: a}")
    (tmp_path / name).chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read all
        os.seteuid(65534)
    try:
        with pytest.raises(ValueError, match=rf"{name}: may not be read; change its rights"):
            file_exercises(task, answerable)
    finally:
        os.seteuid(user)


def test_a_broken_file_of_rows_has_no_place_in_its_sentence(of_rows: Callable[..., TaskFile]) -> None:
    task = of_rows("a.json", "[1,", "{text: q, answer: a}", options="[]")
    with pytest.raises(ValueError, match=r"a\.json: invalid JSON .*; mend this file$"):
        file_exercises(task, answerable)


NUMBER = "one number in digits (a whole one without .0)"


@pytest.mark.parametrize(
    ("kind", "options", "answer", "found", "mend"),
    [
        ("number", "[]", "seven", "nothing is found in 'seven'", NUMBER),
        ("number", "[]", "3 to 4", "'4' is found in '3 to 4'", NUMBER),
        ("number", "[]", "145.0", "'145.0' is found in '145.0'", NUMBER),
        ("yes_no", "[ja, nein]", "ja", "nothing is found in 'ja'", "yes or no"),
        ("choice", "[a car, a ship]", "a ship", "nothing is found in 'a ship'", "the letter of an option"),
        ("choice", "[A, C]", "C", "nothing is found in 'C'", "the letter of an option"),  # two options are A and B
        ("text", "[]", "an inn\nof stone", "'an inn' is found in 'an inn\\nof stone'", "one line"),
    ],
)
def test_a_row_whose_answer_could_never_be_right_is_named(
    kind: str, options: str, answer: str, found: str, mend: str, of_rows: Callable[..., TaskFile], tmp_path: Path
) -> None:
    rows = f"{json.dumps({'q': 'x', 'a': answer})}\n"
    task = of_rows("a.jsonl", rows, "{text: q, answer: a}", options=options, kind=kind)
    with pytest.raises(ValueError) as caught:
        file_exercises(task, answerable)
    assert str(caught.value) == (
        f"{tmp_path / 'a.jsonl'}, line 1: no model could be right, since as {kind} {found}; write {mend} there, or another "
        f"answer_type into {tmp_path / 'own.yaml'}"
    )


@pytest.mark.parametrize(
    ("kind", "options", "answer"),
    [
        ("number", "[]", "1,800"), ("number", "[]", "-0.5"), ("yes_no", "[yes, no]", "no"), ("choice", "[A, B, C]", "C"),
        ("letters", "[]", "f n e l"), ("text", "[]", "New Delhi"), ("text", "[]", "the"), ("summary", "[]", "a\nb"),
        ("code", "[]", "assert f(1) == 2"),
    ],
)  # fmt: skip
def test_a_row_whose_answer_can_be_given_is_read(
    kind: str, options: str, answer: str, of_rows: Callable[..., TaskFile]
) -> None:
    rows = f"{json.dumps({'q': 'x', 'a': answer})}\n"
    task = of_rows("a.jsonl", rows, "{text: q, answer: a}", options=options, kind=kind)
    assert [each.answer for each in file_exercises(task, answerable)] == [answer]


@pytest.mark.parametrize("name", TASKS)
def test_every_answer_of_a_built_in_task_can_be_given(name: str) -> None:
    task, chance = TASKS[name], random.Random(name)
    drawn = [MAKERS[task.source.maker](chance) for _ in range(100)] if not task.source.corpus else []
    answers = [(each.answer, each.options) for each in drawn] or [(each, task.options) for each in task.options]
    assert [reason for said, of in answers for can, reason in [answerable(said, task.answer_type, of)] if not can] == []


@pytest.mark.parametrize(("name", "sentence"), [("a.csv", "there is no row in it"), ("a.xml", "not read as rows")])
def test_a_file_without_rows(name: str, sentence: str, of_rows: Callable[..., TaskFile]) -> None:
    with pytest.raises(ValueError, match=sentence):
        file_exercises(of_rows(name, "q,a\n", "{text: q, answer: a}"), answerable)


def test_a_table_that_is_not_utf_8_is_a_sentence(of_rows: Callable[..., TaskFile], tmp_path: Path) -> None:
    task = of_rows("a.csv", "", "{text: q, answer: a}")
    (tmp_path / "a.csv").write_bytes("q,a\n안녕,네\n".encode("cp949"))
    with pytest.raises(ValueError, match=r"a\.csv: not in UTF-8 \(.*\); save it as UTF-8$"):
        file_exercises(task, answerable)


def test_options_that_nothing_fills_are_no_variable(of_rows: Callable[..., TaskFile], tmp_path: Path) -> None:
    of_rows("a.csv", "q,a\nx,y\n", "{text: q, answer: a}")
    path = tmp_path / "own.yaml"
    path.write_text(
        path.read_text().replace('{form: order, prompt: "0 {text}"}', '{form: choice, prompt: "{options} {text}"}')
    )
    with pytest.raises(ValueError, match=r"line 7: unknown template variable \{options\}"):
        read_task(path)


def test_there_are_no_more_turned_around_than_may_be() -> None:
    assert max(sum(each.turned_around for each in task.templates) for task in TASKS.values()) <= MOST_TURNED
