"""From a token set to a sealed model: jobs are plain JSON, folders belong to one training, results to their digest."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import StopAt, UnequalBatches, tiny_config, tiny_model

from models.catalogue import load_model, load_weights
from models.llama import LlamaShape
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from tasks.artifacts import read_artifact, verify, write_artifact
from tasks.corpus.documents import SPLITS, Document, to_line
from tasks.tokenization.encode import encode_corpus
from tasks.training import pretraining
from tasks.training.engine import Preempted, TrainingConfig
from tasks.training.job import Job, of_record, run_training
from tasks.training.lease import LEASE_FILE, Lease
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig, Schedule
from tasks.training.pretraining import PretrainConfig
from tasks.training.spoken import read_samples

TEXT = "One and one is two, two and two is four, and four and four is eight. 하나에 하나를 더하면 둘이다.\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tokenizer and a token set, made as the data stages make them."""
    root = tmp_path_factory.mktemp("inputs")
    split, tokenizer, tokens = (root / name for name in ("split", "tokenizer", "tokens"))
    split.mkdir()
    tokenizer.mkdir()
    for name in SPLITS:
        documents = [Document(id=f"{name}/{n}", group=f"{name}/{n}", kind="text", text=TEXT * 4) for n in range(5)]
        (split / f"{name}.jsonl").write_text("".join(map(to_line, documents)), encoding="utf-8")
    write_artifact(split, kind="split")
    bpe.save(bpe.fit([TEXT * 20], vocabulary=300), tokenizer)
    write_artifact(tokenizer, kind="tokenizer")
    encode_corpus(split, tokenizer, tokens)
    return {"tokens": str(tokens), "tokenizer": str(tokenizer)}


def job(folder: Path, inputs: Mapping[str, str], **changed: Any) -> dict[str, Any]:
    """As a flow hands it over: through JSON."""
    training = {
        "steps": 6,
        "batch_sequences": 4,
        "optimizer": {"kind": "muon", "learning_rate": 0.02},
        "schedule": {"warmup_steps": 2},
        "checkpoint_steps": 2,
    }
    architecture = {"layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "feed_forward": 48, "context": 16}
    record = {
        "folder": str(folder / "run"),
        "out": str(folder / "out"),
        "kind": pretraining.KIND,
        "identity": "c" * 64,
        "seed": 3,
        "config": {"architecture": architecture, "training": training},
        "runtime": {"precision": "fp32", "threads": 1},
        "inputs": dict(inputs),
        "parents": {"tokens": "t" * 64, "tokenizer": "k" * 64},
        "recipe": {"pretrain": {"steps": 6}},
        **changed,
    }
    made: dict[str, Any] = json.loads(json.dumps(record))
    return made


def test_a_job_gives_a_sealed_model_and_an_honest_account(inputs: dict[str, str], tmp_path: Path) -> None:
    steps: list[int] = []
    result = pretraining.run(job(tmp_path, inputs, code="abc"), [lambda state, _: steps.append(state.step)])
    assert json.loads(json.dumps(result)) == result
    assert steps == [1, 2, 3, 4, 5, 6]
    folder = Path(result["artifact"]["path"])
    assert folder == tmp_path / "out" / result["artifact"]["digest"][:16]
    assert verify(folder, digest=result["artifact"]["digest"]) == (True, "")
    sealed = read_artifact(folder)
    assert (sealed.kind, sealed.code, sealed.recipe) == ("pretrained", "abc", {"pretrain": {"steps": 6}})
    assert sealed.parents == ("k" * 64, "t" * 64)
    assert sorted(sealed.files) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    # 300 x 32 embedded; q, o 32 x 32, k, v 32 x 16, three times 32 x 48, two norms; a last norm
    assert result["parameters"] == 300 * 32 + 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48 + 2 * 32 + 32
    assert (result["steps"], result["tokens"], result["resumed_at"], result["note"]) == (6, 6 * 4 * 16, 0, "")
    assert result["decided"]["precision"] == "fp32"
    assert 0 < result["own_seconds"] == result["seconds"]
    assert result["metrics"]["loss"] < 5.7


def test_the_digest_depends_on_weights_alone(inputs: dict[str, str], tmp_path: Path) -> None:
    """Another folder, other hooks, killed on the way or not: the same model is the same artifact."""
    first = pretraining.run(job(tmp_path / "a", inputs), [])
    with pytest.raises(Preempted):
        pretraining.run(job(tmp_path / "b", inputs), [StopAt(3)])
    assert not (tmp_path / "b" / "out").exists()
    second = pretraining.run(job(tmp_path / "b", inputs, code="another"), [])
    assert second["resumed_at"] == 3
    assert second["artifact"]["digest"] == first["artifact"]["digest"]
    other = pretraining.run(job(tmp_path / "c", inputs, seed=4), [])
    assert other["artifact"]["digest"] != first["artifact"]["digest"]


def test_a_finished_job_is_given_back_without_training(inputs: dict[str, str], tmp_path: Path) -> None:
    first = pretraining.run(job(tmp_path, inputs), [])
    again = pretraining.run(job(tmp_path, inputs), [lambda *_: pytest.fail("a step was made")])
    assert again["artifact"] == first["artifact"]
    assert (again["resumed_at"], again["own_seconds"], again["seconds"]) == (6, 0.0, first["seconds"])
    assert verify(Path(again["artifact"]["path"])) == (True, "")


def test_a_folder_belongs_to_one_training(inputs: dict[str, str], tmp_path: Path) -> None:
    pretraining.run(job(tmp_path, inputs), [])
    with pytest.raises(ValueError, match="belongs to another training"):
        pretraining.run(job(tmp_path, inputs, identity="d" * 64), [])


def test_a_job_that_lost_its_folder_publishes_nothing(inputs: dict[str, str], tmp_path: Path) -> None:
    """Another process takes the lease in the last step, after which only the result would be written."""

    def lose(state: Any, _metrics: object) -> None:
        if state.step == 5:
            lease = tmp_path / "run" / LEASE_FILE
            lease.write_text(json.dumps({"pid": 1, "started": "x", "epoch": 9}), encoding="utf-8")

    with pytest.raises(ValueError, match="process 1 holds this training now"):
        pretraining.run(job(tmp_path, inputs), [lose])
    assert not (tmp_path / "out").exists()


def test_a_job_that_lost_its_folder_while_saving_publishes_nothing(tmp_path: Path) -> None:
    record = of_record(Job, job(tmp_path, {}))

    def save(folder: Path) -> None:
        (folder / "weights").write_text("finished too late", encoding="utf-8")
        Lease(tmp_path / "run")

    with pytest.raises(ValueError, match="holds this training now"):
        run_training(
            record, [], module=tiny_model(), objective=NextToken(), batches=UnequalBatches(),
            config=tiny_config(steps=2), sequence_tokens=24, save=save,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_going_on_from_a_model_keeps_its_size(inputs: dict[str, str], tmp_path: Path) -> None:
    first = pretraining.run(job(tmp_path / "a", inputs), [])
    base = {**inputs, "base": first["artifact"]["path"]}
    second = pretraining.run(job(tmp_path / "b", base), [])
    before, after = (load_weights(Path(each["artifact"]["path"])) for each in (first, second))
    assert {name: each.shape for name, each in before.state_dict().items()} == {
        name: each.shape for name, each in after.state_dict().items()
    }
    assert second["metrics"]["loss"] < first["metrics"]["loss"]


def test_tokens_of_another_tokenizer_are_refused(inputs: dict[str, str], tmp_path: Path) -> None:
    """For fresh weights and for given ones: ids of another vocabulary would train without a complaint."""
    first = pretraining.run(job(tmp_path / "a", inputs), [])
    other = tmp_path / "other"
    other.mkdir()
    bpe.save(bpe.fit([TEXT * 20], vocabulary=280), other)
    with pytest.raises(ValueError, match="was encoded with another tokenizer; run the data stages again"):
        pretraining.run(job(tmp_path / "b", {**inputs, "tokenizer": str(other)}), [])
    model, _ = load_model(Path(first["artifact"]["path"]))
    copied = tmp_path / "copied"
    torch.manual_seed(0)
    pretraining.save_model(copied, model, ChatTokenizer.load(other))
    with pytest.raises(ValueError, match="was encoded with another tokenizer"):
        pretraining.run(job(tmp_path / "c", {**inputs, "base": str(copied)}), [])


def test_it_says_something_four_times_on_its_way(inputs: dict[str, str], tmp_path: Path) -> None:
    """Held-out beginnings, continued; a resumed training says some of it again and is read once."""
    with pytest.raises(Preempted):
        pretraining.run(job(tmp_path, inputs), [StopAt(5)])
    pretraining.run(job(tmp_path, inputs), [])
    samples = read_samples(tmp_path / "run")
    assert [sample["step"] for sample in samples] == [2, 3, 5, 6]
    tokenizer = ChatTokenizer.load(Path(inputs["tokenizer"]))
    beginning = tokenizer.decode(tokenizer.encode_text(TEXT * 4)[: pretraining.PROMPT_TOKENS])
    assert {sample["prompt"] for sample in samples} == {beginning}
    with (tmp_path / "run" / "samples.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({**samples[0], "text": "a\u2028b\x85}\n"}, ensure_ascii=False) + "\n")
        stream.write('{"step": 7, "prompt": "}\n{"step": 7, "pro' + json.dumps(samples[1]) + '\n{"step": 8')
    assert read_samples(tmp_path / "run")[0]["text"] == "a\u2028b\x85}\n"
    assert len(read_samples(tmp_path / "run")) == 4
    assert read_samples(tmp_path / "nowhere") == []


def test_a_config_comes_back_from_its_record() -> None:
    config = PretrainConfig(
        architecture=LlamaShape(layers=2, width=64, heads=4, kv_heads=2),
        training=TrainingConfig(
            steps=7, batch_sequences=3, optimizer=OptimizerConfig(learning_rate=0.1), schedule=Schedule(warmup_steps=1)
        ),
        start_from="somewhere",
    )
    assert of_record(PretrainConfig, json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_unnamed_parts_of_a_record_are_defaults_and_unknown_ones_refused() -> None:
    least = {"training": {"steps": 1, "batch_sequences": 1, "optimizer": {"learning_rate": 0.1}}}
    assert of_record(PretrainConfig, least).architecture == LlamaShape()
    with pytest.raises((TypeError, KeyError)):
        of_record(PretrainConfig, {**least, "trainning": {}})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Schedule | None = None
    numbers: tuple[int, ...] = ()


def test_a_nested_optional_part_may_be_there_or_not() -> None:
    assert of_record(Outer, {"inner": {"warmup_steps": 3}}).inner == Schedule(warmup_steps=3)
    assert of_record(Outer, {"inner": None}).inner is None
    assert of_record(Outer, {"numbers": [1, 2]}).numbers == (1, 2)


def test_the_record_of_a_job_names_its_inputs(inputs: dict[str, str], tmp_path: Path) -> None:
    record = of_record(Job, job(tmp_path, inputs))
    assert record.input("tokens") == Path(inputs["tokens"])
    assert record.code is None
