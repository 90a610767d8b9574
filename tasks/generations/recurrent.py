"""Elman networks and LSTMs as language models: trained on a stream in columns, and asked with the state carried along.

Shapes: B columns, T tokens, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from models.recurrent import ZAREMBA_SMALL, RecurrentModel, RecurrentShape
from tasks.generations.asking import asked
from tasks.generations.columns import CarriedStates
from tasks.generations.streams import CHUNK_TOKENS, Floats, Ids, stream_nats, stream_sample, summed_nats
from tasks.training.batches import IGNORED, Batch
from tasks.training.objectives import Loss


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """The defaults are the small network of Zaremba et al. (2014), which took 13 epochs of PTB by plain SGD."""

    shape: RecurrentShape = field(default_factory=lambda: ZAREMBA_SMALL)
    columns: int = 20
    segment_tokens: int = 20
    epochs: int = 13
    max_gradient_norm: float = 5.0

    def __post_init__(self) -> None:
        if min(self.columns, self.segment_tokens, self.epochs) < 1 or not self.max_gradient_norm > 0:
            raise ValueError(
                "recurrent: columns, segment_tokens and epochs must be at least 1, max_gradient_norm above 0"
            )


class CarriedNextToken:
    """Next-token cross-entropy in nats per token, each column from the state it ended its last segment with."""

    def __init__(self) -> None:
        self._carried = CarriedStates()

    def weight(self, batch: Batch) -> float:
        return float((batch.tensors["labels"] != IGNORED).sum())

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        assert isinstance(module, RecurrentModel)
        start = self._carried.start(batch, module.initial_state(len(batch)))
        states_BTD, end = module(batch.tensors["ids"], start)
        self._carried.keep(batch, start, end)
        labels_BT = batch.tensors["labels"]
        wanted_BT = labels_BT != IGNORED
        total = summed_nats(states_BTD[wanted_BT], module.head, labels_BT[wanted_BT])
        return Loss(total=total, sums={"loss": float(total.detach())})

    def state_dict(self) -> dict[str, Any]:
        return {"carried": self._carried.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._carried.load_state_dict(state["carried"])


def token_nats(model: RecurrentModel, ids: Ids, *, chunk_tokens: int = CHUNK_TOKENS) -> Floats:
    """-ln p of every token of a stream; perplexity is exp of their mean, over all of them, ends of sentences too."""
    with asked(model):
        return stream_nats(model, model.head, ids, chunk_tokens=chunk_tokens)


def sample(
    model: RecurrentModel, prompt_ids: Sequence[int], count: int, seed: int, *, temperature: float = 1.0
) -> list[int]:
    """`count` ids that go on after the prompt."""
    with asked(model):
        return stream_sample(model, model.head, prompt_ids, count, seed, temperature=temperature)
