"""ELMo as two language models, trained on a stream in columns in both directions, and as features of sentences.

Shapes: B columns, T tokens, C characters, P width, J layers of features.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.elmo import ElmoModel, character_ids
from tasks.generations.asking import asked
from tasks.generations.columns import CarriedStates, ColumnBatches
from tasks.generations.streams import CHUNK_TOKENS, Floats, Ids, stream_nats, stream_sample, summed_nats
from tasks.training.batches import Batch, Stateless
from tasks.training.objectives import Loss

FEATURE_SENTENCES = 64  # at once


class BothWays(Stateless):
    """Columns of a stream, and columns of the same stream from its end; a model of either never sees what it predicts.

    Tensors: those of ColumnBatches, and reversed_ids and reversed_labels [B, T].
    """

    def __init__(self, ids: Ids, *, columns: int, segment_tokens: int) -> None:
        self._ahead = ColumnBatches(ids, columns=columns, segment_tokens=segment_tokens)
        self._back = ColumnBatches(np.flip(ids).copy(), columns=columns, segment_tokens=segment_tokens)
        self.batches_per_epoch = self._ahead.batches_per_epoch

    def batch(self, position: int) -> Batch:
        ahead, back = self._ahead.batch(position), self._back.batch(position)
        reversed_ = {f"reversed_{name}": back.tensors[name] for name in ("ids", "labels")}
        return Batch(tensors={**ahead.tensors, **reversed_}, tokens=ahead.tokens)


class BothDirections:
    """The mean of the forward and the backward cross-entropy in nats per token, both with their states carried."""

    def __init__(self) -> None:
        self._carried = CarriedStates()

    def weight(self, batch: Batch) -> float:
        return float(batch.tensors["labels"].numel())

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        assert isinstance(module, ElmoModel)
        start = self._carried.start(batch, module.initial_state(len(batch)))
        ahead_BT, back_BT = batch.tensors["ids"], batch.tensors["reversed_ids"]
        ahead_BTP, back_BTP = module.vectors(torch.cat([ahead_BT, back_BT])).chunk(2)
        states_BTP, end = module.predicting(module.forwards, ahead_BTP, start[:2])
        reversed_BTP, reversed_end = module.predicting(module.backwards, back_BTP, start[2:])
        self._carried.keep(batch, start, (*end, *reversed_end))
        forward = summed_nats(states_BTP.flatten(0, 1), module.head, batch.tensors["labels"].flatten())
        backward = summed_nats(reversed_BTP.flatten(0, 1), module.head, batch.tensors["reversed_labels"].flatten())
        total = (forward + backward) / 2
        sums = {"loss": total, "forward_loss": forward, "backward_loss": backward}
        return Loss(total=total, sums={name: float(value.detach()) for name, value in sums.items()})

    def state_dict(self) -> dict[str, Any]:
        return {"carried": self._carried.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._carried.load_state_dict(state["carried"])


def token_nats(model: ElmoModel, ids: Ids, *, chunk_tokens: int = CHUNK_TOKENS) -> Floats:
    """-ln p of every token of a stream by the forward direction alone: those of a true language model."""
    with asked(model):
        return stream_nats(model, model.head, ids, chunk_tokens=chunk_tokens)


def backward_nats(model: ElmoModel, ids: Ids, *, chunk_tokens: int = CHUNK_TOKENS) -> Floats:
    """-ln p of every token after all that follow it, in the order of the stream: a language model of the text reversed."""
    with asked(model):
        nats = stream_nats(model.read_backwards, model.head, np.flip(ids).copy(), chunk_tokens=chunk_tokens)
    return np.flip(nats)


def mean_nats(model: ElmoModel, ids: Ids) -> Floats:
    """The mean of both directions' for each token: exp of its mean is what is published as ELMo's perplexity."""
    both: Floats = (token_nats(model, ids) + backward_nats(model, ids)) / 2
    return both


def sample(
    model: ElmoModel, prompt_ids: Sequence[int], count: int, seed: int, *, temperature: float = 1.0
) -> list[int]:
    """`count` ids that the forward direction goes on with after the prompt."""
    with asked(model):
        return stream_sample(model, model.head, prompt_ids, count, seed, temperature=temperature)


def features(model: ElmoModel, sentences: Sequence[Sequence[str]], *, edge: str | None = None) -> list[Tensor]:
    """[J, T, 2P] of each sentence, of any words; `edge`, the token between the sentences of the training, is read around it.

    Sentences of one length share a batch, so nothing is padded.
    """
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, sentence in enumerate(sentences):
        if not sentence:
            raise ValueError(f"features: sentence {place} has no word; leave it out")
        places[len(sentence)].append(place)
    found: dict[int, Tensor] = {}
    with asked(model):
        for same in places.values():
            for first in range(0, len(same), FEATURE_SENTENCES):
                some = same[first : first + FEATURE_SENTENCES]
                found |= zip(some, _features(model, [sentences[place] for place in some], edge), strict=True)
    return [found[place].clone() for place in range(len(sentences))]


def represent(model: ElmoModel, sentences: Sequence[Sequence[str]], *, edge: str | None = None) -> Floats:
    """One vector for each sentence, [sentences, 2P]: the mean over its words and, as an untaught Mix, over the layers."""
    return np.stack([each.mean((0, 1)).double().cpu().numpy() for each in features(model, sentences, edge=edge)])


def _features(model: ElmoModel, sentences: Sequence[Sequence[str]], edge: str | None) -> list[Tensor]:
    around = [] if edge is None else [edge]
    rows = [character_ids([*around, *sentence, *around]) for sentence in sentences]
    layers_JBTP = model.layers(torch.stack(rows).to(model.characters.device))
    inner = slice(len(around), layers_JBTP.shape[2] - len(around))
    return list(layers_JBTP[:, :, inner].unbind(1))
