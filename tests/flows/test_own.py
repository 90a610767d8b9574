"""A user's own text and own base model: named by a command each, and then the same lifecycle."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.end_to_end


def base_model(folder: Path) -> Path:
    """A GPT-2 of two layers with a byte-level tokenizer, saved by transformers itself; it knows no chat."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(
        ["we the people of the united states in order to form a more perfect union"] * 20, trainer
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=400, n_positions=128, n_embd=64, n_layer=2, n_head=2, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder, max_shard_size="200KB")  # in several files, as large models come
    return folder


@pytest.fixture(scope="module")
def own(
    tmp_path_factory: pytest.TempPathFactory,
    workspace_at: Callable[[Path], Path],
    command_in: Callable[..., Any],
    test_data: Path,
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("own")
    workspace, user = workspace_at(folder / "workspace"), folder / "user"
    user.mkdir()
    command = command_in(workspace, user)
    listed = command(
        "data",
        "add",
        str(test_data / "public_domain_text" / "inaugural.zip"),
        "--corpus",
        "tiny",
        "--replace",
        "--json",
    )
    command("data", "add", str(test_data / "ko_public_text"), "--corpus", "tiny")
    model = base_model(folder / "base")
    result = command("run", "--recipe", "tiny", "--start-from", str(model), "--json")
    return {"command": command, "listed": listed, "result": result, "folder": folder, "workspace": workspace}


def test_data_add_names_the_text_and_the_run_trains_on_it(own: dict[str, Any]) -> None:
    assert [source["name"] for source in json.loads(own["listed"].stdout)["corpora"]["tiny"]["sources"]] == [
        "inaugural"
    ]
    assert own["result"].returncode == 0, own["result"].stderr
    split = own["workspace"] / ".espalier" / "data" / "tiny" / "split" / "train.jsonl"
    sources = {json.loads(line)["id"].split("/")[0] for line in split.read_text(encoding="utf-8").splitlines()}
    assert sources == {"inaugural", "ko_public_text"}


def test_the_own_model_is_a_version_and_pretraining_was_skipped(own: dict[str, Any]) -> None:
    document = json.loads(own["result"].stdout)
    pretrain = next(stage for stage in document["stages"] if stage["stage"] == "pretrain")
    assert pretrain["worker_pid"] is None
    assert "brought in by a person" in pretrain["reason"]
    versions = json.loads(own["command"]("models", "list", "--json").stdout)
    stages = {version["stage"]: version for version in versions}
    assert set(stages) == {"imported", "instruct", "reward", "aligned"}
    assert stages["imported"]["digest"] in stages["instruct"]["parents"]
    shown = json.loads(own["command"]("models", "show", "tiny-pretrained", "--json").stdout)
    assert shown["figures"]["bits per byte"] > 1.0


def test_the_aligned_model_talks_with_the_tokenizer_it_came_with(own: dict[str, Any]) -> None:
    result = own["command"]("chat", "--once", "Count the words: we the people")
    assert result.returncode == 0, result.stderr


def test_a_folder_that_is_no_model_is_refused_in_one_sentence(own: dict[str, Any]) -> None:
    empty = own["folder"] / "empty"
    empty.mkdir()
    result = own["command"]("run", "--recipe", "tiny", "--start-from", str(empty))
    assert result.returncode == 2
    assert "config.json, model.safetensors, tokenizer.json missing" in result.stderr
    assert "Traceback" not in result.stderr
