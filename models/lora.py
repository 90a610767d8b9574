"""Low-rank adapters (LoRA, Hu et al. 2021): what a recipe says of them. models/adapters.py makes them."""

import math
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
# in a parameter's name: of an adapter, and embeddings of single tokens that are trained beside the adapters
ADAPTER, TOKEN_ROWS = "lora_", "trainable_tokens_delta"


@dataclass(frozen=True, kw_only=True)
class LoraShape:
    """What a recipe may say; `lora: {}` is what is recommended.

    What an adapter adds to its layer is scaled by `alpha / rank` (alpha is the rank where nothing is said), `dropout` is of
    its input. `targets` are names of linear layers, q_proj for the one of every decoder layer; without any, all of them.
    Adapters learn at `learning_rate_factor` times the learning rate that the recipe has for the whole model.
    `special_tokens`: the embeddings of those that the dialogues contain are trained too, and their rows of the head, three
    times as fast as the adapters where these are Muon's. A base has never seen the marks between turns, and adapters alone
    do not teach it to write one. For a server that knows adapters of linear layers alone, say false.

    What ranks are worth beside the whole model: tests/benchmarks/tuning.py.
    """

    rank: int = 32
    alpha: int | None = None
    dropout: float = 0.0
    targets: tuple[str, ...] = ()
    special_tokens: bool = True
    learning_rate_factor: float = 3.0

    def __post_init__(self) -> None:
        if self.rank < 1 or (self.alpha is not None and self.alpha < 1):
            raise ValueError("lora: rank and alpha must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError("lora: dropout lies in [0, 1)")
        if not 0 < self.learning_rate_factor < math.inf:
            raise ValueError("lora: learning_rate_factor must be above 0; 1 leaves the learning rate as it is")
        for target in self.targets:
            if target not in LINEAR_LAYERS:
                raise ValueError(f"lora: no decoder has a linear layer {target}; there are {', '.join(LINEAR_LAYERS)}")


def linear_layers(model: Any) -> list[str]:
    """The names of the linear layers inside the decoder layers, in their order; the head is none."""
    names = [name for name, layer in model.base_model.named_modules() if isinstance(layer, nn.Linear | Conv1D)]
    return list(dict.fromkeys(name.rpartition(".")[2] for name in names))


def chosen_layers(model: Any, targets: Sequence[str]) -> list[str]:
    """The layers that get adapters; ValueError for a name that this model does not have, or a model that is no decoder."""
    known = linear_layers(model)
    if not set(known) <= set(LINEAR_LAYERS):
        raise ValueError(
            f"lora: adapters are for decoders, in the layers {', '.join(LINEAR_LAYERS)}; "
            f"a {model.config.model_type} has {', '.join(known)}: tune the whole model"
        )
    for target in targets:
        if target not in known:
            raise ValueError(f"lora.targets: this model has no linear layer {target}; it has {', '.join(known)}")
    return [name for name in known if name in targets] if targets else known
