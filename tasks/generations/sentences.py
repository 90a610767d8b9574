"""Sentences as vectors: whether a linear reader of the vector can tell that two neighbouring pieces were swapped.

The bigram shift of Conneau et al. (2018), "What you can cram into a single vector", made of the text itself, so that it
needs no labels. A mean of word vectors is the same with and without the swap: it must stay at chance.
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
Represent = Callable[[Sentences], Vectors]

LENGTH, FEWEST_PIECES = 16, 8
LEARNED_FROM, ASKED, FEWEST_ASKED = 2000, 500, 100
RIDGE = 10.0  # over standardised features
READ_AT_ONCE = 64


def word_order(represent: Represent, text: Text, seed: int) -> dict[str, str]:
    """{"word order": how often it is right}; nothing where the text has too few sentences. Learned on the valid text."""
    learned, asked_of = (
        bigram_shift(text.splits[split].ids, text.end_id, most, seed)
        for split, most in (("valid", LEARNED_FROM), ("test", ASKED))
    )
    if min(len(learned[0]), len(asked_of[0])) < FEWEST_ASKED:
        return {}
    right = accuracy(represent(learned[0]), learned[1], represent(asked_of[0]), asked_of[1])
    half_width = 1.96 * (0.25 / len(asked_of[0])) ** 0.5
    return {
        "which sentence has two neighbours swapped": f"{right:.0%} right of {len(asked_of[0])} by its vector alone "
        f"(chance is 50% ± {half_width:.0%})"
    }


def bigram_shift(ids: Ids, end_id: int, most: int, seed: int) -> tuple[list[list[int]], npt.NDArray[np.bool_]]:
    """Lines cut into sentences of LENGTH pieces, and which of them (every other one) have a pair swapped."""
    random = np.random.default_rng(seed)
    lines = [line[line != end_id].tolist() for line in np.split(ids, np.flatnonzero(ids == end_id) + 1)]
    cut = [line[start : start + LENGTH] for line in lines for start in range(0, len(line), LENGTH)]
    long_enough = [each for each in cut if len(each) >= FEWEST_PIECES]
    chosen = random.permutation(len(long_enough))[:most]
    sentences = [list(long_enough[place]) for place in chosen]
    swapped = np.arange(len(sentences)) % 2 == 1
    for sentence in sentences[1::2]:
        place = int(random.integers(len(sentence) - 1))
        sentence[place], sentence[place + 1] = sentence[place + 1], sentence[place]
    return sentences, swapped


def accuracy(
    learned_ND: Vectors, labels_N: npt.NDArray[np.bool_], asked_MD: Vectors, wanted_M: npt.NDArray[np.bool_]
) -> float:
    """Of a ridge classifier over standardised features."""
    mean_D, scale_D = learned_ND.mean(0), learned_ND.std(0) + 1e-9
    x_ND, x_MD = ((each - mean_D) / scale_D for each in (learned_ND, asked_MD))
    signs_N = np.where(labels_N, 1.0, -1.0)
    weights_D = np.linalg.solve(x_ND.T @ x_ND + RIDGE * np.eye(x_ND.shape[1]), x_ND.T @ (signs_N - signs_N.mean()))
    return float(((x_MD @ weights_D + signs_N.mean() > 0) == wanted_M).mean())


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
