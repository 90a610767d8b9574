"""What the loop asks for batches: a batch is a function of (seed, position), so data order survives anything.

Shapes: B sequences, T tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tasks.tokenization.shards import TokenStream

IGNORED = -100  # a label that nothing is learned from


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tensors whose first dimension is B; `tokens` is what the model reads, `metrics` what the source wants known."""

    tensors: Mapping[str, Tensor]
    tokens: int
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def rows(self, rows: slice) -> "Batch":
        """Some of the sequences, with their share of the tokens."""
        tensors = {name: tensor[rows] for name, tensor in self.tensors.items()}
        share = len(next(iter(tensors.values()))) / len(self)
        return Batch(tensors=tensors, tokens=round(self.tokens * share), metrics=self.metrics)


class Batches(Protocol):
    """An endless source of batches that can begin anywhere it was saved."""

    def starting_at(self, position: int) -> Iterator[Batch]:
        """The batches from `position` on: position counts the batches given since the start of the training."""

    def at_boundary(self) -> bool:
        """Whether a checkpoint may fall here: nothing that was made for later batches would be lost."""

    def state_dict(self) -> dict[str, Any]:
        """What beside the position decides the next batches, as JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Stateless:
    """The parts of `Batches` that a source needs whose batches follow from the position alone."""

    def at_boundary(self) -> bool:
        return True

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state


class TokenBatches(Stateless):
    """Windows of a token stream in a new random order each epoch; each token is a target once an epoch."""

    def __init__(self, stream: TokenStream, *, context: int, batch_sequences: int, seed: int) -> None:
        self._stream = stream
        self._context = context
        self._size = batch_sequences
        windows = (stream.tokens - 1) // context
        if windows < 1:
            raise ValueError(
                f"the training text has {stream.tokens} tokens, fewer than one window of {context + 1}: add more text"
            )
        self._shuffle = Shuffle(windows, seed)

    def starting_at(self, position: int) -> Iterator[Batch]:
        while True:
            yield self._batch(position)
            position += 1

    def _batch(self, position: int) -> Batch:
        numbers = self._shuffle.numbers(position * self._size, self._size)
        rows = [self._stream.slice(number * self._context, self._context + 1) for number in numbers]
        ids = torch.from_numpy(np.stack(rows).astype(np.int64))
        return Batch(tensors={"ids": ids[:, :-1], "labels": ids[:, 1:]}, tokens=self._size * self._context)


class Shuffle:
    """Item numbers 0..count-1 in a new order each epoch; the last order is kept, since neighbours ask for it."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._epoch, self._order = -1, np.zeros(0, dtype=np.int64)

    def numbers(self, start: int, length: int) -> list[int]:
        """Places `start` to `start + length` of the endless sequence of epochs."""
        found: list[int] = []
        while len(found) < length:
            epoch, place = divmod(start + len(found), self._count)
            if epoch != self._epoch:
                self._epoch = epoch
                self._order = np.random.Generator(np.random.PCG64([self._seed, epoch])).permutation(self._count)
            found += self._order[place : place + length - len(found)].tolist()
        return found


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Rows of ids [B, T], filled up on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
