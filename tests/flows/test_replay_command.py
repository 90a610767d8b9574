"""`espalier evaluate --replay`: decisions and figures of a file worked out by hand, and what is refused."""

import gzip
import inspect
import io
import json
import os
import random
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cli import main
from flows.replay_tables import replay_report
from tasks.evaluation.answer_types import known_benchmarks
from tasks.evaluation.extraction import extract, modes
from tasks.evaluation.golds import is_right
from tasks.evaluation.replay import DECIDING

EVALUATION = Path(inspect.getfile(is_right)).parent

LINES: list[dict[str, Any]] = [
    {"benchmark": "gsm8k", "shots": 5, "completion": "9 * 2 = 18\n#### 18", "gold": "16 - 7 = 9\n#### 18"},
    {"benchmark": "gsm8k", "shots": 5, "completion": "#### 1,800", "gold": "18"},
    {"benchmark": "gsm8k", "shots": 5, "completion": "no idea", "gold": 18},
    {"benchmark": "gsm8k", "shots": 0, "mode": "zero_shot_cot", "completion": " 18.", "gold": "18"},
    {"benchmark": "gsm8k_cot", "shots": 8, "completion": "So. The answer is 18.", "gold": "18"},
    {"benchmark": "strategyqa", "mode": "zero_shot", "completion": " not known.", "gold": True},
    {"benchmark": "trivia", "answer_type": "text", "completion": "the Eiffel Tower!\nIt", "gold": ["x", "Eiffel tower"]},
    {"benchmark": "trivia", "answer_type": "text", "completion": "Eiffel", "gold": "Eiffel Tower"},
    {"answer_type": "choice", "choices": ["red", "blue"], "completion": "The answer is (B).", "gold": "blue"},
    {"benchmark": "xsum", "completion": "police kill the gunman", "gold": "police killed the gunman"},
]  # fmt: skip

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def espalier_said(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(each) for each in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def replayed(tmp_path: Path, espalier_said: Said) -> Callable[..., dict[str, Any]]:
    """replayed(lines) -> the document of the command."""

    def run(lines: list[dict[str, Any]], *more: str) -> dict[str, Any]:
        status, said, error = espalier_said("evaluate", "--replay", written(tmp_path, lines), "--json", *more)
        assert status == 0, error
        return dict(json.loads(said))

    return run


Replayed = Callable[..., dict[str, Any]]


def written(folder: Path, lines: list[Any], name: str = "completions.jsonl") -> Path:
    path = folder / name
    text = (each if isinstance(each, str) else json.dumps(each) for each in lines)
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def test_every_decision_has_its_answer_its_verdict_and_its_rule(replayed: Replayed) -> None:
    decisions = replayed(LINES)["decisions"]
    found = [(each["line"], each["extracted"], each["gold"], each["verdict"], each["rule"]) for each in decisions]
    assert found == [
        (1, "18", "18", "right", "strict"),
        (2, "1,800", "18", "wrong", "strict"),
        (3, None, "18", "unparsed", "few_shot"),
        (4, "18", "18", "right", "zero_shot_cot"),
        (5, "18", "18", "right", "answer_is"),
        (6, None, "yes", "unparsed", "zero_shot"),
        (7, "the Eiffel Tower!", ["x", "Eiffel tower"], "right", "few_shot"),
        (8, "Eiffel", "Eiffel Tower", "wrong", "few_shot"),
        (9, "B", "B", "right", "careful_choice"),
        (10, "police kill the gunman", "police killed the gunman", "wrong", "few_shot"),
    ]


def test_shots_and_rules_are_never_averaged_together(replayed: Replayed) -> None:
    rows = replayed(LINES)["rows"]
    found = {(row["benchmark"], row["shots"], row["mode"], row["metric"]): row for row in rows}
    assert len(found) == len(rows)
    assert {key: (row["value"], row["n"], row["unparsed"]) for key, row in found.items()} == {
        ("gsm8k", 5, "auto", "exact_match"): (pytest.approx(1 / 3), 3, 1),
        ("gsm8k", 0, "zero_shot_cot", "exact_match"): (1.0, 1, 0),
        ("gsm8k_cot", 8, "answer_is", "exact_match"): (1.0, 1, 0),
        ("strategyqa", None, "zero_shot", "exact_match"): (0.0, 1, 1),
        ("trivia", None, "auto", "exact_match"): (0.5, 2, 0),
        ("trivia", None, "auto", "f1"): (pytest.approx((1 + 2 / 3) / 2), 2, 0),
        ("choice", None, "auto", "exact_match"): (1.0, 1, 0),
        ("xsum", None, "auto", "exact_match"): (0.0, 1, 0),
        ("xsum", None, "auto", "rouge1"): (0.75, 1, 0),
        ("xsum", None, "auto", "rouge2"): (pytest.approx(1 / 3), 1, 0),
        ("xsum", None, "auto", "rougeL"): (0.75, 1, 0),
    }
    assert found["gsm8k", 5, "auto", "exact_match"]["unparsed_share"] == pytest.approx(1 / 3)
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_the_identity_is_that_of_the_lines_and_not_of_the_file(tmp_path: Path, espalier_said: Said) -> None:
    def identity(lines: list[Any], name: str) -> str:
        status, said, _ = espalier_said("evaluate", "--replay", written(tmp_path, lines, name), "--json")
        assert status == 0
        return str(json.loads(said)["identity"])

    first = identity(LINES, "a.jsonl")
    assert identity(["", *LINES, ""], "b.jsonl") == first
    assert identity([{**LINES[0], "note": "mine"}, *LINES[1:]], "c.jsonl") == first
    for changed in (
        {"shots": 4},
        {"completion": "#### 19"},
        {"gold": "19"},
        {"mode": "flexible"},
        {"benchmark": "svamp"},
    ):
        assert identity([{**LINES[0], **changed}, *LINES[1:]], "d.jsonl") != first, changed


def test_the_unparsed_are_told_from_the_wrong(replayed: Replayed) -> None:
    """As zero-shot StrategyQA: 12.7 % right because 1,794 of 2,290 completions say neither yes nor no."""
    said = [" not known."] * 1794 + [" Yes."] * 291 + [" No."] * 205
    lines = [{"benchmark": "strategyqa", "mode": "zero_shot", "completion": each, "gold": "yes"} for each in said]
    (row,) = replayed(lines)["rows"]
    assert (round(row["value"], 3), row["unparsed"], row["n"]) == (0.127, 1794, 2290)
    assert row["unparsed_share"] == pytest.approx(0.783, abs=1e-3)


def test_a_name_is_known_however_it_is_spelled(replayed: Replayed) -> None:
    lines = [
        {"benchmark": name, "completion": "(H)", "gold": "H", **more}
        for name, more in (("QASC", {}), ("qasc", {"answer_type": "choice"}))
    ]
    (row,) = replayed(lines)["rows"]
    assert (row["benchmark"], row["value"], row["n"]) == ("qasc", 1.0, 2)


def test_the_letters_of_a_line_are_those_of_its_choices(replayed: Replayed) -> None:
    line = {"benchmark": "mmlu", "choices": ["red", "blue"], "completion": "(A) no, (B) yes, (C) odd", "gold": "blue"}
    assert replayed([line])["decisions"][0]["extracted"] == "B"
    assert replayed([{**line, "choices": ["red", "blue", "none"]}])["decisions"][0]["extracted"] == "C"


def test_one_question_alone_leaves_the_whole_range_open(replayed: Replayed) -> None:
    _, f1 = replayed([{"benchmark": "squad", "completion": "Eiffel", "gold": "Eiffel Tower"}])["rows"]
    assert (f1["value"], f1["low"], f1["high"]) == (pytest.approx(2 / 3), 0.0, 1.0)
    samples = [{"benchmark": "gsm8k", "question": "?", "completion": each, "gold": "1"} for each in ("1", "2")]
    accuracy, _ = replayed(samples)["rows"]
    assert (accuracy["value"], accuracy["low"], accuracy["high"], accuracy["n"]) == (0.5, 0.0, 1.0, 2)


def test_samples_that_are_all_wrong_are_not_certain_of_other_questions(replayed: Replayed) -> None:
    """Of 24 questions, two samples each: Wilson's bound of none in 24, z^2 / (24 + z^2), z = 1.959964."""
    said = [(str(number), each) for number in range(24) for each in ("#### 2", "#### 3")]
    lines = [{"benchmark": "gsm8k", "question": each, "completion": text, "gold": "1"} for each, text in said]
    accuracy, _ = replayed(lines)["rows"]
    assert (accuracy["value"], accuracy["low"], accuracy["n"]) == (0.0, 0.0, 48)
    assert accuracy["high"] == pytest.approx(3.841459 / 27.841459)


def test_samples_that_were_all_right_are_not_certain_of_other_questions(replayed: Replayed) -> None:
    """Wilson of 4 in 4 questions, whatever the number of samples: 1 / (1 + z^2 / 4) = 0.510."""
    line = {"benchmark": "gsm8k", "completion": "1", "gold": "1"}
    mean, voted = replayed([{**line, "question": f"{number // 2}?"} for number in range(8)])["rows"]
    assert (mean["low"], mean["high"]) == (pytest.approx(0.510, abs=1e-3), 1.0)
    assert voted["low"] == pytest.approx(mean["low"])
    assert (mean["n"], voted["n"]) == (8, 4)


def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path: Path, espalier_said: Said) -> None:
    path = tmp_path / "closed.jsonl"
    path.write_text(json.dumps({"benchmark": "gsm8k", "completion": "1", "gold": "1"}) + "\n", encoding="utf-8")
    assert espalier_said("evaluate", "--replay", path)[0] == 0
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read all
        os.seteuid(65534)
    try:
        status, out, error = espalier_said("evaluate", "--replay", path)
    finally:
        os.seteuid(user)
    assert (status, out, error) == (2, "", f"espalier: {path}: Permission denied; change its rights, or name another\n")


def test_a_byte_order_mark_before_the_first_line_is_no_part_of_it(tmp_path: Path, espalier_said: Said) -> None:
    path = tmp_path / "marked.jsonl"
    path.write_text(json.dumps(LINES[0]) + "\n", encoding="utf-8-sig")
    assert espalier_said("evaluate", "--replay", path)[0] == 0


def test_saying_nothing_is_right_where_nothing_is_the_answer(replayed: Replayed) -> None:
    """As in the questions of SQuAD 2.0 that have no answer."""
    lines = [{"benchmark": "squad", "completion": "  ", "gold": gold} for gold in ("", "Rome")]
    document = replayed(lines)
    assert [each["verdict"] for each in document["decisions"]] == ["right", "unparsed"]
    assert [(row["metric"], row["value"], row["unparsed"]) for row in document["rows"]] == [
        ("exact_match", 0.5, 1),
        ("f1", 0.5, 1),
    ]


def test_every_file_that_decides_is_part_of_the_identity() -> None:
    """All of tasks/evaluation that a replay imports, found without running it."""
    seen: set[str] = set()
    waiting = ["replay", "replay_rows"]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            source = (EVALUATION / f"{name}.py").read_text(encoding="utf-8")
            waiting += re.findall(r"^from tasks\.evaluation\.(\w+) import", source, re.MULTILINE)
    assert {f"{name}.py" for name in seen} | {"answer_types.yaml", "sandbox_child.py"} == set(DECIDING)
    assert len(seen) > 8


def test_samples_of_a_question_vote_and_are_resampled_together(replayed: Replayed) -> None:
    """Right in two of three, right in one (the other two differ, so the first seen wins), never."""
    samples = {
        "a": ["#### 2", "#### 1", "#### 1."],
        "b": ["#### 1", "#### 2", "#### 3"],
        "c": ["none", "#### 2", "none"],
    }
    lines = [
        {"benchmark": "gsm8k", "question": question, "completion": each, "gold": "1"}
        for question, some in samples.items()
        for each in some
    ]
    accuracy, voted = replayed(lines)["rows"]
    assert (accuracy["metric"], accuracy["value"], accuracy["n"], accuracy["unparsed"]) == ("exact_match", 1 / 3, 9, 2)
    assert (accuracy["low"], accuracy["high"]) == (0.0, pytest.approx(2 / 3))  # all draws c, all draws a
    assert (voted["metric"], voted["value"], voted["n"]) == ("maj@3", pytest.approx(2 / 3), 3)
    uneven = replayed(lines[:-1])["rows"]
    assert [row["metric"] for row in uneven] == ["exact_match"]
    another = [{**lines[0], "gold": "1"}, {**lines[0], "gold": "2"}]  # the same words, another question
    assert [row["metric"] for row in replayed(another)["rows"]] == ["exact_match"]


def test_programs_run_only_when_asked_for(tmp_path: Path, replayed: Replayed, espalier_said: Said) -> None:
    question = "def add(a, b):\n"
    bodies = ["    return a + b", "    return a - b", "    return a +", "  "]
    lines: list[Any] = [
        {"benchmark": "humaneval", "question": question, "completion": body, "gold": "assert add(1, 2) == 3"}
        for body in bodies
    ]
    lines.append(
        {
            "benchmark": "mbpp",
            "question": "Set x to one.",
            "completion": "```python\nx = 1\n```",
            "gold": "assert x == 1",
        }
    )
    status, said, error = espalier_said("evaluate", "--replay", written(tmp_path, lines), "--json")
    assert (status, said) == (2, "")
    assert "line 1: is a program, and a model's program runs only when asked for; add --run-code" in error
    document = replayed(lines, "--run-code")
    decisions = [(each["verdict"], each["reason"]) for each in document["decisions"]]
    assert decisions[:2] == [("right", ""), ("wrong", "failed: AssertionError on line 4")]
    assert decisions[2][0] == "wrong"
    assert decisions[2][1].startswith("error: SyntaxError")
    assert decisions[3:] == [("unparsed", ""), ("right", "")]
    found = [(row["benchmark"], row["metric"], row["value"], row["n"], row["unparsed"]) for row in document["rows"]]
    assert found == [("humaneval", "pass@1", 0.25, 1, 1), ("mbpp", "pass@1", 1.0, 1, 0)]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 2: not JSON in UTF-8"),
        ("[1]", "line 2: expected an object, found list"),
        ({"completion": "1", "gold": "1"}, 'line 2: benchmark is missing; name one, or give "answer_type": number, choice'),
        ({"benchmark": "gsm", "completion": "1", "gold": "1"}, "line 2: benchmark 'gsm' is not known; did you mean gsm8k?"),
        ({"benchmark": "zzz", "completion": "1", "gold": "1"}, "or one of addsub, aqua,"),
        ({"answer_type": "numbr", "completion": "1", "gold": "1"}, "line 2: answer_type 'numbr' is not known; give one of"),
        ({"benchmark": "gsm8k", "gold": "1"}, "line 2: completion is missing; give what the model wrote"),
        ({"benchmark": "gsm8k", "completion": ["1"], "gold": "1"}, "line 2: completion: expected a text, found list"),
        ({"benchmark": "gsm8k", "completion": "\ud800", "gold": "1"}, "line 2: holds half of a character"),
        ({"benchmark": "squad", "completion": "x", "gold": ["\udc00"]}, "line 2: holds half of a character"),
        ({"benchmark": "gsm8k", "completion": "1"}, "line 2: gold is missing; give the right answer"),
        ({"benchmark": "gsm8k", "completion": "1", "gold": "one"}, "line 2: gold: 'one' is not one number; give it alone"),
        ({"benchmark": "aqua", "completion": "1", "gold": "F"}, "line 2: gold: 'F' is none of the choices"),
        (
            {"benchmark": "aqua", "choices": ["x", "x"], "completion": "(B)", "gold": "x"},
            "line 2: gold: 'x' is more than one of the choices; give the letter that is meant",
        ),
        ({"benchmark": "gsm8k", "completion": "1", "gold": "1", "shots": -1}, "line 2: shots: expected a whole number"),
        ({"benchmark": "gsm8k", "completion": "1", "gold": "1", "shots": True}, "line 2: shots: expected a whole number"),
        ({"benchmark": "aqua", "completion": "1", "gold": "A", "mode": "strict"}, "mode 'strict' is no rule for a choice"),
        ({"benchmark": "aqua", "completion": "1", "gold": "A", "choices": ["x"]}, "choices: expected a list of 2 to 26"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_one_sentence_with_its_number_and_status_2(
    line: Any, sentence: str, tmp_path: Path, espalier_said: Said
) -> None:
    path = written(tmp_path, [LINES[0], line])
    status, said, error = espalier_said("evaluate", "--replay", path)
    assert (status, said) == (2, "")
    assert str(path) in error
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("lines", "sentence"), [(None, "there is no such file"), ([""], "holds no line")])
def test_a_file_with_nothing_in_it_is_refused(
    lines: list[Any] | None, sentence: str, tmp_path: Path, espalier_said: Said
) -> None:
    path = tmp_path / "none.jsonl" if lines is None else written(tmp_path, lines)
    status, _, error = espalier_said("evaluate", "--replay", path)
    assert status == 2
    assert f"{path}: {sentence}" in error


def test_a_pipe_is_read_like_a_file(tmp_path: Path, espalier_said: Said) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(json.dumps(LINES[0]),))
    writer.start()
    status, said, _ = espalier_said("evaluate", "--replay", path, "--json")
    writer.join()
    assert (status, json.loads(said)["decisions"][0]["verdict"]) == (0, "right")


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_shows_what_was_not_right(width: int, replayed: Replayed) -> None:
    hostile = {"benchmark": "gsm8k", "completion": "#### 1[bold]\x1b[31m", "gold": "2", "mode": "strict"}
    document = replayed(
        [*LINES, hostile, {"benchmark": "[red]x", "answer_type": "text", "completion": "[b]", "gold": "c" * 99}]
    )
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(replay_report(document, width=width))
    said = console.export_text()
    assert max(map(len, said.splitlines())) <= width
    assert "0.333" in said
    assert "1 (33.3%)" in said
    assert "[red]x" in said
    assert "\x1b" not in said
    assert "not right" in said
    assert ("5-shot" in said) is (width == 80)


def test_every_known_benchmark_has_a_type_that_scores(replayed: Replayed) -> None:
    right = {"number": "7", "choice": "A", "yes_no": "yes", "letters": "ab", "text": "Rome", "summary": "Rome"}
    lines = [
        {
            "benchmark": name,
            "completion": f"The answer is {right[kind.type]}.",
            "gold": right[kind.type],
            "mode": "few_shot",
        }
        for name, kind in known_benchmarks().items()
        if kind.type != "code"
    ]
    assert len(lines) > 25
    assert all(kind.mode in modes(kind.type) for kind in known_benchmarks().values())
    assert {each["verdict"] for each in replayed(lines)["decisions"]} == {"right"}


def test_the_gold_solutions_of_gsm8k_are_all_right(test_data: Path, tmp_path: Path, espalier_said: Said) -> None:
    rows = [json.loads(line) for line in (test_data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [
        {"benchmark": "gsm8k", "completion": row["answer"], "gold": row["answer"], "mode": "strict"} for row in rows
    ]
    status, said, _ = espalier_said("evaluate", "--replay", written(tmp_path, lines), "--json")
    assert status == 0
    (row,) = json.loads(said)["rows"]
    assert (row["value"], row["n"], row["unparsed"], row["high"]) == (1.0, 7473, 0, 1.0)


def test_rationales_in_the_published_form_come_out_as_their_answers(test_data: Path) -> None:
    """FLAN's chain-of-thought rows, written as their templates write them: RATIONALE The answer is ANSWER."""
    for name, answer_type, letters in (
        ("gsm8k", "number", ""), ("strategyqa", "yes_no", ""), ("creak", "yes_no", ""), ("qasc", "choice", "ABCDEFGH"),
        ("aqua", "choice", "ABCDE"),
    ):  # fmt: skip
        text = gzip.decompress((test_data / "flan_cot" / f"{name}_train.tsv.gz").read_bytes()).decode("utf-8")
        rows = [line.split("\t") for line in text.split("\n") if line]
        for _, gold, rationale in random.Random(0).sample([row for row in rows if len(row) == 3], 500):
            completion = f"{rationale} The answer is {gold}."
            found = extract(completion, answer_type, "few_shot_cot", letters=letters).answer or ""
            plain = gold.strip("()").replace(",", "")
            assert is_right(found, (plain,), answer_type), (name, completion, found)
