"""What a model can do of an ability: exact match, and beside it three measures that move before it does.

Schaeffer et al. 2023, "Are Emergent Abilities of Large Language Models a Mirage?": exact match of an answer of L tokens is
about p^L where each is right with probability p, which looks like a jump; the likelihood and the edit distance do not jump
unless p does.

Shapes: B items, T tokens, V vocabulary, C choices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.sampling import SamplingConfig, sample
from tasks.emergence.abilities import Item, answer_of
from tasks.emergence.vocabulary import END_ID, PAD_ID, decode, encode
from tasks.training.batches import IGNORED, padded

BATCH_ITEMS = 256
SPARE_TOKENS = 4  # an answer may be longer than the right one by so many before it is cut


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One entry per item. `nats` is the mean over the tokens to be written, the scratchpad's and the end token included.

    `distance` counts the tokens of the final answer that would have to be changed; `brier` is empty without choices.
    """

    exact: Sequence[float]
    nats: Sequence[float]
    distance: Sequence[float]
    brier: Sequence[float]


def measure(model: Any, items: Sequence[Item]) -> Scores:
    """Greedy answers and teacher-forced likelihoods of a model whose vocabulary is ours."""
    answers = greedy_answers(model, items)
    nats, brier = likelihoods(model, items)
    return Scores(
        exact=[float(answer == each.answer) for answer, each in zip(answers, items, strict=True)],
        nats=nats,
        distance=[float(edit_distance(answer or "", each.answer)) for answer, each in zip(answers, items, strict=True)],
        brier=brier,
    )


def greedy_answers(model: Any, items: Sequence[Item]) -> list[str | None]:
    """The final answers by greedy decoding; None where the model found no end."""
    config = SamplingConfig(max_tokens=max(len(each.target) for each in items) + SPARE_TOKENS, temperature=0.0)
    samples = sample(
        model, [encode(each.prompt) for each in items], config, seed=0, stop_ids=frozenset({END_ID}), pad_id=PAD_ID,
        batch_sequences=BATCH_ITEMS,
    )  # fmt: skip
    return [answer_of(decode(each.tokens)) if each.finished else None for each in samples]


def edit_distance(found: str, wanted: str) -> int:
    """Levenshtein's: insertions, deletions and replacements. edit_distance("125", "1255") -> 1"""
    row = list(range(len(wanted) + 1))
    for place, character in enumerate(found, 1):
        previous, row[0] = row[0], place
        for column, other in enumerate(wanted, 1):
            kept = previous + (character != other)
            previous, row[column] = row[column], min(kept, row[column] + 1, row[column - 1] + 1)
    return row[-1]


@torch.no_grad()
def likelihoods(model: Any, items: Sequence[Item]) -> tuple[list[float], list[float]]:
    """Per item: nats per token of what is to be written, and the Brier score of its choices (none: an empty list)."""
    was_training = model.training
    model.eval()
    nats: list[float] = []
    brier: list[float] = []
    for start in range(0, len(items), BATCH_ITEMS):
        some = items[start : start + BATCH_ITEMS]
        ids_BT, labels_BT = _written(some)
        device = next(model.parameters()).device
        scores_BTV = torch.log_softmax(model(input_ids=ids_BT.to(device)).logits.float(), 2).cpu()
        nats += _nats_per_token(scores_BTV, labels_BT).tolist()
        if all(each.choices for each in some):
            brier += _brier(scores_BTV, labels_BT, some).tolist()
    model.train(was_training)
    return nats, brier


def _written(items: Sequence[Item]) -> tuple[Tensor, Tensor]:
    """Ids filled up on the right, which no token before looks at, and labels on what is to be written."""
    pairs = [(encode(each.prompt), [*encode(each.target), END_ID]) for each in items]
    ids = [[*prompt, *target[:-1]] for prompt, target in pairs]
    labels = [[*[IGNORED] * (len(prompt) - 1), *target] for prompt, target in pairs]
    return padded(ids, PAD_ID), padded(labels, IGNORED)


def _nats_per_token(scores_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    wanted_BT = labels_BT != IGNORED
    picked_BT = scores_BTV.gather(2, labels_BT.clamp(min=0)[:, :, None])[:, :, 0]
    return -(picked_BT * wanted_BT).sum(1) / wanted_BT.sum(1)


def _brier(scores_BTV: Tensor, labels_BT: Tensor, items: Sequence[Item]) -> Tensor:
    """Sum over the choices of (probability among them - whether it is right)^2: 0 the best, 1 - 1/C without a clue.

    The choice is the first token that is written.
    """
    rows_B = torch.arange(len(items))
    first_BV = scores_BTV[rows_B, (labels_BT != IGNORED).int().argmax(1)]
    choices_BC = torch.tensor([encode(each.choices) for each in items])
    right_BC = torch.tensor([[choice == each.answer for choice in each.choices] for each in items])
    chances_BC = first_BV.gather(1, choices_BC).softmax(1)
    return ((chances_BC - right_BC.float()) ** 2).sum(1)
