"""A model's folder comes back as it was saved, and other programs read it too."""

from pathlib import Path
from typing import Any

import pytest
import torch
from model_folders import logits, with_config, with_tensors
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

from models.catalogue import (
    copy_tokenizer,
    load_model,
    load_weights,
    save_model,
)
from models.tokenizers.chat import ChatTokenizer
from models.weights import WEIGHTS_FILE


def test_a_model_comes_back_as_it_was(folder: Path, model: Any, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    loaded, spoken = load_model(folder)
    assert torch.equal(logits(loaded), logits(model))
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert spoken.encode_prompt([{"role": "user", "content": "a b"}]) == tokenizer.encode_prompt(
        [{"role": "user", "content": "a b"}]
    )
    save_model(tmp_path / "again", loaded, spoken)
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_the_shared_embedding_is_stored_once(folder: Path, model: Any) -> None:
    stored = load_file(folder / WEIGHTS_FILE)
    assert "lm_head.weight" not in stored
    assert sum(tensor.numel() for tensor in stored.values()) == sum(tensor.numel() for tensor in model.parameters())


def test_other_programs_read_the_folder(folder: Path, model: Any, tokenizer: ChatTokenizer) -> None:
    """transformers' own loaders: the same logits, the same ids, the same chat template."""
    theirs = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    torch.testing.assert_close(logits(theirs), logits(model), rtol=0, atol=1e-6)
    read = AutoTokenizer.from_pretrained(folder)
    for text in ("Two and three is five.", "법 앞에 평등하다. 👩‍🔧", "  spaces\n\n\tand tabs", "don't"):
        assert read.encode(text, add_special_tokens=False) == tokenizer.encode_text(text)
        assert read.decode(tokenizer.encode_text(text)) == text
    turns = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    encoded = read.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert encoded == tokenizer.encode_prompt(turns)
    assert (read.eos_token_id, read.pad_token_id) == (tokenizer.end_id, tokenizer.pad_id)


@pytest.mark.parametrize("kind", ["gpt2", "qwen2", "untied"])
def test_every_architecture_of_the_table_makes_the_round_trip(
    kind: str, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    size = tokenizer.vocabulary
    if kind == "gpt2":
        built: Any = GPT2LMHeadModel(GPT2Config(vocab_size=size, n_positions=32, n_embd=16, n_layer=2, n_head=2))
    else:
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        sizes |= {"num_key_value_heads": 1, "max_position_embeddings": 32, "vocab_size": size}
        built = Qwen2ForCausalLM(Qwen2Config(tie_word_embeddings=kind == "qwen2", **sizes))
    save_model(tmp_path, built.eval(), tokenizer)
    assert ("lm_head.weight" in load_file(tmp_path / WEIGHTS_FILE)) == (kind == "untied")
    assert torch.equal(logits(load_weights(tmp_path)), logits(built))


def test_half_precision_weights_are_read_into_fp32(folder: Path, model: Any) -> None:
    with_tensors(folder, lambda tensors: tensors.update({name: each.bfloat16() for name, each in tensors.items()}))
    loaded = load_weights(folder)
    assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0.1, atol=0.5)


def test_a_doubled_embedding_must_be_the_same(folder: Path, model: Any) -> None:
    with_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"] * 1}))
    assert torch.equal(logits(load_weights(folder)), logits(model))
    with_tensors(folder, lambda tensors: tensors["lm_head.weight"].add_(1))
    with pytest.raises(ValueError, match=r"lm_head\.weight is not the input embedding"):
        load_weights(folder)


def test_a_tokenizer_of_more_tokens_than_the_model_embeds_is_refused(folder: Path) -> None:
    with_config(folder, vocab_size=290)
    with_tensors(
        folder, lambda each: each.update({"model.embed_tokens.weight": each["model.embed_tokens.weight"][:290].clone()})
    )
    load_weights(folder)
    with pytest.raises(ValueError, match="the tokenizer has 300 tokens and the model embeds 290"):
        load_model(folder)


def test_the_tokenizer_is_copied_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    copy_tokenizer(folder, tmp_path / "copy")
    copied = sorted(path.name for path in (tmp_path / "copy").iterdir())
    assert copied == ["tokenizer.json", "tokenizer_config.json"]
    for name in copied:
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a tokenizer"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="not readable as JSON"):
        load_weights(tmp_path / "nowhere")
