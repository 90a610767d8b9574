"""The figures of pretraining's and instruction tuning's gates, against what the parts say when they are asked alone."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.catalogue import load_model, save_model
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment import instruct
from tasks.evaluation.answers import exact_match, token_f1
from tasks.evaluation.baseline import BaselineConfig, count, floor_nats
from tasks.evaluation.held_out import identity_of, measure
from tasks.evaluation.measures import (
    compare_models,
    first_by_hash,
    greedy,
    measure_instruct,
    measure_pretrained,
    measure_release,
    read_items,
)
from tasks.release.gates import GatesConfig, InstructGate, ReleaseGate, judge
from tasks.tokenization.shards import open_split
from tasks.training.engine import TrainingConfig
from tasks.training.job import Job
from tasks.training.optimizers import OptimizerConfig

TEXTS = {
    "train": ["the cat sat on the mat. " * 3] * 3,
    "valid": ["the cat. "],
    "test": ["a cat sat. " * 4, "the mat", "on the cat the mat sat. "],
}
LETTERS = "abcdef"


def item(task: str, prompt: str, answer: str) -> dict[str, str]:
    return {
        "id": f"{task}/{prompt}", "task": task, "family": task, "template": "t", "input": prompt.split()[-1],
        "prompt": prompt, "answer": answer,
    }  # fmt: skip


def write_items(path: Path, items: Sequence[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in items), encoding="utf-8")


@pytest.fixture(scope="module")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Echoes, answers that are always x, and a held-out family."""
    folder = tmp_path_factory.mktemp("instructions")
    echo, always = (
        [item("echo", f"say {each}", each) for each in LETTERS],
        [item("x", f"any {each}", "x") for each in LETTERS],
    )
    write_items(folder / "train.jsonl", [*echo, *always])
    write_items(folder / "valid.jsonl", [*echo[:4], *always[:2]])
    write_items(
        folder / "held_out.jsonl", [item("other", f"say {each}", each.upper() + " " + each) for each in LETTERS[:3]]
    )
    return folder


@pytest.fixture(scope="module")
def base(tokenizer: ChatTokenizer, small_model: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_model(folder, small_model(5, spread=1.0), tokenizer)
    return folder


@pytest.fixture(scope="module")
def taught(base: Path, instructions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned its instructions by heart."""
    folder = tmp_path_factory.mktemp("taught")
    training = TrainingConfig(
        steps=300, batch_sequences=12, optimizer=OptimizerConfig(learning_rate=0.02, adam_share=0.5)
    )
    job = Job(
        folder=str(folder / "job"), out=str(folder / "out"), kind="instruct", identity="x", seed=1,
        config=asdict(instruct.InstructConfig(training=training)), runtime={"precision": "fp32", "threads": 1},
        inputs={"base": str(base), "instructions": str(instructions)}, parents={}, recipe={},
    )  # fmt: skip
    return Path(instruct.run(json.loads(json.dumps(asdict(job))), [])["artifact"]["path"])


@pytest.fixture
def tokens(token_set: Callable[..., Path]) -> Path:
    return token_set(TEXTS)


def test_bits_of_a_network_stand_beside_those_of_counting(base: Path, tokens: Path, tmp_path: Path) -> None:
    counted = tmp_path / "baseline"
    counted.mkdir()
    report = count(tokens, counted, BaselineConfig(orders=(1, 3)))
    found = measure_pretrained(str(base), str(tokens), str(counted))
    own = measure(load_model(base)[0], open_split(tokens, "test"))
    assert found["bits_per_byte"] == own.bits_per_byte.record() | {"identity": identity_of(open_split(tokens, "test"))}
    assert found["by_kind"] == own.by_kind(["text", "source"])
    assert found["floor"] == "Kneser-Ney 3-gram"
    assert found["counting"] == {name: entry["test"]["value"] for name, entry in report["models"].items()}
    floor = floor_nats(counted, "test")
    assert found["difference"]["value"] == pytest.approx(
        found["bits_per_byte"]["value"] - found["counting"]["Kneser-Ney 3-gram"]
    )
    # by hand: a network that was never trained loses to counting in every document
    assert np.all(own.nats > floor)
    assert found["difference"]["low"] > 0
    gate = judge("pretrain", found, GatesConfig())
    assert not gate.passed
    assert (gate.before, gate.after) == (found["counting"]["Kneser-Ney 3-gram"], found["bits_per_byte"]["value"])


def test_a_floor_that_was_counted_on_another_text_is_none(
    base: Path, token_set: Callable[..., Path], tmp_path: Path
) -> None:
    """Of as many documents and bytes, so that nothing but the identity tells."""
    tokens = token_set(TEXTS).rename(tmp_path / "own")
    other = token_set({**TEXTS, "test": [text.replace("cat", "cow") for text in TEXTS["test"]]})
    counted = tmp_path / "baseline"
    counted.mkdir()
    count(other, counted, BaselineConfig(orders=(1,)))
    digests = [open_split(folder, "test").digest[:12] for folder in (other, tokens)]
    with pytest.raises(ValueError) as caught:
        measure_pretrained(str(base), str(tokens), str(counted))
    assert str(caught.value) == (
        f"the counting models are no floor for this text: data differs: {digests[0]} in {counted}, {digests[1]} in {tokens}; "
        "run the data stages again"
    )


def test_answers_are_scored_against_base_and_shallow_rules(base: Path, taught: Path, instructions: Path) -> None:
    found = measure_instruct(str(base), str(taught), str(instructions), 6)
    exact = found["unseen"]["exact_match"]
    assert (found["items"], found["held_out_items"]) == (6, 3)
    assert (exact["base"]["value"], exact["instruct"]["value"]) == (0.0, 1.0)
    # copying is right for every echo, and the constant x for the rest: nothing is gained over them
    assert exact["shallow"]["value"] == 1.0
    assert (exact["over_base"]["value"], exact["over_shallow"]["value"]) == (1.0, 0.0)
    assert not judge("instruct", found, GatesConfig(instruct=InstructGate(min_items=5))).passed
    assert found["tasks"]["echo"]["family"] == "echo"
    assert found["tasks"]["echo"]["exact_match"] == {"base": 0.0, "instruct": 1.0, "constant": 0.25, "copy": 1.0}
    assert found["tasks"]["x"]["exact_match"]["constant"] == 1.0
    assert (found["tasks"]["x"]["constant"], found["tasks"]["x"]["items"]) == ("x", 2)
    # of the held-out family "A a" the taught model says "a": half of what it should
    other = found["held_out"]
    assert (other["exact_match"]["instruct"]["value"], other["token_f1"]["instruct"]["value"]) == (
        0.0,
        pytest.approx(2 / 3),
    )
    assert other["token_f1"]["over_base"]["value"] == pytest.approx(2 / 3)
    assert "constant" not in found["tasks"]["other"]["exact_match"]


def test_the_figures_are_those_of_the_answers(base: Path, taught: Path, instructions: Path) -> None:
    found = measure_instruct(str(base), str(taught), str(instructions), 3)
    items = read_items(instructions / "valid.jsonl")
    for name, folder in (("base", base), ("instruct", taught)):
        answers = greedy(*load_model(folder), items, 3)
        for measured, score in (("exact_match", exact_match), ("token_f1", token_f1)):
            values = [score(said.text, each["answer"]) for said, each in zip(answers, items, strict=True)]
            assert found["unseen"][measured][name]["value"] == pytest.approx(sum(values) / len(values))


def test_a_model_against_itself_gains_nothing(taught: Path, instructions: Path) -> None:
    found = measure_instruct(str(taught), str(taught), str(instructions), 6)
    for measured in ("exact_match", "token_f1"):
        gain = found["unseen"][measured]["over_base"]
        other = 1.959964**2 / (6 + 1.959964**2)  # what six questions cannot tell of others
        assert (gain["value"], gain["low"], gain["high"]) == (0.0, pytest.approx(-other), pytest.approx(other))


def test_models_are_asked_the_same_and_shown_side_by_side(
    base: Path, taught: Path, instructions: Path, tokens: Path
) -> None:
    found = compare_models({"base": str(base), "taught": str(taught)}, str(instructions), str(tokens), 6)
    unseen, held_out = (read_items(instructions / f"{name}.jsonl") for name in ("valid", "held_out"))
    assert len(found["answers"]) == len(unseen) + len(held_out)
    wanted = {each["prompt"]: each["answer"] for each in unseen}
    said = {row["prompt"]: row["taught"] for row in found["answers"] if row["task"] in ("echo", "x")}
    assert said == wanted
    assert all({"prompt", "task", "base", "taught"} <= set(row) for row in found["answers"])
    taught_figures, base_figures = found["models"]["taught"], found["models"]["base"]
    assert taught_figures["exact_match"]["unseen"]["value"] == 1.0
    assert taught_figures["exact_match"]["held_out_family"]["value"] == 0.0
    bits = measure(load_model(base)[0], open_split(tokens, "test")).bits_per_byte
    identity = {"identity": identity_of(open_split(tokens, "test"))}
    assert base_figures["bits_per_byte"] == bits.record() | identity
    assert math.isfinite(taught_figures["bits_per_byte"]["value"])
    known = {"base": {"value": 9.0, "low": 8.0, "high": 10.0, "n": 3, **identity}}
    again = compare_models({"base": str(base), "taught": str(taught)}, str(instructions), str(tokens), 6, known)
    assert again["models"]["base"]["bits_per_byte"] == known["base"], "what a gate has measured is not measured again"
    assert again["models"]["taught"] == taught_figures
    known["base"]["identity"] = {**identity["identity"], "data": "of another text"}
    anew = compare_models({"base": str(base)}, str(instructions), str(tokens), 6, known)
    assert anew["models"]["base"] == base_figures, "what was measured on another text is"


def test_nobody_chooses_what_is_shown() -> None:
    items = [{"prompt": f"question {number}"} for number in range(50)]
    shown = first_by_hash(items, 10)
    assert len(shown) == 10
    assert first_by_hash(items[::-1], 10) == shown
    # another question moves at most one of them
    more = first_by_hash([*items, {"prompt": "one more"}], 10)
    assert len([each for each in shown if each in more]) >= 9


def test_lines_of_items_may_hold_any_text(tmp_path: Path) -> None:
    """U+2028 ends a line for Python, not for JSON lines."""
    row = item("echo", "say \u2028\x85 a", "\u2029")
    (tmp_path / "items.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_items(tmp_path / "items.jsonl") == [row]


def test_a_release_is_compared_with_what_is_in_production(base: Path, taught: Path, instructions: Path) -> None:
    first = measure_release({"candidate": str(taught)}, str(instructions), 6)
    assert first["production"] is None
    assert first["candidate"]["value"] == 1.0
    assert judge("release", first, GatesConfig()).passed
    better = measure_release({"candidate": str(taught), "production": str(base)}, str(instructions), 6)
    assert (better["over_production"]["value"], better["over_production"]["n"]) == (1.0, 6)
    assert judge("release", better, GatesConfig()).verdict == "INSUFFICIENT"
    assert better["candidate"]["identity"] == better["production"]["identity"], "both are asked anew, in one way"
    enough = GatesConfig(release=ReleaseGate(min_items=6))
    assert judge("release", better, enough).passed
    worse = measure_release({"candidate": str(base), "production": str(taught)}, str(instructions), 6)
    assert judge("release", worse, enough).verdict == "FAIL"
    stored = measure_release({"production": str(base), "candidate": str(base)}, str(instructions), 5)["production"]
    mixed = judge("release", {**better, "production": stored}, enough)
    assert mixed.verdict == "FAIL"
    assert mixed.reason == (
        'the two figures were not measured alike: decoding differs: "greedy, at most 6 tokens" in the candidate, '
        '"greedy, at most 5 tokens" in production'
    )
