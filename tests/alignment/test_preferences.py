"""Preference pairs: sampled the same way twice, judged by a named rule, with the ties counted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.alignment import annotator
from tasks.alignment.__main__ import preferences as preferences_stage
from tasks.alignment.annotator import rule_digest
from tasks.alignment.drawing import InstructionItem
from tasks.alignment.preferences import (
    PreferenceConfig,
    build_preferences,
    pairs_of,
    read_pairs,
    read_preferences_index,
)
from tasks.artifacts import read_artifact, verify, write_artifact
from tasks.evaluation.answers import Answer

CONFIG = PreferenceConfig(train_prompts=6, valid_prompts=4, answers_per_prompt=8, max_answer_tokens=6)


def built(half_taught: Path, instructions: Path, folder: Path, config: PreferenceConfig = CONFIG) -> dict[str, bytes]:
    folder.mkdir()
    build_preferences(half_taught, instructions, folder, config)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_model_and_settings_give_the_same_bytes(half_taught: Path, instructions: Path, tmp_path: Path) -> None:
    first = built(half_taught, instructions, tmp_path / "first")
    assert set(first) == {"train.jsonl", "valid.jsonl", "index.json"}
    assert built(half_taught, instructions, tmp_path / "second") == first
    other = PreferenceConfig(train_prompts=6, valid_prompts=4, answers_per_prompt=8, max_answer_tokens=6, seed=2)
    assert built(half_taught, instructions, tmp_path / "third", other)["train.jsonl"] != first["train.jsonl"]


def test_the_set_names_its_annotator_and_rule_and_counts_its_ties(
    half_taught: Path, instructions: Path, tmp_path: Path
) -> None:
    built(half_taught, instructions, tmp_path / "set")
    index = read_preferences_index(tmp_path / "set")
    assert (index["annotator"], index["rule"]) == ("rule annotator", rule_digest())
    for name, questions in (("train", 6), ("valid", 4)):
        counts, pairs = index[name], read_pairs(tmp_path / "set" / f"{name}.jsonl")
        assert counts["questions"] == questions
        assert counts["pairs"] + counts["ties"] == questions
        assert counts["tie_share"] == counts["ties"] / questions
        assert len(pairs) == counts["pairs"]
        assert {pair.annotator for pair in pairs} == {"rule annotator"}
        assert len({pair.prompt for pair in pairs}) == len(pairs)


def test_every_pair_is_what_the_rule_says_of_its_answers(half_taught: Path, instructions: Path, tmp_path: Path) -> None:
    built(half_taught, instructions, tmp_path / "set")
    gold = {
        line["prompt"]: line["answer"]
        for name in ("train", "valid")
        for line in map(json.loads, (instructions / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
    }
    for pair in read_pairs(tmp_path / "set" / "train.jsonl"):
        for which in ("chosen", "rejected"):
            finished = getattr(pair, f"{which}_finished")
            found = annotator.score(getattr(pair, which), gold=gold[pair.prompt], finished=finished).score
            assert found == getattr(pair, f"{which}_score")
        assert pair.chosen_score > pair.rejected_score


def said(*texts: str) -> list[Answer]:
    return [Answer(text=text, finished=not text.endswith("…")) for text in texts]


def test_the_best_and_the_worst_answer_make_the_pair(make_item: Callable[..., InstructionItem]) -> None:
    items = [make_item("count a b c", "three"), make_item("count a", "one")]
    answers = said("four", "three", "three three three three…", "", "one", "one")
    pairs, counts = pairs_of(items, answers, 3)
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [("three", "three three three three…"), ("one", "")]
    assert (pairs[0].chosen_finished, pairs[0].rejected_finished) == (True, False)
    assert (pairs[0].chosen_score, pairs[1].rejected_score) == (1.0, 0.0)
    assert counts == {"questions": 2, "pairs": 2, "ties": 0, "tie_share": 0.0}


def test_answers_of_equal_score_are_a_tie_and_no_pair(make_item: Callable[..., InstructionItem]) -> None:
    items = [make_item("count a b c", "three"), make_item("count a", "one"), make_item("count", "none")]
    # "Three." and "three" differ as texts, not in what they are worth
    pairs, counts = pairs_of(items, said("Three.", "three", "x", "y", "none", "z"), 2)
    assert [pair.prompt for pair in pairs] == ["count"]
    assert counts == {"questions": 3, "pairs": 1, "ties": 2, "tie_share": pytest.approx(2 / 3)}


def test_questions_whose_answers_never_differ_are_refused(
    half_taught: Path, instructions: Path, tmp_path: Path
) -> None:
    greedy = PreferenceConfig(train_prompts=6, valid_prompts=4, temperature=0.0, max_answer_tokens=6)
    with pytest.raises(ValueError, match="no two answers to any of 6 train questions differ in score"):
        built(half_taught, instructions, tmp_path / "set", greedy)


@pytest.mark.parametrize("changed", [{"train_prompts": 0}, {"valid_prompts": 0}, {"answers_per_prompt": 1}])
def test_settings_that_can_give_no_pair_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 2 answers_per_prompt"):
        PreferenceConfig(**changed)


@pytest.fixture
def checkout(half_taught: Path, instructions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout where the instruction set is made and an instruction-tuned model has passed its gate."""
    monkeypatch.delenv("ESPALIER_HOME", raising=False)
    (tmp_path / "params.yaml").write_text(
        json.dumps({"preferences": {"own": {"train_prompts": 6, "valid_prompts": 4}}})
    )
    data, digest = tmp_path / ".espalier" / "data" / "own", read_artifact(half_taught).digest
    shutil.copytree(instructions, data / "instructions")
    write_artifact(data / "instructions", kind="instructions")
    (data / "instruct").mkdir()
    shutil.copy(half_taught / "artifact.json", data / "instruct")
    (data / "instruct" / "labels.jsonl").touch()
    shutil.copytree(half_taught, tmp_path / ".espalier" / "artifacts" / "instruct" / digest[:16])
    return tmp_path


def test_the_stage_labels_the_answers_of_the_promoted_model(checkout: Path) -> None:
    preferences_stage("own", checkout)
    data = checkout / ".espalier" / "data" / "own"
    assert verify(data / "preferences") == (True, "")
    parents = (read_artifact(data / "instruct").digest, read_artifact(data / "instructions").digest)
    assert read_artifact(data / "preferences").parents == parents
    assert read_preferences_index(data / "preferences")["train"]["questions"] == 6


def test_the_stage_takes_what_people_labelled_where_there_is_some(checkout: Path) -> None:
    data = checkout / ".espalier" / "data" / "own"
    labels = [{"prompt": f"question {number}", "chosen": "yes", "rejected": "no"} for number in range(4)]
    (data / "instruct" / "labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels))
    preferences_stage("own", checkout)
    assert verify(data / "preferences") == (True, "")
    assert read_preferences_index(data / "preferences")["annotator"] == "human annotators"
    assert {pair.annotator for pair in read_pairs(data / "preferences" / "train.jsonl")} == {"human annotators"}


def test_a_model_that_was_damaged_or_is_gone_labels_nothing(checkout: Path) -> None:
    (model,) = (checkout / ".espalier" / "artifacts" / "instruct").iterdir()
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"model\.safetensors has changed; run `espalier stage instruct` again"):
        preferences_stage("own", checkout)
    shutil.rmtree(model)
    with pytest.raises(ValueError, match=r"not an artifact folder .*; run `espalier stage instruct` again"):
        preferences_stage("own", checkout)
    assert not (checkout / ".espalier" / "data" / "own" / "preferences").exists()
