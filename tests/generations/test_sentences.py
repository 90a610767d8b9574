"""The swapped neighbours: made as said, found by what sees order, and not by a mean of word vectors."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from tasks.generations.sentences import accuracy, bigram_shift, causal_means, word_means

END = 0


def counted_up(lines: int) -> np.ndarray:
    """Lines of twelve pieces, each one more than the piece before it, of 1 to 40."""
    starts = np.random.default_rng(5).integers(1, 29, lines)
    return np.concatenate([np.array([*range(start, start + 12), END]) for start in starts])


def test_every_other_sentence_has_one_pair_of_neighbours_swapped() -> None:
    sentences, swapped = bigram_shift(counted_up(300), END, 200, seed=1)
    assert len(sentences) == 200
    assert swapped.sum() == 100
    for sentence, is_swapped in zip(sentences, swapped, strict=True):
        assert END not in sentence
        assert sorted(sentence) == list(range(min(sentence), min(sentence) + 12))
        assert sum(after - before != 1 for before, after in pairwise(sentence)) in ((2, 3) if is_swapped else (0,))
    assert bigram_shift(counted_up(300), END, 200, seed=1)[0] == sentences
    assert bigram_shift(np.array([1, 2, 3, END] * 50), END, 200, seed=1)[0] == []  # too short to be sentences


def test_order_is_seen_by_neighbours_and_not_by_a_mean() -> None:
    learned, asked = (bigram_shift(counted_up(900), END, most, seed) for most, seed in ((800, 1), (400, 2)))

    def neighbours(sentences: list[list[int]]) -> np.ndarray:
        return np.array([[float(sum(np.diff(each) != 1)), 1.0] for each in sentences])

    assert accuracy(neighbours(learned[0]), learned[1], neighbours(asked[0]), asked[1]) > 0.98
    vectors, ranks = np.random.default_rng(3).normal(size=(41, 16)), np.arange(41)
    ranks[END] = -1
    means = [word_means(vectors, ranks, part[0]) for part in (learned, asked)]
    assert abs(accuracy(means[0], learned[1], means[1], asked[1]) - 0.5) < 0.08
    assert not word_means(vectors, ranks, [[END]]).any()


def test_padding_is_not_part_of_a_mean() -> None:
    model = nn.Embedding(8, 3)
    found = causal_means(model, model, [[1, 2, 3], [4]])
    weight = model.weight.detach().double()
    assert torch.allclose(torch.from_numpy(found[0]), weight[1:4].mean(0))
    assert torch.allclose(torch.from_numpy(found[1]), weight[4])
