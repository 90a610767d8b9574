"""T5 v1.1 (2020): Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer".

The library's, from scratch. Version 1.1 has gated GELU and a head of its own (Shazeer, "GLU Variants", 2020).
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration


@dataclass(frozen=True, kw_only=True)
class T5Shape:
    """`layers` in the encoder and as many in the decoder; its vocabulary is the tokenizer's and the sentinels above it.

    Distances between tokens fall into `buckets`, the last of which begins at `distance`; they are all the model knows of
    places, so it has no longest text.
    """

    layers: int = 2
    width: int = 128
    heads: int = 4
    feed_forward: int = 256
    buckets: int = 32
    distance: int = 128
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.feed_forward) < 1:
            raise ValueError("t5: every size must be at least 1")
        if self.width % self.heads:
            raise ValueError(f"t5: width {self.width} must be a multiple of heads {self.heads}")
        if self.buckets < 4 or self.buckets % 4 or self.distance <= self.buckets // 2:
            raise ValueError("t5: buckets must be a multiple of 4, and distance above half of them")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"t5: dropout lies in [0, 1), found {self.dropout}")


def build_t5(shape: T5Shape, *, vocabulary: int, end_id: int, pad_id: int) -> T5ForConditionalGeneration:
    """A model with fresh weights (torch's global generator); the decoder starts with `pad_id`.

    Scores of attention are not divided by sqrt(head size): the queries' weights are drawn so much smaller. The library
    ties the head to the embedding whatever it is told and draws the embedding from N(0, 1); a head like that would begin
    at a loss of sqrt(width) times what is known, so it gets weights of its own from N(0, 1 / width), as T5's had them:
    logits are N(0, 1), and the first loss is ln V + 1/2.
    """
    config = T5Config(
        vocab_size=vocabulary,
        d_model=shape.width,
        d_kv=shape.width // shape.heads,
        d_ff=shape.feed_forward,
        num_layers=shape.layers,
        num_heads=shape.heads,
        relative_attention_num_buckets=shape.buckets,
        relative_attention_max_distance=shape.distance,
        dropout_rate=shape.dropout,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        eos_token_id=end_id,
        pad_token_id=pad_id,
        decoder_start_token_id=pad_id,
        attn_implementation="sdpa",
    )
    model = T5ForConditionalGeneration(config)
    model.lm_head.weight = nn.Parameter(torch.empty_like(model.shared.weight).normal_(std=shape.width**-0.5))
    model.config.tie_word_embeddings = False  # from here on nothing of the library ties it again
    return model
