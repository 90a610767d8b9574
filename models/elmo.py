"""ELMo (2018): Peters et al., "Deep contextualized word representations"; two LSTM language models that read words by letter.

One reads a text forwards and one backwards; they share the layer that spells out words and the head. What the layers make
of a sentence are its features, mixed by a few weights that a task learns.

Shapes: N words, C characters, F filters, B sequences, T tokens, P width, L layers of a direction, J layers of features.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.recurrent import State, joined, layer_state, run_layer

PAD, BEGIN, END = 0, 257, 258  # 1 to 256 are the bytes of UTF-8
CHARACTERS = 259
MOST_CHARACTERS = 50
INITIAL_STD = 0.02  # of the head: at first every word is about as likely
NEARLY_CLOSED = -2.0  # a highway's gate: it begins as little more than its input


@dataclass(frozen=True, kw_only=True)
class ElmoShape:
    """`filters[i]` is the number of those that see i + 1 characters; `projection` is the width between layers."""

    character_width: int = 16
    filters: tuple[int, ...] = (16, 32, 48, 64)
    highways: int = 1
    projection: int = 64
    cells: int = 256
    layers: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not self.filters or min(self.character_width, *self.filters, self.projection, self.layers) < 1:
            raise ValueError("elmo: character_width, projection, layers and every number of filters must be at least 1")
        if self.highways < 0 or not 0 <= self.dropout < 1:
            raise ValueError("elmo: highways must be at least 0, and dropout lies in [0, 1)")
        if self.cells <= self.projection:
            raise ValueError(
                f"elmo: cells {self.cells} must be more than projection {self.projection}, which they are projected to"
            )


ORIGINAL = ElmoShape(
    filters=(32, 32, 64, 128, 256, 512, 1024), highways=2, projection=512, cells=4096, layers=2, dropout=0.1
)


def character_ids(words: Sequence[str]) -> Tensor:
    """[N, 50]: "ab" -> BEGIN, 98, 99, END, 0, …; of a word longer than 48 bytes the last ones are left out."""
    spelled = [word.encode("utf-8")[: MOST_CHARACTERS - 2] for word in words]
    rows = [[BEGIN, *(byte + 1 for byte in bytes_), END] for bytes_ in spelled]
    return torch.tensor([[*row, *[PAD] * (MOST_CHARACTERS - len(row))] for row in rows])


class WordLayer(nn.Module):
    """A word's vector from its characters: filters, the largest answer of each, highways, a projection."""

    def __init__(self, shape: ElmoShape) -> None:
        super().__init__()
        width = sum(shape.filters)
        self.embedding = nn.Embedding(CHARACTERS, shape.character_width, padding_idx=PAD)
        self.filters = nn.ModuleList(
            nn.Conv1d(shape.character_width, count, seen) for seen, count in enumerate(shape.filters, 1)
        )
        self.highways = nn.ModuleList(_highway(width) for _ in range(shape.highways))
        self.projection = nn.Linear(width, shape.projection)

    def forward(self, characters_NC: Tensor) -> Tensor:
        """[N, P]; what stands behind a word's end says nothing, so the longest word sets the length."""
        longest = int((characters_NC != PAD).sum(1).max())
        used_NC = characters_NC[:, :longest]
        outside_N1C = (used_NC == PAD)[:, None]
        spelled_NEC = self.embedding(used_NC).transpose(1, 2)
        answers = []
        for seen, layer in enumerate(self.filters):
            answer_NFC = layer(F.pad(spelled_NEC, (0, seen)))
            answers.append(answer_NFC.masked_fill(outside_N1C, float("-inf")).amax(2))
        vectors_NF = torch.cat(answers, 1).relu()
        for highway in self.highways:
            gate_NF, change_NF = highway(vectors_NF).chunk(2, 1)
            vectors_NF = torch.lerp(vectors_NF, change_NF.relu().to(vectors_NF.dtype), gate_NF.sigmoid())
        vectors_NP: Tensor = self.projection(vectors_NF)
        return vectors_NP


def _highway(width: int) -> nn.Linear:
    """Its first half is the gate, which begins nearly closed."""
    layer = nn.Linear(width, 2 * width)
    with torch.no_grad():
        layer.bias[:width] = NEARLY_CLOSED
    return layer


class Direction(nn.Module):
    """A language model's LSTM layers with projections; from the second on each adds to what it reads (residual)."""

    def __init__(self, shape: ElmoShape) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.ModuleList(
            nn.LSTM(shape.projection, shape.cells, proj_size=shape.projection, batch_first=True)
            for _ in range(shape.layers)
        )
        for layer in self.layers:
            _remember(layer)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, vectors_BTP: Tensor, state: State | None = None) -> tuple[list[Tensor], State]:
        """What each layer makes of words in the order in which they are read, and the state after them."""
        starts = self.initial_state(len(vectors_BTP)) if state is None else state
        outputs: list[Tensor] = []
        ends: list[State] = []
        for number, layer in enumerate(self.layers):
            read_BTP = outputs[-1] if outputs else vectors_BTP
            with warnings.catch_warnings():  # oneDNN has no projections, and torch says so once in each process
                warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
                output_BTP, end = run_layer(layer, self.dropout(read_BTP), layer_state(starts, number))
            outputs.append(output_BTP + read_BTP if outputs else output_BTP)
            ends.append(end)
        return outputs, joined(ends)

    def initial_state(self, rows: int) -> State:
        weight = next(self.parameters())
        return (
            weight.new_zeros(self.shape.layers, rows, self.shape.projection),
            weight.new_zeros(self.shape.layers, rows, self.shape.cells),
        )

    def train(self, mode: bool = True) -> Self:
        """The layers stay in training mode, where they do nothing else: cuDNN refuses their backward pass in the other."""
        super().train(mode)
        self.layers.train()
        return self


@torch.no_grad()
def _remember(layer: Any) -> None:
    """Forget gates, the second quarter of torch's four, begin mostly open (a bias of 1, as TensorFlow's LSTM has)."""
    layer.bias_ih_l0[layer.hidden_size : 2 * layer.hidden_size] = 1.0
    layer.bias_hh_l0[layer.hidden_size : 2 * layer.hidden_size] = 0.0


class ElmoModel(nn.Module):
    """The id of a word is its place in `words`; words that are not there have features too, but are never predicted.

    Fresh weights are drawn from torch's global generator. The head's bias is what is said before anything was read.
    """

    characters: Tensor  # [V, C], of every word

    def __init__(self, shape: ElmoShape, *, words: Sequence[str]) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("characters", character_ids(words), persistent=False)
        self.words = WordLayer(shape)
        self.forwards = Direction(shape)
        self.backwards = Direction(shape)
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.projection, len(words))
        nn.init.normal_(self.head.weight, std=INITIAL_STD)
        nn.init.zeros_(self.head.bias)

    def vectors(self, ids_BT: Tensor) -> Tensor:
        """[B, T, P]; each different word is spelled once."""
        distinct_N, places_BT = ids_BT.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        vectors_NP = self.words(self.characters[distinct_N])
        return F.embedding(
            places_BT, vectors_NP.to(self.head.weight.dtype)
        )  # gradients of frequent words add up exactly

    def forward(self, ids_BT: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The forward language model: states [B, T, P], which `head` turns into logits of the next word."""
        return self.predicting(self.forwards, self.vectors(ids_BT), state)

    def read_backwards(self, ids_BT: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The backward one, of words in its own order, the last word of a text first."""
        return self.predicting(self.backwards, self.vectors(ids_BT), state)

    def predicting(self, direction: Direction, vectors_BTP: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The states [B, T, P] that the head reads; words are in the order of the direction."""
        outputs, end = direction(vectors_BTP, state)
        return self.dropout(outputs[-1]), end

    def layers(self, characters_BTC: Tensor) -> Tensor:
        """Features [J, B, T, 2P] of whole sentences: the words' vectors twice, then each layer's two directions."""
        vectors_BTP = self.words(characters_BTC.flatten(0, 1)).unflatten(0, characters_BTC.shape[:2])
        forwards, _ = self.forwards(vectors_BTP)
        backwards, _ = self.backwards(vectors_BTP.flip(1))
        pairs = [(vectors_BTP, vectors_BTP), *zip(forwards, (each.flip(1) for each in backwards), strict=True)]
        return torch.stack([torch.cat(pair, 2) for pair in pairs])

    def initial_state(self, rows: int) -> State:
        """Of both directions, the forward one's parts first."""
        return (*self.forwards.initial_state(rows), *self.backwards.initial_state(rows))


class Mix(nn.Module):
    """gamma * sum over layers of softmax(scores)_j h_j: at first their plain mean, then what a task learns."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, features_J: Tensor) -> Tensor:
        """[J, …] -> […]"""
        mixed: Tensor = self.gamma * torch.tensordot(self.scores.softmax(0), features_J, 1)
        return mixed
