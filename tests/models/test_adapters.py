"""LoRA in decoders of every architecture: it begins as nothing, merges into what it was, and peft reads what is saved."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModelForCausalLM
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from models.adapters import CONFIG_FILE, WEIGHTS_FILE, Adapters
from models.bert import BertShape, build_bert
from models.catalogue import ARCHITECTURES
from models.heads import hidden_states, vocabulary_head
from models.lora import LINEAR_LAYERS, TOKEN_ROWS, LoraShape, linear_layers
from models.t5 import T5Shape, build_t5
from tasks.training.optimizers import hidden_matrices
from tests.decoders import one_thread

__all__ = ["one_thread"]

SIZES = {"vocab_size": 50, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 1, "initializer_range": 0.3}
WIDE = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 32,
}  # fmt: skip
IDS = torch.arange(24).view(2, 12) * 7 % 50
TOKENS = (2, 9, 30)  # of IDS one
KINDS = pytest.mark.parametrize("kind", sorted(ARCHITECTURES))


def decoder(kind: str, *, tied: bool = False) -> Any:
    torch.manual_seed(5)
    sizes = {**SIZES, "tie_word_embeddings": tied}
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(**sizes, n_embd=16, n_layer=2, n_head=2, n_positions=32)).eval()
    if kind == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**sizes, **WIDE)).eval()
    return LlamaForCausalLM(LlamaConfig(**sizes, **WIDE)).eval()


def taught(model: Any, shape: LoraShape, token_ids: Sequence[int] = ()) -> Adapters:
    """Adapters as after a training: those that begin at 0 are no longer there."""
    adapters = Adapters(model, shape, seed=1, token_ids=token_ids)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_B" in name or TOKEN_ROWS in name:
                tensor.normal_(std=0.2)
    return adapters


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=IDS).logits
    return found


def test_the_linear_layers_of_every_architecture_can_be_named() -> None:
    assert {name for kind in ARCHITECTURES for name in linear_layers(decoder(kind))} == set(LINEAR_LAYERS)


@KINDS
def test_new_adapters_add_nothing_and_want_every_gradient(kind: str) -> None:
    model = decoder(kind)
    before, own = logits(model), {name for name, _ in model.named_parameters()}
    Adapters(model, LoraShape(rank=3), seed=1)
    assert torch.equal(logits(model.eval()), before)
    learned = {name for name, tensor in model.named_parameters() if tensor.requires_grad}
    assert learned
    assert all("lora_" in name for name in learned)
    assert len([name for name, _ in model.named_parameters() if name not in learned]) == len(own)


@pytest.mark.parametrize("rank", [1, 3])
@KINDS
def test_all_of_an_adapter_is_muons_whatever_its_rank(kind: str, rank: int) -> None:
    model = decoder(kind)
    Adapters(model, LoraShape(rank=rank), seed=1)
    assert {name for name, each in model.named_parameters() if each.requires_grad} <= set(hidden_matrices(model))


def test_the_parameters_of_adapters_by_hand() -> None:
    """rank x (inputs + outputs) of each layer; k_proj has one of two heads."""
    model = decoder("llama")
    Adapters(model, LoraShape(rank=3, targets=("q_proj", "k_proj")), seed=1)
    assert sum(each.numel() for each in model.parameters() if each.requires_grad) == 2 * 3 * ((16 + 16) + (16 + 8))


@KINDS
def test_merged_is_unmerged_and_what_it_was_made_of(kind: str) -> None:
    """Against W + alpha / rank B A by hand, of every layer that has one."""
    model, base = decoder(kind), decoder(kind).state_dict()
    adapters = taught(model, LoraShape(rank=3, alpha=6))
    apart, parts = logits(model), {name: tensor.clone() for name, tensor in model.named_parameters()}
    adapters.merge(IDS)
    assert float((apart - logits(decoder(kind))).abs().max()) > 0.1, "else equal logits would say nothing"
    torch.testing.assert_close(logits(model), apart, rtol=0, atol=1e-5)
    merged = model.state_dict()
    assert set(merged) == set(base)
    for name, tensor in merged.items():
        layer = name.removesuffix(".weight")
        if f"{layer}.lora_A.default.weight" in parts:
            added = 2 * parts[f"{layer}.lora_B.default.weight"] @ parts[f"{layer}.lora_A.default.weight"]
            torch.testing.assert_close(tensor, base[name] + (added.T if kind == "gpt2" else added))
        else:
            assert torch.equal(tensor, base[name]), name


@KINDS
def test_peft_loads_what_was_saved(kind: str, tmp_path: Path) -> None:
    model = decoder(kind)
    taught(model, LoraShape(rank=3, dropout=0.1)).save(tmp_path)
    loaded = PeftModelForCausalLM.from_pretrained(decoder(kind), tmp_path).eval()
    assert torch.equal(logits(loaded), logits(model.eval()))


@pytest.mark.parametrize("tied", [False, True])
@KINDS
def test_tokens_get_rows_of_their_own_in_the_embedding_and_in_the_head(kind: str, tied: bool, tmp_path: Path) -> None:
    """One each where the head is the embedding, else two; loss and logits see them, peft loads and a merge keeps them."""
    model, base = decoder(kind, tied=tied), decoder(kind, tied=tied)
    adapters = taught(model, LoraShape(rank=3), TOKENS)
    rows = {name: tensor for name, tensor in model.named_parameters() if TOKEN_ROWS in name}
    assert [tuple(each.shape) for each in rows.values()] == [(3, 16)] * (1 if tied else 2)
    assert not set(rows) & set(hidden_matrices(model)), "rows of an embedding are none of Muon's"
    apart = logits(model)
    torch.testing.assert_close(hidden_states(model, IDS) @ vocabulary_head(model).T, apart)
    adapters.save(tmp_path)
    loaded = PeftModelForCausalLM.from_pretrained(decoder(kind, tied=tied), tmp_path).eval()
    assert torch.equal(logits(loaded), apart)
    adapters.merge(IDS)
    torch.testing.assert_close(logits(model), apart, rtol=0, atol=1e-4)
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied
    others = [number for number in range(50) if number not in TOKENS]
    for table, row in zip(("get_input_embeddings", "get_output_embeddings"), list(rows.values()) * 2, strict=False):
        merged, before = getattr(model, table)().weight, getattr(base, table)().weight
        assert torch.equal(merged[list(TOKENS)], row)
        assert torch.equal(merged[others], before[others])


def test_the_same_adapters_are_the_same_bytes_and_name_no_place(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        model = decoder("llama")
        model.config._name_or_path = str(tmp_path / folder)
        taught(model, LoraShape(rank=2, targets=("v_proj", "q_proj"))).save(tmp_path / folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert json.loads((tmp_path / "one" / CONFIG_FILE).read_text())["target_modules"] == ["q_proj", "v_proj"]
    assert len(load_file(tmp_path / "one" / WEIGHTS_FILE)) == 2 * 2 * 2


def test_a_merge_that_loses_what_was_learned_is_refused() -> None:
    """Into weights of fewer bits, the way merged models have come to talk gibberish (LlamaFactory issue 6020)."""
    adapters = taught(decoder("llama").bfloat16(), LoraShape())
    with pytest.raises(ValueError, match="the merged model would not be the one that was trained"):
        adapters.merge(IDS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rank": 0}, "rank and alpha must be at least 1"),
        ({"dropout": 1.0}, r"dropout lies in \[0, 1\)"),
        ({"learning_rate_factor": 0.0}, "learning_rate_factor must be above 0; 1 leaves"),
        ({"targets": ("q_prj",)}, "no decoder has a linear layer q_prj; there are q_proj, "),
    ],
)
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"lora: {said}"):
        LoraShape(**wrong)


def test_a_layer_of_another_architecture_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"has no linear layer q_proj; it has c_attn, c_proj, c_fc$"):
        Adapters(decoder("gpt2"), LoraShape(targets=("q_proj",)), seed=1)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: build_bert(BertShape(layers=1, width=16, heads=2, feed_forward=24), vocabulary=50, pad_id=0),
         "a bert has query, key, value, dense"),
        (lambda: build_t5(T5Shape(layers=1, width=16, heads=2, feed_forward=24), vocabulary=50, end_id=1, pad_id=0),
         "a t5 has q, k, v, o, wi_0, wi_1, wo"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("targets", [(), ("q_proj",)])
def test_what_is_no_decoder_is_refused_with_the_layers_of_one(
    model: Callable[[], Any], said: str, targets: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=f"^lora: adapters are for decoders, in the layers q_proj, .*c_fc; {said}"):
        Adapters(model(), LoraShape(targets=targets), seed=1)
