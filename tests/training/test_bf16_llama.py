"""Layers written out for bf16 compute what the library's compute, under any mask, and are there only while asked for."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from models.adapters import Adapters
from models.heads import hidden_states
from models.llama import LlamaShape, build_llama
from models.lora import LoraShape
from tasks.training import bf16_llama
from tasks.training.bf16_llama import bf16_layers

B, T, VOCABULARY = 5, 150, 97  # more than a block of queries, and not a whole number of them


def decoder(kv_heads: int = 4) -> Any:
    """Weights far from their first values, so that attention is not a mean and norms are not one."""
    torch.manual_seed(0)
    shape = LlamaShape(layers=2, width=64, heads=4, kv_heads=kv_heads, feed_forward=160, context=T)
    model = build_llama(shape, vocabulary=VOCABULARY, end_id=0, pad_id=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4) if parameter.dim() == 2 else parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.train()


def read(kind: str) -> dict[str, Tensor]:
    """Plain rows; padded ones, on the left and on the right; rows of several documents."""
    ids = torch.randint(5, VOCABULARY, (B, T), generator=torch.Generator().manual_seed(1))
    mask, segments = torch.ones(B, T, dtype=torch.long), torch.ones(B, T, dtype=torch.long)
    mask[1, :40], mask[2, 110:] = 0, 0
    segments[:, 30:], segments[1, 100:], segments[:, 140:] = 2, 3, 0
    return {"ids_BT": ids, **{"plain": {}, "padded": {"mask_BT": mask}, "packed": {"segments_BT": segments}}[kind]}


def results(model: nn.Module, rows: dict[str, Tensor], *, bf16: bool, ours: bool = False) -> dict[str, Tensor]:
    """Hidden states of tokens that are no padding, and all gradients of a fixed weighting of them."""
    model.zero_grad()
    wanted = rows.get("mask_BT", rows.get("segments_BT", torch.ones_like(rows["ids_BT"]))) > 0
    with bf16_layers(model if ours else nn.Identity()):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            states = hidden_states(model, **rows)[wanted]
        weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(2))
        (states * weights).sum().backward()
    found = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    return {**found, "states": states.detach()}


def error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


KINDS = pytest.mark.parametrize("kind", ["plain", "padded", "packed"])
KV_HEADS = pytest.mark.parametrize("kv_heads", [4, 1])


@KINDS
@KV_HEADS
def test_with_products_in_fp32_they_are_the_librarys(monkeypatch: pytest.MonkeyPatch, kind: str, kv_heads: int) -> None:
    model, rows = decoder(kv_heads), read(kind)
    exact = results(model, rows, bf16=False)
    monkeypatch.setattr(bf16_llama, "PRODUCTS", torch.float32)
    ours = results(model, rows, bf16=False, ours=True)
    assert set(ours) == set(exact)
    for name, tensor in exact.items():
        assert 0 < error(ours[name], tensor) < 1e-5, name


@KINDS
@KV_HEADS
def test_in_bf16_they_err_as_autocast_errs(kind: str, kv_heads: int) -> None:
    """Beside fp32 both are off by the rounding of bf16."""
    model, rows = decoder(kv_heads), read(kind)
    exact, autocast = results(model, rows, bf16=False), results(model, rows, bf16=True)
    ours = results(model, rows, bf16=True, ours=True)
    for name, tensor in exact.items():
        assert error(ours[name], tensor) < min(2 * error(autocast[name], tensor), 0.05), name
    of_all = [error(joined(each), joined(exact)) for each in (ours, autocast)]
    assert of_all[0] < 1.1 * of_all[1]
    assert not torch.equal(ours["states"], autocast["states"])


def joined(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensors[name].flatten() for name in sorted(tensors) if name != "states"])


@pytest.mark.parametrize("sequences", [1, 3])
def test_groups_of_sequences_change_nothing(monkeypatch: pytest.MonkeyPatch, sequences: int) -> None:
    model, rows = decoder(), read("packed")
    together = results(model, rows, bf16=True, ours=True)
    monkeypatch.setattr(bf16_llama, "BLOCK_SCORES", sequences * 4 * bf16_llama.BLOCK_QUERIES * T)
    apart = results(model, rows, bf16=True, ours=True)
    for name, tensor in together.items():
        torch.testing.assert_close(apart[name], tensor, rtol=1e-5, atol=1e-5)


def test_a_token_does_not_see_what_comes_later_nor_another_document() -> None:
    model, rows = decoder(), read("packed")
    before = seen(model, rows)
    rows["ids_BT"] = rows["ids_BT"].clone()
    rows["ids_BT"][:, 100] = 3
    after = seen(model, rows)
    changed = (before != after).any(2)
    assert not changed[:, :100].any()
    assert changed[0, 100:140].all()
    assert changed[1, 100:140].all()  # a document begins there: its own tokens alone
    rows["ids_BT"][1, 99] = 4
    assert torch.equal(seen(model, rows)[1, 100:140], after[1, 100:140])


def seen(model: nn.Module, rows: dict[str, Tensor]) -> Tensor:
    with bf16_layers(model), torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        return hidden_states(model, **rows)


def test_outside_the_layers_are_the_librarys() -> None:
    model, rows = decoder(), read("plain")
    layer, before = model.model.layers[0], hidden_states(model, **rows)
    with bf16_layers(model):
        assert "forward" in vars(layer)
    with pytest.raises(ValueError, match="inside"):
        fail_inside(model)
    assert "forward" not in vars(layer)
    assert torch.equal(hidden_states(model, **rows), before)


def fail_inside(model: nn.Module) -> None:
    with bf16_layers(model):
        raise ValueError("inside")


def test_what_an_adapter_adds_is_not_passed_over() -> None:
    """A layer with an adapter answers, asked for its weight, with that of its base: it is left to the library."""
    model, rows = decoder(), read("packed")
    Adapters(model, LoraShape(rank=4, targets=("down_proj",)), seed=1)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_B" in name:
                tensor.normal_()
    exact, found = results(model, rows, bf16=False), results(model, rows, bf16=True, ours=True)
    assert set(found) == set(exact)
    for name, tensor in exact.items():
        assert error(found[name], tensor) < 0.05, name


def test_layers_that_are_not_written_out_are_left_alone() -> None:
    model = decoder()
    model.config.attention_dropout = 0.1
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    with bf16_layers(nn.ModuleList([model, gpt2])):
        assert not any("forward" in vars(each) for each in [*model.modules(), *gpt2.modules()])
