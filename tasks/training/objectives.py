"""What a step minimises: a sum over something countable, so that it can be averaged over the whole global batch.

Shapes: B sequences, T tokens, N labelled tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from models.heads import hidden_states, vocabulary_head
from tasks.training.batches import IGNORED, Batch
from tasks.training.cross_entropy import cross_entropy_sum


@dataclass(frozen=True, kw_only=True)
class Loss:
    """`total` is a sum (a scalar with a graph); `sums` are further figures, sums over the same things.

    A figure may be a tensor: read at the end of the step, it does not make the GPU wait in the middle of it.
    """

    total: Tensor
    sums: Mapping[str, float | Tensor]


class Objective(Protocol):
    """A method of training: everything that PPO and next-token prediction do not share."""

    def weight(self, batch: Batch) -> float:
        """How many things the loss of this batch is a sum over: tokens, pairs."""

    def loss(self, module: nn.Module, batch: Batch) -> Loss: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class NextToken:
    """Cross-entropy of the labelled tokens in nats per token: pretraining labels all, instruction tuning the answers."""

    def weight(self, batch: Batch) -> float:
        return float((batch.tensors["labels"] != IGNORED).sum())

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        ids_BT, labels_BT = batch.tensors["ids"], batch.tensors["labels"]
        states_BTD = hidden_states(module, ids_BT, batch.tensors.get("mask"), batch.tensors.get("segments"))
        wanted_BT = labels_BT != IGNORED
        # the head, which is the widest layer of a small model, is asked about labelled tokens only
        total = cross_entropy_sum(states_BTD[wanted_BT], vocabulary_head(module), labels_BT[wanted_BT])
        return Loss(total=total, sums={"loss": total.detach().double()})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state
