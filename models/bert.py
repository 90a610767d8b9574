"""BERT (2018): Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers"; the library's, from scratch."""

from dataclasses import dataclass

from transformers import BertConfig, BertForPreTraining


@dataclass(frozen=True, kw_only=True)
class BertShape:
    """The size of an encoder; its vocabulary is the tokenizer's. `context` counts [CLS] and both [SEP] too."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    feed_forward: int = 512
    context: int = 128
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.feed_forward) < 1 or self.context < 5:
            raise ValueError("bert: every size must be at least 1, and context at least 5: three marks and two tokens")
        if self.width % self.heads:
            raise ValueError(f"bert: width {self.width} must be a multiple of heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"bert: dropout lies in [0, 1), found {self.dropout}")


def build_bert(shape: BertShape, *, vocabulary: int, pad_id: int) -> BertForPreTraining:
    """A model with fresh weights (torch's global generator) and two heads: masked tokens, and whether B follows A.

    Norms stand after the layers; matrices are N(0, 0.02^2); the head of masked tokens is tied to the embedding.
    """
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=shape.context,
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=shape.dropout,
        pad_token_id=pad_id,
        attn_implementation="sdpa",
    )
    return BertForPreTraining(config)
