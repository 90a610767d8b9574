"""NNLM by the one engine: windows of a token stream, their cross-entropy, each token's cost, text drawn from it.

Shapes: B windows, N = order - 1 words before the predicted one, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from models.nnlm import Nnlm
from models.sampling import SamplingConfig, choose, uniform
from tasks.training.batches import Batch, Shuffle, Stateless
from tasks.training.cross_entropy import cross_entropy_sum
from tasks.training.objectives import Loss, NextToken

SCORED_LOGITS = 1 << 22  # held at once while a stream is scored

Ids = npt.NDArray[np.integer]
Nats = npt.NDArray[np.float64]


class NnlmBatches(Stateless):
    """Windows of a stream in a new random order each epoch; each token is predicted once an epoch."""

    def __init__(self, ids: Ids, *, order: int, end_id: int, batch_sequences: int, seed: int) -> None:
        self._windows = windows_of(ids, order=order, end_id=end_id)
        self._size = batch_sequences
        self._shuffle = Shuffle(len(ids), seed)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self._windows) // self._size)

    def batch(self, position: int) -> Batch:
        numbers = self._shuffle.numbers(position * self._size, self._size)
        windows = torch.from_numpy(self._windows[numbers].astype(np.int64))
        return Batch(tensors={"ids": windows[:, :-1], "labels": windows[:, -1]}, tokens=self._size)


class NnlmObjective(NextToken):
    """Cross-entropy of the word after each window, in nats; the logits of a large vocabulary never exist as a whole."""

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        assert isinstance(module, Nnlm)
        total = cross_entropy_sum(module.features(batch.tensors["ids"]), module.head.weight, batch.tensors["labels"])
        return Loss(total=total, sums={"loss": float(total.detach())})


def windows_of(ids: Ids, *, order: int, end_id: int) -> Ids:
    """A view [tokens, order]: each token behind those before it, the first ones behind `end_id`.

    [7, 8, 9] for order 3, end 0 -> [[0, 0, 7], [0, 7, 8], [7, 8, 9]]
    """
    if np.ndim(ids) != 1 or not len(ids):
        raise ValueError("nnlm: ids must be one row of at least one token: concatenate the documents")
    stream = np.concatenate([np.full(order - 1, end_id, dtype=np.asarray(ids).dtype), ids])
    return np.lib.stride_tricks.sliding_window_view(stream, order)


@torch.no_grad()
def token_nats(model: Nnlm, ids: Ids) -> Nats:
    """-ln p of every token of a stream given those before it; the mean's exponential is the perplexity."""
    windows = windows_of(ids, order=model.shape.order, end_id=model.end_id)
    device, vocabulary = model.head.weight.device, len(model.head.weight)
    rows = max(1, SCORED_LOGITS // vocabulary)
    # one place for all: small results between large ones would keep the large ones' memory
    nats = np.empty(len(windows))
    for start in range(0, len(windows), rows):
        some = torch.from_numpy(windows[start : start + rows].astype(np.int64)).to(device)
        logits_BV = model(some[:, :-1])
        nats[start : start + rows] = F.cross_entropy(logits_BV, some[:, -1], reduction="none").cpu().numpy()
    return nats


@torch.no_grad()
def sample(model: Nnlm, prompt_ids: Sequence[int], count: int, seed: int) -> list[int]:
    """`count` tokens that follow the prompt; the same seed gives the same ones."""
    context = model.shape.context
    ids = [model.end_id] * context + list(prompt_ids)
    config, key, device = SamplingConfig(max_tokens=count), np.zeros(1, dtype=np.uint64), model.head.weight.device
    for position in range(count):
        logits_BV = model(torch.tensor([ids[-context:]], device=device))
        chosen_B, _ = choose(logits_BV, config, uniform(seed, key, position))
        ids.append(int(chosen_B[0]))
    return ids[-count:]


def interpolated_nats(nats: Nats, others: Nats, *, share: float = 0.5) -> Nats:
    """Of the mixture of two models' probabilities (not of their logarithms), `share` of it the first's."""
    if not 0 < share < 1:
        raise ValueError(f"interpolation: share must lie between 0 and 1, found {share:g}")
    mixed: Nats = -np.logaddexp(np.log(share) - nats, np.log1p(-share) - others)
    return mixed
