"""BERT through the one engine: masked pairs as batches, two losses as one, and what can be asked of the model afterwards.

Shapes: B rows, T tokens, N tokens that are asked for, V vocabulary, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.generations.asking import asked
from tasks.generations.masking import NO_WORD, MaskingConfig, chosen_positions, replaced
from tasks.generations.sentence_pairs import Documents, PairConfig, make_pairs
from tasks.training.batches import IGNORED, Batch, Shuffle, Stateless, padded
from tasks.training.objectives import Loss

IdsLike = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The ids of [CLS], [SEP], [MASK] and [PAD]."""

    classify: int
    separate: int
    mask: int
    pad: int


class PairBatches(Stateless):
    """Pairs in a new order each epoch, masked anew each time: from (seed, position, row).

    `words` has the number of each token's word (masking.word_numbers), which masking of whole words needs.
    """

    def __init__(
        self,
        documents: Documents,
        pairs: PairConfig,
        masking: MaskingConfig,
        *,
        marks: Marks,
        vocabulary: int,
        batch_sequences: int,
        seed: int,
        words: IdsLike | None = None,
    ) -> None:
        if masking.whole_words and (words is None or len(words) != len(documents.ids)):
            raise ValueError("bert: whole_words needs the number of each token's word; give words, one for each id")
        self._documents, self._length, self._masking, self._marks = documents, pairs.length, masking, marks
        self._vocabulary, self._size, self._seed = vocabulary, batch_sequences, seed
        self._words = words if masking.whole_words and words is not None else np.arange(len(documents.ids))
        self.pairs = make_pairs(documents, pairs, seed)
        self._shuffle = Shuffle(len(self.pairs), seed)

    def batch(self, position: int) -> Batch:
        numbers = self._shuffle.numbers(position * self._size, self._size)
        rows = [self._row(number, (self._seed, position, row)) for row, number in enumerate(numbers)]
        ids, labels, types, mask = (torch.from_numpy(np.stack(each)) for each in zip(*rows, strict=True))
        tensors = {"ids": ids, "labels": labels, "types": types, "mask": mask}
        asked_for = float((labels != IGNORED).sum())
        tensors["is_random"] = torch.from_numpy(self.pairs[numbers, 4])
        tensors["pair_weight"] = torch.full((len(rows),), asked_for / len(rows))
        return Batch(tensors=tensors, tokens=int(mask.sum()))

    def _row(self, number: int, drawn_from: Sequence[int]) -> tuple[npt.NDArray[np.int64], ...]:
        """What is seen, what is asked for, A or B, and whether there is anything; each [T]."""
        a_begin, a_end, b_begin, b_end, _ = self.pairs[number].tolist()
        a, b, marks = slice(a_begin, a_end), slice(b_begin, b_end), self._marks
        draw = np.random.Generator(np.random.PCG64(list(drawn_from)))
        length, b_place = a_end - a_begin + b_end - b_begin + 3, a_end - a_begin + 2
        ids_T, words_T = np.full(self._length, marks.pad), np.full(self._length, NO_WORD)
        ids_T[0], ids_T[[b_place - 1, length - 1]] = marks.classify, marks.separate
        for row_T, source in ((ids_T, self._documents.ids), (words_T, self._words)):
            row_T[1 : b_place - 1], row_T[b_place : length - 1] = source[a], source[b]
        places = chosen_positions(words_T, self._masking.count(length), draw)
        labels_T = np.full(self._length, IGNORED)
        labels_T[places] = ids_T[places]
        seen_T = replaced(ids_T, places, mask_id=marks.mask, vocabulary=self._vocabulary, draw=draw)
        positions = np.arange(self._length)
        mask_T = positions < length
        return seen_T, labels_T, ((positions >= b_place) & mask_T).astype(np.int64), mask_T.astype(np.int64)


class MaskedAndNext:
    """The mean over tokens that are asked for, plus the mean over pairs, in nats, as BERT's own.

    The engine divides one sum by one count, that of the tokens asked for in the whole batch. `pair_weight` is how many of
    them there are for a pair there, so that a sum of pairs weighted with it becomes their mean, however rows are cut.
    """

    def weight(self, batch: Batch) -> float:
        return float((batch.tensors["labels"] != IGNORED).sum())

    def loss(self, module: Any, batch: Batch) -> Loss:
        tensors = batch.tensors
        output = module.bert(tensors["ids"], attention_mask=tensors["mask"], token_type_ids=tensors["types"])
        wanted_BT = tensors["labels"] != IGNORED
        scores_NV = module.cls.predictions(output.last_hidden_state[wanted_BT]).float()
        masked = F.cross_entropy(scores_NV, tensors["labels"][wanted_BT], reduction="sum")
        relation_B2 = module.cls.seq_relationship(output.pooler_output).float()
        next_B = F.cross_entropy(relation_B2, tensors["is_random"], reduction="none") * tensors["pair_weight"]
        right_B = (relation_B2.argmax(1) == tensors["is_random"]) * tensors["pair_weight"]
        total = masked + next_B.sum()
        sums = {"loss": total, "masked_loss": masked, "next_loss": next_B.sum(), "next_accuracy": right_B.sum()}
        return Loss(total=total, sums={name: float(value.detach()) for name, value in sums.items()})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state


def training_flops(model: Any, *, tokens: int, asked_for: float) -> float:
    """Of one pair, thrice what its forward products cost; the head is asked about some tokens only."""
    config = model.config
    width, inner = config.hidden_size, config.intermediate_size
    layer = 2 * tokens * (4 * width**2 + 2 * width * inner) + 4 * tokens**2 * width
    heads = 2 * width**2 + 4 * width + asked_for * (2 * width**2 + 2 * width * config.vocab_size)
    return float(3 * (config.num_hidden_layers * layer + heads))


def measure(model: Any, batches: PairBatches, count: int) -> dict[str, float]:
    """The means of the objective's figures over `count` batches of pairs kept apart, without training."""
    objective, device = MaskedAndNext(), next(model.parameters()).device
    totals: dict[str, float] = {}
    weight = 0.0
    with asked(model):
        for batch in islice(batches.starting_at(0), count):
            moved = batch.to(device)
            weight += objective.weight(moved)
            for name, value in objective.loss(model, moved).sums.items():
                totals[name] = totals.get(name, 0.0) + float(value)
    return {name: value / weight for name, value in totals.items()}


def pseudo_nats(
    model: Any,
    ids: IdsLike,
    marks: Marks,
    *,
    max_tokens: int | None = None,
    words: IdsLike | None = None,
    batch_sequences: int = 64,
) -> Floats:
    """-ln p of each of the first tokens, masked alone, given all others around it (Salazar et al. 2020).

    A reading of the model for each token, which stands in the middle of its window where the text has that much. With
    `words` the later pieces of its word are masked too: they would give it away (Kauf and Ivanova 2023). Not a
    probability of the text: both sides are known, so it is compared with no other kind of model.
    """
    end, width = min(len(ids), max_tokens or len(ids)), min(len(ids), model.config.max_position_embeddings - 2)
    text = np.asarray(ids, dtype=np.int64)
    nats = np.empty(end)
    with asked(model):
        for start in range(0, end, batch_sequences):
            targets_B = np.arange(start, min(end, start + batch_sequences))
            begins_B = np.clip(targets_B - width // 2, 0, len(text) - width)
            places_BT = begins_B[:, None] + np.arange(width)
            hidden_BT = places_BT == targets_B[:, None]
            if words is not None:
                hidden_BT |= (places_BT > targets_B[:, None]) & (words[places_BT] == words[targets_B][:, None])
            rows_BT = np.where(hidden_BT, marks.mask, text[places_BT])
            scores_BV = _scores_at(model, _marked(rows_BT, marks), targets_B - begins_B + 1)
            found_B = F.cross_entropy(scores_BV, torch.from_numpy(text[targets_B]), reduction="none")
            nats[targets_B] = found_B.double().numpy()
    return nats


def _marked(rows_BT: IdsLike, marks: Marks) -> Tensor:
    """[CLS] row [SEP], as a single text is read."""
    ends = ((0, 0), (1, 1))
    return torch.from_numpy(np.pad(rows_BT, ends, constant_values=((0, 0), (marks.classify, marks.separate))))


def _scores_at(model: Any, ids_BT: Tensor, places_B: IdsLike) -> Tensor:
    device = next(model.parameters()).device
    states_BTD = model.bert(ids_BT.to(device)).last_hidden_state
    chosen_BD = states_BTD[torch.arange(len(ids_BT)), torch.from_numpy(places_B)]
    scores_BV: Tensor = model.cls.predictions(chosen_BD).float().cpu()
    return scores_BV


def fill(model: Any, ids: Sequence[int], marks: Marks, k: int = 5) -> list[list[tuple[int, float]]]:
    """For each [MASK] in `ids`, a text without other marks: the k likeliest ids with their probabilities."""
    places, most = np.flatnonzero(np.array(ids) == marks.mask) + 1, model.config.max_position_embeddings - 2
    if len(ids) > most:
        raise ValueError(
            f"fill: the text has {len(ids)} tokens, and this model reads {most} between its marks; shorten it"
        )
    if not len(places):
        raise ValueError(f"fill: the text has no [MASK] (id {marks.mask}); put one where a token is wanted")
    with asked(model):
        row_1T = _marked(np.array([ids], dtype=np.int64), marks)
        chances_NV = _scores_at(model, row_1T.expand(len(places), -1), places).softmax(1)
    best = chances_NV.topk(k, 1)
    return [list(zip(*each, strict=True)) for each in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def represent(model: Any, texts: Sequence[Sequence[int]], marks: Marks, batch_sequences: int = 64) -> Floats:
    """One vector for each text, [texts, D]: the mean of its tokens' last states; what is too long is cut off."""
    most, device = model.config.max_position_embeddings - 2, next(model.parameters()).device
    rows = [[marks.classify, *text[:most], marks.separate] for text in texts]
    found = []
    with asked(model):
        for start in range(0, len(rows), batch_sequences):
            some = rows[start : start + batch_sequences]
            mask_BT = padded([[1] * len(row) for row in some], 0).to(device)
            states_BTD = model.bert(padded(some, marks.pad).to(device), attention_mask=mask_BT).last_hidden_state
            inner_BT1 = mask_BT.cumsum(1).gt(1).logical_and(mask_BT.flip(1).cumsum(1).flip(1).gt(1))[..., None]
            means_BD = (states_BTD * inner_BT1).sum(1) / inner_BT1.sum(1).clamp(min=1)
            found.append(means_BD.double().cpu().numpy())
    return np.concatenate(found)
