"""Recurrent networks: Elman's (1990; as language models Mikolov et al. 2010) and the LSTM (Hochreiter, Schmidhuber 1997).

A text is one stream, so the state goes into and comes out of every call. Dropout as Zaremba et al. (2014): on what goes
from layer to layer, never on what goes from token to token.

Shapes: B sequences, T tokens, L layers, D width, V vocabulary.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]  # parts [L, B, D]: an Elman network's hidden state; an LSTM's hidden and cell state


@dataclass(frozen=True, kw_only=True)
class RecurrentShape:
    """`tied` uses the embedding as the head too; fresh weights are uniform in ±`initial_range`."""

    kind: Literal["rnn", "lstm"] = "lstm"
    layers: int = 2
    width: int = 200
    embedding: int = 200
    dropout: float = 0.0
    tied: bool = False
    initial_range: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in ("rnn", "lstm"):
            raise ValueError(f"recurrent: kind must be rnn or lstm, found {self.kind!r}")
        if min(self.layers, self.width, self.embedding) < 1:
            raise ValueError("recurrent: layers, width and embedding must be at least 1")
        if not (0 <= self.dropout < 1 and self.initial_range > 0):
            raise ValueError("recurrent: dropout lies in [0, 1), and initial_range must be above 0")
        if self.tied and self.embedding != self.width:
            raise ValueError(
                f"recurrent: a tied head needs embedding {self.embedding} equal to width {self.width}; "
                "make them equal, or untie it"
            )


# Zaremba, Sutskever and Vinyals (2014), the small one; a gate had one bias there, and has two in torch
ZAREMBA_SMALL = RecurrentShape(kind="lstm", layers=2, width=200, embedding=200, dropout=0.0, initial_range=0.1)


class RecurrentModel(nn.Module):
    """Fresh weights are drawn from torch's global generator. The head's bias is what is said before anything was read."""

    def __init__(self, shape: RecurrentShape, *, vocabulary: int) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(vocabulary, shape.embedding)
        cell = nn.LSTM if shape.kind == "lstm" else nn.RNN
        inputs = [shape.embedding, *[shape.width] * (shape.layers - 1)]
        self.layers = nn.ModuleList(cell(size, shape.width, batch_first=True) for size in inputs)
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.width, vocabulary)
        if shape.tied:
            self.head.weight = self.embedding.weight
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -shape.initial_range, shape.initial_range)

    def forward(self, ids_BT: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The last layer's states [B, T, D], which `head` turns into logits of the next token, and the state after T."""
        starts = self.initial_state(len(ids_BT)) if state is None else state
        states_BTD = self.embedding(ids_BT)
        ends: list[State] = []
        for number, layer in enumerate(self.layers):
            states_BTD, end = run_layer(layer, self.dropout(states_BTD), layer_state(starts, number))
            ends.append(end)
        return self.dropout(states_BTD), joined(ends)

    def initial_state(self, rows: int) -> State:
        """Zeros: nothing was read yet."""
        parts = 2 if self.shape.kind == "lstm" else 1
        weight = self.embedding.weight
        return tuple(weight.new_zeros(self.shape.layers, rows, self.shape.width) for _ in range(parts))

    def train(self, mode: bool = True) -> Self:
        """The layers stay in training mode, where they do nothing else: cuDNN refuses their backward pass in the other."""
        super().train(mode)
        self.layers.train()
        return self


def run_layer(layer: Any, inputs_BTD: Tensor, state: State) -> tuple[Tensor, State]:
    """One layer over T tokens. In full precision also under autocast: else what is carried on would be bf16."""
    with torch.autocast(inputs_BTD.device.type, enabled=False):
        outputs_BTD, end = layer(inputs_BTD.to(state[0].dtype), state if len(state) > 1 else state[0])
    return outputs_BTD, end if isinstance(end, tuple) else (end,)


def layer_state(state: State, number: int) -> State:
    """The parts [1, B, D] of one layer."""
    return tuple(part[number : number + 1] for part in state)


def joined(states: Iterable[State]) -> State:
    """The layers' states in one."""
    return tuple(torch.cat(parts) for parts in zip(*states, strict=True))
