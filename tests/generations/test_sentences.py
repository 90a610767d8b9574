"""Pairs of sentences: made as said, told apart by vectors that hold what a text is about, and not where there is nothing."""

import numpy as np
import torch
from torch import nn

from tasks.generations import sentences
from tasks.generations.sentences import causal_means, neighbours_told, pairs, word_means
from tasks.generations.text import Split, Text

END, TOPICS, WORDS = 0, 20, 10


def of_topics(lines: int, seed: int, *, topics: int = TOPICS) -> np.ndarray:
    """Lines of three sentences of sixteen pieces, all of one topic's ten words; with one topic there is nothing to tell."""
    random = np.random.default_rng(seed)
    found = []
    for topic in random.integers(topics, size=lines):
        words = 1 + WORDS * topic + random.integers(WORDS * TOPICS // topics, size=3 * sentences.LENGTH)
        found += [*words.tolist(), END]
    return np.array(found)


def text_of(topics: int) -> Text:
    made = {name: of_topics(800, seed, topics=topics) for seed, name in enumerate(("train", "valid", "test"))}
    splits = {name: Split(ids=ids, bytes=len(ids), unknown=0) for name, ids in made.items()}
    return Text(level="word", pieces=tuple(map(str, range(1 + TOPICS * WORDS))), splits=splits)


def test_every_other_pair_stands_side_by_side() -> None:
    ids = of_topics(300, 1)
    found, beside = pairs(ids, END, 200, seed=1)
    assert len(found) == 200
    assert beside.sum() == 100
    stream = "".join(f" {number} " for number in ids.tolist() if number != END)
    for (first, second), is_beside in zip(found, beside, strict=True):
        together = "".join(f" {number} " for number in [*first, *second])
        assert (together in stream) == is_beside
    assert pairs(ids, END, 200, seed=1)[0] == found
    assert pairs(np.array([1, 2, 3, END] * 50), END, 200, seed=1)[0] == []  # too short to be sentences


def test_vectors_that_hold_the_topic_tell_neighbours_and_where_there_is_none_nobody_can() -> None:
    vectors = np.random.default_rng(3).normal(size=(1 + TOPICS * WORDS, 64))

    def told(topics: int) -> int:
        text, ranks = text_of(topics), np.arange(1 + TOPICS * WORDS)
        (said,) = neighbours_told(lambda some: word_means(vectors, ranks, some), text, seed=1).values()
        return int(said.split("%")[0])

    # of the pairs side by side a third are of two lines, and of the others a twentieth are of one topic
    assert 72 < told(TOPICS) < 90
    assert 42 < told(1) < 58


def test_a_word_without_a_vector_says_nothing() -> None:
    ranks = np.array([-1, 0, 1])
    assert not word_means(np.ones((2, 3)), ranks, [[END]]).any()
    assert (word_means(np.ones((2, 3)), ranks, [[END, 2]]) == 1).all()


def test_padding_is_not_part_of_a_mean() -> None:
    model = nn.Embedding(8, 3)
    found = causal_means(model, model, [[1, 2, 3], [4]])
    weight = model.weight.detach().double()
    assert torch.allclose(torch.from_numpy(found[0]), weight[1:4].mean(0))
    assert torch.allclose(torch.from_numpy(found[1]), weight[4])
