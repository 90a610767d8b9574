"""What people have labelled: read strictly, split by prompt, and put in the rule annotator's place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.alignment.human_labels import add_labels, read_labels, split_labels
from tasks.alignment.preferences import PreferenceConfig, build_preferences, read_pairs, read_preferences_index


def label(prompt: str, chosen: str = "good", rejected: str = "bad") -> dict[str, str]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(*lines) -> the file that holds them, each as JSON."""

    def write(*lines: Any) -> Path:
        path = tmp_path / "labels.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return path

    return write


def test_each_comparison_is_read_once_and_what_else_stands_there_is_left(write: Callable[..., Path]) -> None:
    path = write(label("물음"), {**label("물음"), "annotator": "kim"}, label("물음", "bad", "good"))
    assert read_labels(path) == [label("물음"), label("물음", "bad", "good")]
    assert read_labels(write()) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"prompt": "a", "chosen": "b"}, "line 2: expected the texts prompt, chosen and rejected; rejected is missing"),
        ({**label("a"), "chosen": 1}, "line 2: expected the texts prompt, chosen and rejected; chosen is missing"),
        (["a"], "line 2: expected an object, found list"),
        (None, "line 2: expected an object"),
        (label("a", "", "worse"), "line 2: chosen is empty; write an answer there, or leave the line out"),
        (label("a", "\ud83d", "worse"), r"line 2: not UTF-8 text \(chosen, at character 0\); mend its escapes"),
        (label("a", "same", " same "), "line 2: expected a prompt and two answers that differ"),
        (label("  "), "line 2: expected a prompt"),
    ],
)
def test_a_line_that_says_nothing_is_refused_with_its_number(
    write: Callable[..., Path], line: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_labels(write(label("fine"), line))


def test_labels_join_those_that_are_there_or_take_their_place(write: Callable[..., Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert add_labels(home, write(label("a"), label("b")), "default", replace=False)[1] == 2
    path, count = add_labels(home, write(label("b"), label("c")), "default", replace=False)
    assert count == 3
    assert [entry["prompt"] for entry in read_labels(path)] == ["a", "b", "c"]
    assert add_labels(home, write(label("d")), "default", replace=True) == (path, 1)
    before = path.read_bytes()
    for wrong in (write(), tmp_path / "nowhere.jsonl"):
        with pytest.raises(ValueError, match=r"holds no comparison|no such file"):
            add_labels(home, wrong, "default", replace=False)
    assert path.read_bytes() == before


def test_all_comparisons_of_a_prompt_lie_on_one_side() -> None:
    labels = [label(f"question {number % 40}", f"good {number}") for number in range(200)]
    sides = split_labels(labels, seed=1)
    prompts = {name: {entry["prompt"] for entry in side} for name, side in sides.items()}
    assert (len(prompts["train"]), len(prompts["valid"])) == (34, 6)
    assert not prompts["train"] & prompts["valid"]
    assert len(sides["train"]) + len(sides["valid"]) == 200
    assert split_labels(list(reversed(labels)), seed=1)["valid"] == list(reversed(sides["valid"]))
    assert {entry["prompt"] for entry in split_labels(labels, seed=2)["valid"]} != prompts["valid"]
    with pytest.raises(ValueError, match="add comparisons of further prompts"):
        split_labels([label("a"), label("a", "better")], seed=1)


def test_a_question_that_answers_are_judged_on_trains_no_reward_model() -> None:
    labels = [label(f"question {number}") for number in range(40)]
    unseen = {f"question {number}" for number in range(10)}
    sides = split_labels(labels, 1, unseen)
    assert not unseen & {entry["prompt"] for entry in sides["train"]}
    assert unseen < {entry["prompt"] for entry in sides["valid"]}
    with pytest.raises(ValueError, match="add comparisons of further prompts"):
        split_labels(labels, 1, {entry["prompt"] for entry in labels})


def test_a_blank_line_is_nothing_and_what_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps(label("a")) + "\n\n" + json.dumps(label("b")) + "\n\n", encoding="utf-8")
    assert [entry["prompt"] for entry in read_labels(path)] == ["a", "b"]
    path.write_bytes(b"\n\n\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"labels\.jsonl, line 3: not JSON in UTF-8"):
        read_labels(path)


def test_they_are_the_set_and_the_set_says_whose_they_are(instructions: Path, tmp_path: Path) -> None:
    labels = [label(f"question {number}") for number in range(20)]
    folder = tmp_path / "set"
    folder.mkdir()
    build_preferences(tmp_path / "no model is asked", instructions, folder, PreferenceConfig(), labels)
    index = read_preferences_index(folder)
    assert index["annotator"] == "human annotators"
    assert "rule" not in index
    pairs = {name: read_pairs(folder / f"{name}.jsonl") for name in ("train", "valid")}
    assert {name: len(found) for name, found in pairs.items()} == {"train": 17, "valid": 3}
    assert index["valid"] == {"questions": 3, "pairs": 3, "ties": 0, "tie_share": 0.0}
    for pair in (*pairs["train"], *pairs["valid"]):
        assert (pair.annotator, pair.chosen, pair.rejected) == ("human annotators", "good", "bad")
        assert pair.chosen_finished
        assert pair.rejected_finished
        assert pair.chosen_score > pair.rejected_score
