"""GPT-2 (2019): Radford et al., "Language Models are Unsupervised Multitask Learners"; the library's, from scratch."""

from dataclasses import dataclass

from transformers import GPT2Config, GPT2LMHeadModel


@dataclass(frozen=True, kw_only=True)
class Gpt2Shape:
    """The size of a decoder; its vocabulary is the tokenizer's, its feed-forward four times as wide as it is."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    context: int = 256
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads) < 1 or self.context < 2:
            raise ValueError("gpt2: every size must be at least 1, and context at least 2")
        if self.width % self.heads:
            raise ValueError(f"gpt2: width {self.width} must be a multiple of heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"gpt2: dropout lies in [0, 1), found {self.dropout}")


def build_gpt2(shape: Gpt2Shape, *, vocabulary: int, end_id: int, pad_id: int) -> GPT2LMHeadModel:
    """A model with fresh weights (drawn from torch's global generator); input and output embeddings are tied.

    Norms stand before the layers, positions are learned, GELU is the tanh one. The library draws matrices from
    N(0, 0.02^2), those into the residual stream from 1 / sqrt(2 layers) of it, and stores them transposed (Conv1D).
    """
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=shape.context,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        embd_pdrop=shape.dropout,
        attn_pdrop=shape.dropout,
        resid_pdrop=shape.dropout,
        bos_token_id=None,
        eos_token_id=end_id,
        pad_token_id=pad_id,
        attn_implementation="sdpa",
    )
    return GPT2LMHeadModel(config)
