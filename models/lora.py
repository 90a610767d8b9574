"""Low-rank adapters (LoRA, Hu et al. 2021): what a recipe says of them. models/adapters.py makes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

# The linear layers of the decoders in models/catalogue.py, Llama's and Qwen's first, then GPT-2's.
LINEAR_LAYERS = (
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    "c_attn", "c_proj", "c_fc",
)  # fmt: skip
TOKEN_ROWS = "trainable_tokens_delta"  # in a parameter's name: embeddings of single tokens, trained beside the adapters


@dataclass(frozen=True, kw_only=True)
class LoraShape:
    """What an adapter adds to its layer is scaled by `alpha / rank`; `dropout` is of the adapter's input.

    `targets` are names of linear layers, q_proj for the one of every decoder layer; without any, all of them.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: tuple[str, ...] = ()
    special_tokens: bool = True

    def __post_init__(self) -> None:
        if min(self.rank, self.alpha) < 1:
            raise ValueError("lora: rank and alpha must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError("lora: dropout lies in [0, 1)")
        for target in self.targets:
            if target not in LINEAR_LAYERS:
                raise ValueError(f"lora: no decoder has a linear layer {target}; there are {', '.join(LINEAR_LAYERS)}")


def linear_layers(model: Any) -> list[str]:
    """The names of the linear layers inside the decoder layers, in their order; the head is none."""
    names = [name for name, layer in model.base_model.named_modules() if isinstance(layer, nn.Linear | Conv1D)]
    return list(dict.fromkeys(name.rpartition(".")[2] for name in names))


def chosen_layers(model: Any, targets: Sequence[str]) -> list[str]:
    """The layers that get adapters; ValueError for a name that this model does not have."""
    known = linear_layers(model)
    for target in targets:
        if target not in known:
            raise ValueError(f"lora.targets: this model has no linear layer {target}; it has {', '.join(known)}")
    return [name for name in known if name in targets] if targets else known
