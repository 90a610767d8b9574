"""Sentences as vectors: whether a linear reader of two vectors can tell that the sentences stand side by side.

Made of the text itself, so that it needs no labels. It reads what the vectors share and where they differ, |u - v| and
u v, as Conneau et al. (2017) do for pairs of sentences.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tasks.generations.asking import asked
from tasks.generations.text import Ids, Text

Sentences = Sequence[Sequence[int]]
Vectors = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Represent = Callable[[Sentences], Vectors]

LENGTH, FEWEST_PIECES = 16, 8
LEARNED_FROM, ASKED, FEWEST_ASKED = 2000, 500, 100
RIDGE = 100.0  # over standardised features
READ_AT_ONCE = 64


def neighbours_told(represent: Represent, text: Text, seed: int) -> dict[str, str]:
    """{question: how often it is right}; nothing where the text has too few sentences. Learned on the valid text."""
    learned, asked_of = (
        pairs(text.splits[split].ids, text.end_id, most, seed)
        for split, most in (("valid", LEARNED_FROM), ("test", ASKED))
    )
    if min(len(learned[0]), len(asked_of[0])) < FEWEST_ASKED:
        return {}
    right = accuracy(_compared(represent, learned[0]), learned[1], _compared(represent, asked_of[0]), asked_of[1])
    half_width = 1.96 * (0.25 / len(asked_of[0])) ** 0.5
    return {
        "do two sentences stand side by side": f"{right:.0%} right of {len(asked_of[0])} by their vectors alone "
        f"(chance is 50% ± {half_width:.0%})"
    }


def pairs(ids: Ids, end_id: int, most: int, seed: int) -> tuple[list[tuple[list[int], list[int]]], Labels]:
    """Lines cut into sentences of LENGTH pieces; every other pair stands side by side, the others are drawn together."""
    random = np.random.default_rng(seed)
    lines = [line[line != end_id].tolist() for line in np.split(ids, np.flatnonzero(ids == end_id) + 1)]
    cut = [line[start : start + LENGTH] for line in lines for start in range(0, len(line), LENGTH)]
    sentences = [each for each in cut if len(each) >= FEWEST_PIECES]
    firsts = random.permutation(max(0, len(sentences) - 1))[:most]
    beside = np.arange(len(firsts)) % 2 == 0
    found = []
    for first, is_beside in zip(firsts, beside, strict=True):
        second = first + 1 if is_beside else random.integers(len(sentences))
        found.append((sentences[first], sentences[second]))
    return found, beside


def _compared(represent: Represent, found: Sequence[tuple[list[int], list[int]]]) -> Vectors:
    u_ND, v_ND = (represent([pair[side] for pair in found]) for side in (0, 1))
    mean_D, scale_D = u_ND.mean(0), u_ND.std(0) + 1e-9
    u_ND, v_ND = (u_ND - mean_D) / scale_D, (v_ND - mean_D) / scale_D
    return np.concatenate([np.abs(u_ND - v_ND), u_ND * v_ND], axis=1)


def accuracy(learned_ND: Vectors, labels_N: Labels, asked_MD: Vectors, wanted_M: Labels) -> float:
    """The share that a linear reader of the vectors gets right."""
    return float(((scores(learned_ND, labels_N, asked_MD) > 0) == wanted_M).mean())


def scores(learned_ND: Vectors, labels_N: Labels, asked_MD: Vectors) -> Vectors:
    """[M], above 0 for what looks like a True: ridge regression on ±1 over standardised features."""
    mean_D, scale_D = learned_ND.mean(0), learned_ND.std(0) + 1e-9
    x_ND, x_MD = ((each - mean_D) / scale_D for each in (learned_ND, asked_MD))
    signs_N = np.where(labels_N, 1.0, -1.0)
    weights_D = np.linalg.solve(x_ND.T @ x_ND + RIDGE * np.eye(x_ND.shape[1]), x_ND.T @ (signs_N - signs_N.mean()))
    return np.asarray(x_MD @ weights_D + signs_N.mean())


def causal_means(model: nn.Module, states: Callable[[Tensor], Tensor], sentences: Sentences) -> Vectors:
    """The mean of each sentence's states, [sentences, D]; `states` reads left to right, so padding at the end is unseen."""
    device = next(model.parameters()).device
    found = []
    with asked(model):
        for start in range(0, len(sentences), READ_AT_ONCE):
            some = sentences[start : start + READ_AT_ONCE]
            lengths_B = torch.tensor([len(each) for each in some])
            ids_BT = torch.zeros(len(some), int(lengths_B.max()), dtype=torch.long)
            for row, sentence in enumerate(some):
                ids_BT[row, : len(sentence)] = torch.tensor(sentence)
            mask_BT1 = (torch.arange(ids_BT.shape[1])[None] < lengths_B[:, None])[..., None]
            states_BTD = states(ids_BT.to(device)).double().cpu()
            found.append(((states_BTD * mask_BT1).sum(1) / lengths_B[:, None]).numpy())
    return np.concatenate(found)


def word_means(vectors_WD: Vectors, rank_of_V: npt.NDArray[np.integer], sentences: Sentences) -> Vectors:
    """The mean of the vectors of each sentence's words; a word without one, of rank -1, says nothing."""
    found = np.zeros((len(sentences), vectors_WD.shape[1]))
    for row, sentence in enumerate(sentences):
        ranks = rank_of_V[np.asarray(sentence)]
        if (ranks >= 0).any():
            found[row] = vectors_WD[ranks[ranks >= 0]].mean(0)
    return found
