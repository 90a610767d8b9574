"""Public files, read as they are: guessed rightly, every row accounted for, the counts those that their packagers give."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from tasks.conversations.gsm8k import annotations, gold_answer
from tasks.conversations.read import Reading, read

# folder: (format, what may be dropped of all its files, kept)
FOLDERS: dict[str, tuple[str, dict[str, int], int]] = {
    "dolly": ("alpaca", {}, 2996),  # AlpaGasus' copy of it has Alpaca's field names
    "flan_cot": ("flan-cot", {}, 33_443),
    "gsm8k": ("gsm8k", {}, 7473),
    "hh-rlhf": (
        "hh-rlhf",
        {
            "chosen and rejected are the same": 0 + 2,  # SOURCE.md
            "chosen and rejected answer different prompts": (2312 - 2307) + (2354 - 2345),  # SOURCE.md
            "two assistant turns in a row": 10,
            "an empty answer": 8,
        },
        4632,
    ),
    "instruction-induction": ("instruction-induction", {}, 8514),
    "natural-instructions": ("natural-instructions", {"an empty answer": 6}, 22_320),
    "nsmc": ("labelled", {"an empty user turn": 3}, 49_997),  # SOURCE.md: 3 documents are empty
}
_COUNTED = re.compile(r"\| (\S+) \| [\d,]+ \| (\d+) (?:rows|lines|Instances|examples) \|")


@cache
def readings(folder: Path) -> list[Reading]:
    return read(folder)[0]


def counts_in(folder: Path) -> dict[str, int]:
    """{"a.json": rows} of the table in SOURCE.md; a header line is no row."""
    found = {name.removesuffix(".gz"): int(rows) for name, rows in _COUNTED.findall((folder / "SOURCE.md").read_text())}
    return {name: rows - (name == "ratings_test.txt") for name, rows in found.items()}


@pytest.mark.parametrize("name", FOLDERS)
def test_every_row_of_a_public_file_is_read_or_dropped_with_its_reason(name: str, test_data: Path) -> None:
    format, dropped, kept = FOLDERS[name]
    found = readings(test_data / name)
    assert {each.format for each in found} == {format}
    assert {each.name: each.rows for each in found} == counts_in(test_data / name)
    reasons: dict[str, int] = {}
    for each in found:
        for reason, fault in each.dropped.items():
            reasons[reason] = reasons.get(reason, 0) + fault.rows
    assert reasons == dropped
    assert sum(len(each.conversations) for each in found) == kept


def test_every_gold_answer_of_gsm8k_is_a_number_and_its_annotations_are_right(test_data: Path) -> None:
    lines = (test_data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    assert all(gold_answer(answer) is not None for answer in answers)
    told = [right for answer in answers for right in annotations(answer)]
    assert len(told) > 20_000
    assert sum(right is True for right in told) > 0.99 * len(told)


def test_the_annotated_and_the_plain_gsm8k_hold_the_same_questions(test_data: Path) -> None:
    """FLAN's copy was made without annotations by others: what is left without them agrees with its gold answers."""
    (own,) = readings(test_data / "gsm8k")
    (flan,) = [each for each in readings(test_data / "flan_cot") if each.name.startswith("gsm8k")]
    gold = {" ".join(each.messages[0].content.split()): gold_answer(each.answer) for each in own.conversations}
    shared = [each for each in flan.conversations if " ".join(each.messages[0].content.split()) in gold]
    assert len(shared) > 7000
    told = [each.answer.rpartition("The answer is ")[2].rstrip(".") for each in shared]
    same = [
        gold_answer(f"#### {number}") == gold[" ".join(each.messages[0].content.split())]
        for number, each in zip(told, shared, strict=True)
    ]
    assert sum(same) > 0.99 * len(same)


def test_turns_of_hh_rlhf_alternate_and_both_answers_differ(test_data: Path) -> None:
    pairs = [pair for each in readings(test_data / "hh-rlhf") for pair in each.conversations]
    for pair in pairs:
        assert [message.role for message in pair.messages] == ["user", "assistant"] * (len(pair.messages) // 2)
        assert pair.rejected.strip()
        assert pair.rejected != pair.answer
    assert not any("\n\nHuman:" in message.content for pair in pairs for message in pair.messages)


def test_quoted_reviews_are_unquoted(test_data: Path) -> None:
    """nsmc quotes what holds a quotation mark, as CSV does; flan_cot, without a header, quotes nothing."""
    (reviews,) = readings(test_data / "nsmc")
    lines = (test_data / "nsmc" / "ratings_test.txt").read_text(encoding="utf-8").split("\n")
    quoted = next(line.split("\t") for line in lines if '\t"' in line)
    review = next(each for each in reviews.conversations if f"({quoted[0]})" in each.source)
    assert review.messages[0].content.partition("\n\nOPTIONS")[0] == quoted[1][1:-1].replace('""', '"').strip()
    creak = next(each for each in readings(test_data / "flan_cot") if each.name.startswith("creak"))
    assert (
        creak.conversations[1].messages[0].content.startswith('"Marlboro used iconic imagery to promote its brand."\n')
    )


def test_every_task_of_instruction_induction_is_asked_in_peoples_wordings(test_data: Path) -> None:
    found = readings(test_data / "instruction-induction")
    assert len({each.conversations[0].task for each in found}) == 24
    antonyms = json.loads((test_data / "instruction-induction" / "annotations.antonyms.json").read_text())[
        "annotations"
    ]
    asked = {
        each.messages[0].content.split("\n\n")[0]
        for reading in found
        for each in reading.conversations
        if each.task == "antonyms"
    }
    assert asked == {wording.strip() for wording in antonyms}
