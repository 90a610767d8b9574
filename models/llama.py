"""Llama (2023): Touvron et al., "LLaMA: Open and Efficient Foundation Language Models"; the library's, from scratch."""

import math
from dataclasses import dataclass

from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

INITIAL_STD = 0.02


@dataclass(frozen=True, kw_only=True)
class LlamaShape:
    """The size of a decoder; its vocabulary is the tokenizer's. `kv_heads` below `heads` is grouped-query attention."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    kv_heads: int = 4
    feed_forward: int = 384
    context: int = 256

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.kv_heads, self.feed_forward) < 1 or self.context < 2:
            raise ValueError("architecture: every size must be at least 1, and context at least 2")
        if self.width % (2 * self.heads):
            raise ValueError(f"architecture: width {self.width} must be an even multiple of heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"architecture: heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")


def build_llama(shape: LlamaShape, *, vocabulary: int, end_id: int, pad_id: int) -> LlamaForCausalLM:
    """A model with fresh weights (drawn from torch's global generator); input and output embeddings are tied.

    Matrices are N(0, 0.02^2); those that write into the residual stream are 1 / sqrt(2 layers) of it (GPT-2).
    """
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        attention_dropout=0.0,
        bos_token_id=None,
        eos_token_id=end_id,
        pad_token_id=pad_id,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if parameter.dim() >= 2:
            writes_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            scale = 1 / math.sqrt(2 * shape.layers) if writes_residual else 1.0
            nn.init.normal_(parameter, std=INITIAL_STD * scale)
    return model
