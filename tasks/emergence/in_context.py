"""Learning inside a sequence: what an earlier part of it says of a later one, and nothing in the weights can know.

Two tasks, each drawn anew for every sequence. *Repeated cycles*: a random order of all tokens, said twice (induction heads,
Olsson et al. 2022). *Label mappings*: letters with the labels that this sequence alone gives them.

Shapes: B sequences, T tokens, V tokens of the vocabulary, K examples.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.llama import LlamaShape, build_llama
from tasks.training.batches import IGNORED, Batch, Stateless

Draw = Callable[[np.random.Generator, int], tuple[Tensor, Tensor]]  # (generator, B) -> ids and labels, both [B, T]
LABELS = 4  # of a mapping: the tokens 0 to 3, after which its letters begin
INITIAL_SPREAD = 3.0  # times the usual 0.02: decoders this narrow find nothing for hundreds of steps from less


class Drawn(Stateless):
    """Batches without an end: what stands in one follows from (seed, position)."""

    def __init__(self, draw: Draw, *, rows: int, seed: int) -> None:
        self._draw, self._rows, self._seed = draw, rows, seed

    def batch(self, position: int) -> Batch:
        ids_BT, labels_BT = self._draw(np.random.default_rng([self._seed, position]), self._rows)
        return Batch(tensors={"ids": ids_BT, "labels": labels_BT}, tokens=ids_BT.numel())


def repeated_cycles(tokens: int) -> Draw:
    """All `tokens` in a random order, then once more from a random one of them on: 2 0 1 | 0 1 2.

    Who cannot look up what followed a token loses as much in the second half as in the first: all tokens stand in both
    once, and the distance between a token and its repetition is any.
    """
    return partial(_cycles, tokens)


def _cycles(tokens: int, generator: np.random.Generator, rows: int) -> tuple[Tensor, Tensor]:
    first = np.argsort(generator.random((rows, tokens)), axis=1)
    places = (np.arange(tokens) + generator.integers(0, tokens, (rows, 1))) % tokens
    ids_BT = torch.from_numpy(np.concatenate([first, np.take_along_axis(first, places, 1)], axis=1))
    return ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous()


def label_mappings(examples: int, *, letters: int = 8, shuffled: bool = False) -> Draw:
    """5 1 9 0 5 1 ...: letters drawn with repetition, each with its label of this sequence; only labels are asked for.

    `shuffled`, the control: every label is drawn for itself, so that examples say nothing of each other.
    """
    return partial(_mappings, examples, letters, shuffled)


def _mappings(
    examples: int, letters: int, shuffled: bool, generator: np.random.Generator, rows: int
) -> tuple[Tensor, Tensor]:
    asked_BK = generator.integers(0, letters, (rows, examples))
    mapping = generator.integers(0, LABELS, (rows, letters))
    labels_BK = np.take_along_axis(mapping, asked_BK, 1)
    if shuffled:
        labels_BK = generator.integers(0, LABELS, (rows, examples))
    ids_BT = torch.from_numpy(np.stack([LABELS + asked_BK, labels_BK], 2).reshape(rows, 2 * examples))
    labels_BT = torch.full_like(ids_BT, IGNORED)
    labels_BT[:, ::2] = ids_BT[:, 1::2]
    return ids_BT, labels_BT


def least_mapping_nats(examples: int, letters: int = 8) -> list[float]:
    """What nobody can lose less than, for each example: ln 4 for a letter that was not shown, 0 for one that was."""
    return [math.log(LABELS) * (1 - 1 / letters) ** shown for shown in range(examples)]


def small_attention(layers: int, *, vocabulary: int, context: int, seed: int = 0) -> Any:
    """A decoder of one attention head a layer, whose feed-forward layers are one number wide: next to none.

    Induction takes two layers: one that notes beside each token which token stood before it, and one that looks for the
    notes that equal the token at hand. In a single layer a head chooses by a token and its distance alone; what stood
    before that token is not written anywhere yet.
    """
    torch.manual_seed(seed)
    shape = LlamaShape(layers=layers, width=64, heads=1, kv_heads=1, feed_forward=1, context=context)
    model = build_llama(shape, vocabulary=vocabulary, end_id=0, pad_id=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(INITIAL_SPREAD)
    return model


@torch.no_grad()
def nats_by_place(model: Any, draw: Draw, *, rows: int, seed: int) -> list[float]:
    """The mean loss of each place that is learned, in the order of places, on `rows` fresh sequences."""
    ids_BT, labels_BT = draw(np.random.default_rng([seed]), rows)
    was_training = model.training
    model.eval()
    scores_BTV = torch.log_softmax(model(input_ids=ids_BT).logits.float(), 2)
    model.train(was_training)
    nats_BT = -scores_BTV.gather(2, labels_BT.clamp(min=0)[:, :, None])[:, :, 0]
    return [float(value) for value in nats_BT.mean(0)[labels_BT[0] != IGNORED]]
