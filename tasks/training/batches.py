"""What the loop asks for batches: a batch is a function of (seed, position), so data order survives anything.

Shapes: B sequences, T tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks.tokenization.shards import Stream

IGNORED = -100  # a label that nothing is learned from
MOST_LISTED = 1 << 20  # items whose order is a list
ROUNDS = 6


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

    def to(self, device: torch.device) -> "Batch":
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})


class Batches(Protocol):
    """An endless source of batches that can begin anywhere it was saved."""

    def starting_at(self, position: int) -> Iterator[Batch]:
        """The batches from `position` on: position counts the batches given since the start of the training."""

    def at_boundary(self) -> bool:
        """Whether a checkpoint may fall here: nothing that was made for later batches would be lost."""

    def boundary_from(self, position: int) -> int:
        """The first position, `position` or after it, at which `starting_at` can begin."""

    def state_dict(self) -> dict[str, Any]:
        """What beside the position decides the next batches, as JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Stateless(ABC):
    """`Batches` of a source whose batches follow from the position alone: all that it must say is which."""

    @abstractmethod
    def batch(self, position: int) -> Batch: ...

    def starting_at(self, position: int) -> Iterator[Batch]:
        while True:
            yield self.batch(position)
            position += 1

    def at_boundary(self) -> bool:
        return True

    def boundary_from(self, position: int) -> int:
        return position

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state


class TokenBatches(Stateless):
    """Windows of a token stream in a new random order each epoch; each token is a target once an epoch."""

    def __init__(self, stream: Stream, *, context: int, batch_sequences: int, seed: int) -> None:
        self._stream = stream.read_at_random()
        self._context = context
        self._size = batch_sequences
        windows = (stream.tokens - 1) // context
        if windows < 1:
            raise ValueError(
                f"the training text has {stream.tokens} tokens, fewer than one window of {context + 1}: add more text"
            )
        self._shuffle = Shuffle(windows, seed)

    def batch(self, position: int) -> Batch:
        numbers = self._shuffle.numbers(position * self._size, self._size)
        rows = [self._stream.slice(number * self._context, self._context + 1) for number in numbers]
        ids = torch.from_numpy(np.stack(rows).astype(np.int64))
        return Batch(tensors={"ids": ids[:, :-1], "labels": ids[:, 1:]}, tokens=self._size * self._context)


class Shuffle:
    """Item numbers 0..count-1 in a new order each epoch, of which any part can be asked for.

    Up to MOST_LISTED items the order is a list, kept for its epoch. Of more items it is computed place by place: a list of
    40 million took 2 s and 320 MB.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._epoch, self._order, self._keys = -1, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)

    def numbers(self, start: int, length: int) -> list[int]:
        """Places `start` to `start + length` of the endless sequence of epochs."""
        found: list[int] = []
        while len(found) < length:
            epoch, place = divmod(start + len(found), self._count)
            end = min(place + length - len(found), self._count)
            found += self._part(epoch, place, end).tolist()
        return found

    def _part(self, epoch: int, place: int, end: int) -> npt.NDArray[Any]:
        if epoch != self._epoch:
            self._epoch, drawn = epoch, np.random.Generator(np.random.PCG64([self._seed, epoch]))
            if self._count > MOST_LISTED:
                self._keys = drawn.integers(1 << 64, size=ROUNDS, dtype=np.uint64)
            else:
                self._order = drawn.permutation(self._count)
        if self._count > MOST_LISTED:
            return scattered(np.arange(place, end, dtype=np.uint64), self._count, self._keys)
        return self._order[place:end]


def scattered(places: npt.NDArray[np.uint64], count: int, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Where a pseudo-random permutation of 0..count-1 sends each of `places`; other keys are another permutation.

    A Feistel network, which permutes 0..4**n-1 whatever its rounds compute (Luby and Rackoff 1988); what falls outside of
    the count goes through it again until it is inside (Black and Rogaway 2002, cycle walking).
    """
    bits = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
    numbers = _feistel(places, bits, keys)
    while (outside := np.flatnonzero(numbers >= count)).size:
        numbers[outside] = _feistel(numbers[outside], bits, keys)
    return numbers


def _feistel(numbers: npt.NDArray[np.uint64], bits: np.uint64, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """`bits` of either half; each round mixes one half into the other with the constants of splitmix64."""
    mask = (np.uint64(1) << bits) - np.uint64(1)
    left, right = numbers >> bits, numbers & mask
    for key in keys:
        mixed = (right ^ key) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        left, right = right, left ^ ((mixed ^ (mixed >> np.uint64(31))) & mask)
    return (left << bits) | right


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Rows of ids [B, T], filled up on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
