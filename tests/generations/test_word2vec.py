"""The rules of word2vec.c, one by one: which words, which tokens, which windows, which noise, which loss."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.word2vec import Kind, Word2vec, Word2vecShape
from tasks.generations.word2vec import (
    FrequentWords,
    NegativeSampling,
    Word2vecBatches,
    Word2vecConfig,
    draw_noise,
    keep_probabilities,
    noise_edges,
    windows,
)
from tasks.training.batches import Batch
from tests.generations.brief_training import largest_gradient_error

KINDS: tuple[Kind, ...] = ("skip-gram", "cbow")


def test_words_are_ranked_by_count_and_rare_ones_and_the_end_have_no_vector() -> None:
    stream = np.array([3, 3, 3, 9, 1, 1, 9, 2, 3, 9, 9, 9])
    words = FrequentWords.of(stream, vocabulary_size=10, min_count=2, end_id=9)
    assert (words.ids.tolist(), words.counts.tolist(), len(words)) == ([3, 1], [4, 2], 2)
    assert words.ranks.tolist() == [-1, 1, -1, 0, -1, -1, -1, -1, -1, -1]
    with pytest.raises(ValueError, match="1 words occur 3 times; lower min_count"):
        FrequentWords.of(stream, vocabulary_size=10, min_count=3, end_id=9)


def test_subsampling_by_the_formula_of_the_code() -> None:
    # of 10,000 tokens a word of 100 has f = 0.01: (sqrt(100) + 1) / 100; one of 1 has f = t: min(1, 2)
    counts = np.array([100, 1, 9899])
    assert keep_probabilities(counts, 1e-4)[:2].tolist() == pytest.approx([0.11, 1.0], abs=1e-12)
    assert keep_probabilities(counts, 0).tolist() == [1, 1, 1]


def test_noise_is_counts_to_the_power_of_three_quarters() -> None:
    """A chi-square of a million draws over 500 words, by Wilson and Hilferty's cube root: p above 1e-3 is z below 3.09."""
    rng = np.random.default_rng(0)
    counts = np.sort((1e5 / np.arange(1, 501)).astype(np.int64))[::-1]
    expected = counts**0.75 / (counts**0.75).sum() * 1_000_000
    drawn = np.bincount(draw_noise(noise_edges(counts, 0.75), rng, (1000, 1000)).ravel(), minlength=500)

    def z(expectation: np.ndarray) -> float:
        freedom, square = 499, float(((drawn - expectation) ** 2 / expectation).sum())
        return ((square / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / (2 / (9 * freedom)) ** 0.5

    assert z(expected) < 3.09
    assert z(counts**0.8 / (counts**0.8).sum() * 1_000_000) > 10


def test_windows_reach_as_far_as_was_drawn_and_end_with_the_sentence() -> None:
    words, sentences = np.array([10, 11, 12, 13, 14, 15]), np.array([0, 0, 0, 0, 1, 2])
    centres, contexts, mask = windows(words, sentences, np.array([2, 1, 2, 1, 2, 2]), 2)
    assert centres.tolist() == [10, 11, 12, 13]  # 14 and 15 are alone in their sentences
    found = [row[within].tolist() for row, within in zip(contexts, mask, strict=True)]
    assert found == [[11, 12], [10, 12], [10, 11, 13], [12]]


def pairs_of(batch: Batch) -> set[tuple[int, int]]:
    contexts, within = batch.tensors["contexts"], batch.tensors["within"]
    centres = batch.tensors["ids"][:, None].expand_as(contexts)
    return set(zip(centres[within].tolist(), contexts[within].tolist(), strict=True))


def small_batches(seed: int = 1, **config: float) -> Word2vecBatches:
    """Ninety sentences of three words, each of them once in the text, so that a word tells its place."""
    stream = np.concatenate([np.arange(1, 271).reshape(90, 3), np.zeros((90, 1), dtype=np.int64)], axis=1).ravel()
    words = FrequentWords.of(stream, vocabulary_size=271, min_count=1, end_id=0)
    return Word2vecBatches(
        stream,
        words,
        Word2vecConfig(**{"subsample": 0, **config}),
        batch_tokens=40,
        seed=seed,  # type: ignore[arg-type]
    )


def test_an_epoch_has_every_word_once_as_a_centre_and_no_pair_across_sentences() -> None:
    batches = small_batches()
    assert batches.steps_per_epoch == 9
    given = list(islice(batches.starting_at(0), 18))
    for epoch in (given[:9], given[9:]):
        assert sorted(torch.cat([batch.tensors["ids"] for batch in epoch]).tolist()) == list(range(270))
        assert sum(batch.tokens for batch in epoch) == 360
    for batch in given:
        assert all(centre // 3 == context // 3 and centre != context for centre, context in pairs_of(batch))


def test_any_position_can_be_begun_at_and_what_is_drawn_differs_between_epochs() -> None:
    given = list(islice(small_batches().starting_at(0), 12))
    again = next(small_batches().starting_at(11))
    for name, tensor in given[11].tensors.items():
        assert torch.equal(tensor, again.tensors[name]), name
    other = next(small_batches(seed=2).starting_at(11))
    assert not torch.equal(given[11].tensors["negatives"], other.tensors["negatives"])


def test_subsampling_thins_out_frequent_words_and_brings_the_others_nearer() -> None:
    """Every other token is one word; without it, what was two apart is next to each other."""
    rare = np.arange(1, 201)
    stream = np.stack([np.zeros(200, dtype=np.int64), np.tile(rare[:40], 5)], axis=1).ravel()
    words = FrequentWords.of(stream, vocabulary_size=201, min_count=1)
    config = Word2vecConfig(window=1, subsample=1e-3)
    batch = next(Word2vecBatches(stream, words, config, batch_tokens=400, seed=0).starting_at(0))
    share = float((batch.tensors["ids"] == 0).float().mean())
    kept = keep_probabilities(words.counts, 1e-3)  # f = 1/2: 0.0467; f = 1/80: 0.363
    assert share == pytest.approx(kept[0] / (kept[0] + kept[1]), abs=0.08)
    assert any(0 not in pair for pair in pairs_of(batch))


def test_nothing_left_of_a_batch_is_an_error() -> None:
    stream = np.array([1, 0, 2, 0, 1, 0, 2, 0])
    words = FrequentWords.of(stream, vocabulary_size=3, min_count=1, end_id=0)
    batches = Word2vecBatches(stream, words, Word2vecConfig(subsample=0), batch_tokens=8, seed=0)
    with pytest.raises(ValueError, match="nothing is left of a batch of 8 tokens"):
        next(batches.starting_at(0))
    with pytest.raises(ValueError, match="window and negatives must be at least 1"):
        Word2vecConfig(negatives=0)


def small_batch(negatives: list[list[int]]) -> Batch:
    tensors = {
        "ids": torch.tensor([0, 3]),
        "contexts": torch.tensor([[1, 2], [4, 0]]),
        "within": torch.tensor([[True, True], [True, False]]),
        "negatives": torch.tensor(negatives),
    }
    return Batch(tensors=tensors, tokens=2)


@pytest.mark.parametrize(("kind", "count"), [("skip-gram", 3), ("cbow", 2)])
def test_a_fresh_model_pays_ln_2_for_every_score_and_none_for_a_negative_that_is_the_centre(
    kind: Kind, count: int
) -> None:
    objective, model = NegativeSampling(kind), Word2vec(Word2vecShape(dimension=3, kind=kind), vocabulary=5)
    for negatives, scores in (([[1, 2], [1, 2]], 3), ([[0, 0], [3, 3]], 1), ([[0, 1], [2, 3]], 2)):
        batch = small_batch(negatives)
        assert objective.weight(batch) == count
        assert objective.loss(model, batch).sums["loss"] == pytest.approx(count * scores * np.log(2), rel=1e-6)


def test_loss_is_the_sum_over_pairs_written_out() -> None:
    torch.manual_seed(0)
    model, batch = Word2vec(Word2vecShape(dimension=3), vocabulary=5), small_batch([[1, 4], [3, 2]])
    torch.nn.init.normal_(model.output.weight)
    v_in, v_out = model.input.weight, model.output.weight
    expected = sum(
        -F.logsigmoid(v_in[context] @ v_out[centre]) - sum(F.logsigmoid(-v_in[context] @ v_out[n]) for n in noise)
        for context, centre, noise in ((1, 0, (1, 4)), (2, 0, (1, 4)), (4, 3, (2,)))
    )
    found = NegativeSampling("skip-gram").loss(model, batch).total
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_differences(kind: Kind) -> None:
    torch.manual_seed(0)
    model = Word2vec(Word2vecShape(dimension=3, kind=kind), vocabulary=5).double()
    torch.nn.init.normal_(model.input.weight)
    torch.nn.init.normal_(model.output.weight)
    objective, batch = NegativeSampling(kind), small_batch([[1, 4], [3, 2]])
    assert largest_gradient_error(model, lambda: objective.loss(model, batch).total) < 1e-6
