"""FLOP by hand and by nanoGPT's published figures."""

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from models.llama import LlamaShape, build_llama
from tasks.training.mfu import counted_parameters, flops_per_token, mfu, peak_of


def test_nanogpt_on_an_a100() -> None:
    """Its notebook: 124M, 102,400 tokens in 0.755 s -> 37.1 %."""
    flops = flops_per_token(parameters=124_337_664 - 1024 * 768, layers=12, width=768, tokens=1024)
    assert flops == 854_553_600
    assert mfu(102_400 / 0.755, flops, peak_of("NVIDIA A100-SXM4-80GB")) == pytest.approx(0.3715, rel=1e-3)


def test_learned_positions_are_not_multiplied_with() -> None:
    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config)
    assert counted_parameters(model) == sum(tensor.numel() for tensor in model.parameters()) - 16 * 8
    shape = LlamaShape(layers=1, width=8, heads=2, kv_heads=2, feed_forward=16, context=16)
    # embedding (its head is tied), four attention matrices, three of the feed-forward, three norms
    expected = 50 * 8 + 4 * 8 * 8 + 3 * 8 * 16 + 3 * 8
    assert counted_parameters(build_llama(shape, vocabulary=50, end_id=0, pad_id=1)) == expected


def test_an_unknown_board_is_named() -> None:
    assert peak_of("NVIDIA H200") == 989e12
    with pytest.raises(ValueError, match="no peak is known for 'Radeon'; there are A100, H100, H200"):
        peak_of("Radeon")
