"""What the model is evaluated on is kept out of its training text: every planted leak, and nothing beside."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.corpus.decontaminate import DecontaminateConfig, OverlapIndex, decontaminate, evaluation_texts
from tasks.corpus.documents import Document, read_documents

QUESTIONS = [
    {
        "question": "If a train leaves at noon and travels for three hours, at what time does it stop again?",
        "answer": "three",
    },
    {"question": "Which planet of our sun has the most moons?", "answer": "Saturn, with more than any other planet"},
    {"question": "Short one?", "answer": "Yes it is."},
]
LONG = (
    "The committee decided on the second day of its meeting that every member would write down what the others had said, "
    "and that nobody would read it before the winter had ended and the roads were open again."
)


def index(*texts: str) -> OverlapIndex:
    return OverlapIndex(texts, DecontaminateConfig())


def test_a_run_of_thirteen_words_is_a_leak_and_twelve_are_none() -> None:
    words = LONG.replace(",", "").replace(".", "").split()
    assert index(LONG).overlap("Someone wrote: " + " ".join(words[5:18]) + " and more") == " ".join(words[5:18]).lower()
    assert index(LONG).overlap("Someone wrote: " + " ".join(words[5:17]) + " and more") == ""


def test_spelling_of_the_leak_does_not_matter() -> None:
    leak = LONG[20:120].upper().replace(" ", "\n  - ")
    assert index(LONG).overlap(f"quoted:\n{leak}\n") != ""


def test_a_short_text_is_found_as_a_whole_and_the_shortest_are_ignored() -> None:
    eight, seven = "one two three four five six seven eight", "one two three four five six seven"
    assert index(eight).overlap(f"zero {eight} nine") == eight
    assert index(eight).overlap(f"zero {seven} nine") == ""
    assert index(seven).overlap(f"zero {seven} nine") == ""


def test_text_without_spaces_is_compared_by_letters() -> None:
    leak = "人人生而自由在尊严和权利上一律平等"
    assert index(leak).overlap(f"他说:{leak}。") != ""
    assert (
        index("모든 국민은 법 앞에 평등하며 누구든지 차별을 받지 아니한다").overlap(
            "헌법은 모든 국민은 법 앞에 평등하며, 누구든지 차별을 받지 아니한다고 한다"
        )
        == ""
    )  # the particle makes another last word, and of nine words eight do not count
    assert index("모든 국민은 법 앞에 평등하며 누구든지 차별을 받지 아니한다").overlap(
        "제11조. 모든 국민은 법 앞에 평등하며, 누구든지 차별을 받지 아니한다."
    )


def test_the_texts_are_the_leaves_of_the_benchmarks_and_the_lines_of_named_files(tmp_path: Path) -> None:
    benchmarks = tmp_path / "tasks" / "evaluation" / "benchmarks"
    (benchmarks / "deep").mkdir(parents=True)
    (benchmarks / "deep" / "own.yaml").write_text(yaml.safe_dump({"items": QUESTIONS}, sort_keys=False))
    (tmp_path / "lines.txt").write_text(f"{LONG}\n\n")
    texts = evaluation_texts(tmp_path, DecontaminateConfig(evaluation_texts=("lines.txt",)))
    assert LONG in texts
    assert f"{QUESTIONS[1]['question']} {QUESTIONS[1]['answer']}" in texts
    found = OverlapIndex(texts, DecontaminateConfig())
    assert found.overlap("of our sun has the most moons? Saturn, with more than any other one") != ""
    assert found.overlap("Short one? Yes it is.") == ""
    with pytest.raises(ValueError, match=r"evaluation_texts: missing\.txt: no such file"):
        evaluation_texts(tmp_path, DecontaminateConfig(evaluation_texts=("missing.txt",)))
    (benchmarks / "broken.yaml").write_text("a: [1")
    with pytest.raises(ValueError, match=r"broken\.yaml: not readable as evaluation texts"):
        evaluation_texts(tmp_path, DecontaminateConfig())


def test_all_planted_leaks_are_found_and_real_text_has_none(
    sealed: Callable[..., Path], refused: Callable[[Path], list[dict[str, Any]]], tmp_path: Path, test_data: Path
) -> None:
    lines = next((test_data / "gsm8k").glob("*.jsonl*")).read_bytes().splitlines()
    questions = [json.loads(line)["question"] for line in lines[:1000]]
    texts = [text for text in questions if len(text.split()) >= 13]
    plays = (test_data / "tinyshakespeare" / "input.txt").read_text().split("\n\n")
    chance = random.Random(4)
    clean = [" ".join(chance.choices(plays, k=20)) for _ in range(200)]
    leaked = [f"{text} {chance.choice(texts)} {text}" for text in clean]
    documents = [Document(id=f"clean/{n}", group="g", kind="text", text=text) for n, text in enumerate(clean)]
    documents += [Document(id=f"leaked/{n}", group="g", kind="text", text=text) for n, text in enumerate(leaked)]
    decontaminate(sealed(*documents), tmp_path / "out", tmp_path / "refused", DecontaminateConfig(), texts)
    assert {record["id"] for record in refused(tmp_path / "refused")} == {f"leaked/{n}" for n in range(200)}
    assert {item.id for item in read_documents(tmp_path / "out" / "documents.jsonl")} == {
        f"clean/{n}" for n in range(200)
    }
