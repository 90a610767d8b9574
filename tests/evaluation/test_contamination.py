"""What stands in the training text and in a benchmark: every planted leak, and nothing beside."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.contamination import MOST_SHARING, Finding, Item, TrainingSet, find_contamination, read_texts
from tasks.evaluation.stored import read_evaluation
from tasks.evaluation.subsets import record_contamination
from tests.evaluation.stored_evaluations import matrix, write_evaluation

CHANCE = random.Random(7)
VOCABULARY = ["".join(CHANCE.choices("abcdefghijklmnopqrstuvwxyz", k=CHANCE.randint(2, 8))) for _ in range(4000)]


def words(count: int) -> str:
    return " ".join(CHANCE.choices(VOCABULARY, k=count))


def training(path: Path, texts: Iterable[str], name: str = "corpus") -> TrainingSet:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return TrainingSet(name=name, path=path)


def found(question: str, text: str, folder: Path, answer: str = "") -> Finding:
    item = Item(benchmark="b", id="1", question=question, answer=answer)
    (finding,) = find_contamination([item], [training(folder / "train.jsonl", [text])])
    return finding


def disguised(text: str) -> str:
    return "\n".join(word.title() + CHANCE.choice(["", ",", " -", "!"]) for word in text.split())


def test_every_planted_leak_is_found_and_nothing_beside(tmp_path: Path) -> None:
    """400,000 words in blocks of 200,000; every second item stands somewhere in them, in another spelling."""
    items = [Item(benchmark="b", id=str(n), question=words(8 + n % 50), answer=words(1)) for n in range(1000)]
    texts = [words(400) for _ in range(1000)]
    for number in range(0, 1000, 2):
        before, after = texts[number].split()[:200], texts[number].split()[200:]
        texts[number] = " ".join([*before, disguised(items[number].question), *after])
    findings = find_contamination(items, [training(tmp_path / "train.jsonl", texts)])
    assert [each.item.id for each in findings if each.dirty] == [str(n) for n in range(0, 1000, 2)]
    assert all(each.mostly for each in findings if each.dirty and len(each.item.question.split()) > 10)
    assert all(each.checked and each.sets in ((), ("corpus",)) for each in findings)
    assert findings[40].words == " ".join(findings[40].item.question.split()[:13])


def test_real_questions_do_not_stand_in_text_about_other_things(test_data: Path, tmp_path: Path) -> None:
    lines = (test_data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:1500]
    rows = [json.loads(line) for line in lines]
    items = [
        Item(benchmark="gsm8k", id=str(n), question=row["question"], answer=row["answer"]) for n, row in enumerate(rows)
    ]
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in sorted(test_data.glob("*/README*")))
    shakespeare = (test_data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    (tmp_path / "other.txt").write_text(text + shakespeare + items[5].question, encoding="utf-8")
    findings = find_contamination(items, [TrainingSet(name="other", path=tmp_path / "other.txt")])
    assert [each.item.id for each in findings if each.dirty] == ["5"]


@pytest.mark.parametrize(
    ("length", "held", "dirty"),
    [(30, 13, True), (30, 12, False), (12, 12, True), (12, 11, False), (8, 8, True)],
)
def test_thirteen_words_or_a_whole_shorter_question(length: int, held: int, dirty: bool, tmp_path: Path) -> None:
    question = words(length)
    part = " ".join(question.split()[:held])
    finding = found(question, f"{words(20)} {part} {words(20)}", tmp_path)
    assert (finding.dirty, finding.checked) == (dirty, True)
    assert finding.words == (part if dirty else "")


def test_a_question_of_seven_words_is_found_with_its_answer_only(tmp_path: Path) -> None:
    question = words(7)
    assert not found(question, question, tmp_path).checked
    assert found(question, f"{words(3)} {question} yes indeed", tmp_path, answer="yes").dirty
    assert not found(question, f"{words(3)} {question} no", tmp_path, answer="yes").dirty


@pytest.mark.parametrize(("held", "share", "mostly"), [(14, 0.7, True), (13, 0.6, False), (7, 0.0, False)])
def test_seventy_percent_of_the_runs_of_eight_words(held: int, share: float, mostly: bool, tmp_path: Path) -> None:
    """17 words have ten runs of eight; the first 14 words have seven of them."""
    question = words(17)
    finding = found(question, " ".join(question.split()[:held]), tmp_path)
    assert (finding.share, finding.mostly) == (pytest.approx(share), mostly)


def test_no_run_reaches_from_one_text_into_the_next(tmp_path: Path) -> None:
    question = words(13)
    halves = [" ".join(question.split()[:6]), " ".join(question.split()[6:])]
    item = Item(benchmark="b", id="1", question=question)
    assert not find_contamination([item], [training(tmp_path / "a.jsonl", halves)])[0].dirty
    assert find_contamination([item], [training(tmp_path / "b.jsonl", [" ".join(halves)])])[0].dirty


@pytest.mark.parametrize("own", [1, 14])
def test_the_wording_of_a_task_is_no_leak_of_its_items(own: int, tmp_path: Path) -> None:
    wording = words(20)
    items = [Item(benchmark="b", id=str(n), question=f"{wording} {words(own)}x{n}") for n in range(MOST_SHARING + 1)]
    only_wording = Item(benchmark="b", id="bare", question=wording)
    texts = [f"{wording} {words(14)}", items[3].question]
    findings = find_contamination([*items, only_wording], [training(tmp_path / "train.jsonl", texts)])
    assert [each.item.id for each in findings if each.dirty] == ["3"]
    assert [each.item.id for each in findings if each.mostly] == ["3"]
    assert [each.item.id for each in findings if not each.checked] == ["bare"]


def test_each_training_set_is_named(tmp_path: Path) -> None:
    items = [Item(benchmark="b", id=str(n), question=words(20)) for n in range(3)]
    first = training(tmp_path / "a.jsonl", [items[0].question, items[1].question], "corpus")
    second = training(tmp_path / "b.jsonl", [items[1].question], "instructions")
    findings = find_contamination(items, [first, second])
    assert [each.sets for each in findings] == [("corpus",), ("corpus", "instructions"), ()]


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"group": "g", "id": "i", "kind": "text", "text": "a b"}, "a b"),
        ({"answer": "b", "family": "f", "prompt": "a"}, "a b"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "user a assistant b"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "a b c"),
    ],
)
def test_what_a_model_reads_of_a_line(record: dict[str, Any], text: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert list(read_texts(path)) == [text]


def test_clean_and_dirty_items_are_scored_apart_and_again_the_same(tmp_path: Path) -> None:
    """Ten items of 20 words; the training text holds three, two of which were right, as were two of the other seven."""
    questions = [words(20) for _ in range(10)]
    examples = matrix(
        lambda *cell: "right" if cell[-1] in (0, 1, 5, 6) else "unparsed" if cell[-1] == 9 else "wrong", 10
    )
    for each in examples:
        each["question"] = questions[int(each["id"].removeprefix("item-"))]
    folder = write_evaluation(tmp_path, "m", examples)
    leaks = training(tmp_path / "train.jsonl", [f"x {question}" for question in questions[:3]])
    document = record_contamination(folder, [leaks])
    rows = [row for row in document["rows"] if (row["shots"], row["mode"]) == (4, "cot")]
    counts = [(row.get("subset"), row["n"], row["unparsed"]) for row in rows]
    assert counts == [(None, 10, 1), ("clean", 7, 1), ("dirty", 3, 0)]
    assert [row["value"] for row in rows] == pytest.approx([4 / 10, 2 / 7, 2 / 3])
    assert len({row["identity"]["data"] for row in rows}) == 3
    (summary,) = document["contamination"]["benchmarks"]
    assert (summary["n"], summary["checked"], summary["dirty"], summary["mostly"]) == (10, 10, 3, 3)
    assert summary["by_training_set"] == {"corpus": 3}
    evidence = read_evaluation(folder).evidence["last_letters"]["dirty"]
    assert evidence["item-1"] == {"words": " ".join(questions[1].split()[:13]), "training_sets": ["corpus"]}
    assert record_contamination(folder, [leaks]) == document == read_evaluation(folder).document


def test_without_training_sets_nothing_is_claimed(tmp_path: Path) -> None:
    document = record_contamination(write_evaluation(tmp_path, "m", matrix(lambda *_: "right")), [])
    assert document["contamination"]["training_sets"] == []
    assert document["contamination"]["benchmarks"] == []
    assert not any("subset" in row for row in document["rows"])
