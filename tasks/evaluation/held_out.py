"""Bits per byte on text that was kept apart: the one figure that models of different vocabularies share.

nats / (ln 2 x bytes), over the tokens' text; each token is predicted once, with at least `context - stride` tokens before
it wherever the stream has them. Documents follow one another as they did in training.

Shapes: B windows, T tokens, N labelled tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.heads import hidden_states, vocabulary_head
from tasks.evaluation.intervals import Interval, ratio_interval
from tasks.tokenization.shards import Stream, TokenStream

BATCH_WINDOWS = 16


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Nats and bytes of each document of a split, in its order, and its kind (a position in `kinds`)."""

    nats: npt.NDArray[np.float64]
    bytes: npt.NDArray[np.float64]
    kinds: npt.NDArray[np.int64]

    @property
    def bits_per_byte(self) -> Interval:
        """With an interval over documents."""
        return ratio_interval(self.nats / math.log(2), self.bytes)

    def by_kind(self, names: Sequence[str]) -> dict[str, float]:
        found = {}
        for number, name in enumerate(names):
            chosen = self.kinds == number
            if self.bytes[chosen].sum() > 0:
                found[name] = float(self.nats[chosen].sum() / math.log(2) / self.bytes[chosen].sum())
        return found


def identity_of(stream: TokenStream) -> dict[str, str]:
    """What two figures of bits per byte must have in common to be compared: the same text, in the same tokens."""
    return {"task": "bits per byte, each token predicted once", "data": stream.digest}


def measure(model: Any, stream: TokenStream, *, stride: int | None = None, max_tokens: int | None = None) -> HeldOut:
    """Score a split with a language model; `max_tokens` bounds the work to whole documents from the beginning."""
    context = int(model.config.max_position_embeddings)
    return of_tokens(stream, token_nats(model, stream, stride or context * 3 // 4, whole_documents(stream, max_tokens)))


def of_tokens(stream: TokenStream, nats: npt.NDArray[np.float64]) -> HeldOut:
    """Per document from per token: `nats` holds one figure for each token of the first documents of the split."""
    starts = np.asarray(stream.documents["start"])
    count = int(np.searchsorted(starts, len(nats)))
    return HeldOut(
        nats=np.add.reduceat(nats, starts[:count]),
        bytes=np.asarray(stream.documents["bytes"][:count], dtype=np.float64),
        kinds=np.asarray(stream.documents["kind"][:count], dtype=np.int64),
    )


def whole_documents(stream: TokenStream, max_tokens: int | None) -> int:
    """Where the last whole document within `max_tokens` ends; the first document is always taken."""
    if max_tokens is None or max_tokens >= stream.tokens:
        return stream.tokens
    starts = np.asarray(stream.documents["start"])
    inside = starts[1:][starts[1:] <= max_tokens]
    return int(inside[-1]) if len(inside) else int(starts[1]) if len(starts) > 1 else stream.tokens


@torch.inference_mode()
def token_nats(model: Any, stream: Stream, stride: int, end: int) -> npt.NDArray[np.float64]:
    """-ln p of every token up to `end`; the first of the stream, which nothing precedes, costs ln V."""
    context = int(model.config.max_position_embeddings)
    device = next(model.parameters()).device
    if not 1 <= stride <= context:
        raise ValueError(f"stride: expected 1 to {context} tokens, the model's context, found {stride}")
    nats = np.empty(end)
    nats[0] = math.log(model.config.vocab_size)
    windows = list(_windows(end, context, stride))
    was_training = model.training
    model.eval()
    for place in range(0, len(windows), BATCH_WINDOWS):
        batch = windows[place : place + BATCH_WINDOWS]
        width = max(last - first for first, _, last in batch)
        ids = np.zeros((len(batch), width + 1), dtype=np.int64)
        wanted = np.zeros((len(batch), width), dtype=bool)
        for row, (first, begin, last) in enumerate(batch):
            ids[row, : last - first + 1] = stream.slice(first, last - first + 1)
            wanted[row, begin - first : last - first] = True
        ids_BT, wanted_BT = torch.from_numpy(ids).to(device), torch.from_numpy(wanted).to(device)
        states_ND = hidden_states(model, ids_BT[:, :-1])[wanted_BT]
        logits_NV = (states_ND @ vocabulary_head(model).T).float()
        found_N = torch.nn.functional.cross_entropy(logits_NV, ids_BT[:, 1:][wanted_BT], reduction="none")
        lengths = [last - begin for _, begin, last in batch]
        for (_, begin, last), values in zip(batch, torch.split(found_N.double().cpu(), lengths), strict=True):
            nats[begin + 1 : last + 1] = values.numpy()
    model.train(was_training)
    return nats


def _windows(end: int, context: int, stride: int) -> list[tuple[int, int, int]]:
    """(first token read, first position whose next token is scored, one past the last such position)."""
    found = []
    scored = 0
    while scored < end - 1:
        last = min(scored + (context if scored == 0 else stride), end - 1)
        found.append((max(0, last - context), scored, last))
        scored = last
    return found
