"""word2vec trained by the engine finds what was planted: relations, topics, leanings, and the PMI it must come to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.word2vec import Kind, Word2vec, Word2vecShape
from tasks.evaluation.weat import Weat, weat
from tasks.generations.word2vec import (
    OPTIMIZER,
    SCHEDULE,
    FrequentWords,
    NegativeSampling,
    Word2vecBatches,
    Word2vecConfig,
    noise_edges,
)
from tasks.generations.word_vectors import nearest, score_analogies
from tests.generations.brief_training import train_briefly
from tests.generations.planted_text import END, Leanings, Relations, Topics, sentences

KINDS: tuple[Kind, ...] = ("skip-gram", "cbow")


def fit(
    folder: Path,
    stream: np.ndarray,
    vocabulary: int,
    *,
    steps: int,
    batch_tokens: int = 4000,
    dimension: int = 24,
    kind: Kind = "skip-gram",
    config: Word2vecConfig | None = None,
    learning_rate: float = 0.03,
) -> tuple[Word2vec, FrequentWords, list[float]]:
    words = FrequentWords.of(stream, vocabulary_size=vocabulary, min_count=1, end_id=END)
    config = config or Word2vecConfig(subsample=0)
    batches = Word2vecBatches(stream, words, config, batch_tokens=batch_tokens, seed=1)
    torch.manual_seed(0)
    model = Word2vec(Word2vecShape(dimension=dimension, kind=kind), vocabulary=len(words))
    losses = train_briefly(
        folder,
        model,
        NegativeSampling(kind),
        batches,
        steps=steps,
        batch_sequences=batch_tokens,
        optimizer=replace(OPTIMIZER, learning_rate=learning_rate),
        schedule=SCHEDULE,
    )
    return model, words, losses


def vectors_of(model: Word2vec) -> np.ndarray:
    return model.input.weight.detach().numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_planted_analogies_are_found(kind: Kind, tmp_path: Path) -> None:
    text = Relations(8000, seed=0)
    model, words, losses = fit(tmp_path, text.stream, text.vocabulary, steps=80, kind=kind)
    assert losses[0] == pytest.approx(6 * np.log(2), abs=0.2)  # less what is skipped
    assert losses[-1] < 0.75 * losses[0]
    fresh = Word2vec(model.shape, vocabulary=len(words))
    questions = words.ranks[text.questions()]
    assert score_analogies(vectors_of(fresh), questions).accuracy < 0.1
    score = score_analogies(vectors_of(model), questions)
    assert score.scored == 12 * 11 * 4 * 3
    assert score.accuracy > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_of_the_planted_topic(kind: Kind, tmp_path: Path) -> None:
    text = Topics(1500, seed=0)
    model, words, _ = fit(tmp_path, text.stream, text.vocabulary, steps=40, kind=kind)
    own = range(1, 1 + text.topics * text.words)
    same = [
        text.topic_of(word) == text.topic_of(int(words.ids[other]))
        for word in own
        for other, _ in nearest(vectors_of(model), int(words.ranks[word]), 5)
    ]
    assert np.mean(same) > 0.9


def test_scores_come_to_the_pointwise_mutual_information(tmp_path: Path) -> None:
    """Levy and Goldberg (2014): with vectors of full rank v_w v_c is ln P(w,c) / (P(w) Pn(c)) - ln k.

    Where a negative that is the target is skipped, word w sees c as noise only beside its other targets, which makes it
    exactly ln #(w,c) / (k Pn(c) (#(w) - #(w,c))).
    """
    rng = np.random.default_rng(0)
    count, negatives = 16, 2
    leaning = rng.normal(size=(count, count))
    joint = np.exp(0.5 * (leaning + leaning.T) + 0.4 * rng.normal(size=count)[:, None])
    drawn = rng.choice(count * count, size=40_000, p=(joint / joint.sum()).ravel())
    stream = sentences(1 + np.stack(np.divmod(drawn, count), axis=1))
    config = Word2vecConfig(window=1, negatives=negatives, subsample=0)
    model, words, _ = fit(
        tmp_path, stream, count + 1, steps=100, batch_tokens=12_000, dimension=count, config=config, learning_rate=0.1
    )

    rows = words.ranks[1 + np.stack(np.divmod(drawn, count))]
    pairs = np.zeros((count, count))
    np.add.at(pairs, (rows[0], rows[1]), 1)
    pairs += pairs.T
    noise = np.diff(noise_edges(words.counts, config.noise_power), prepend=0)
    totals = pairs.sum(axis=1, keepdims=True)
    plain = np.log(pairs / totals / noise) - np.log(negatives)
    exact = np.log(pairs / (negatives * noise * (totals - pairs)))
    found = (model.input.weight @ model.output.weight.T).detach().numpy()
    correlations = [float(np.corrcoef(found.ravel(), each.ravel())[0, 1]) for each in (plain, exact)]
    assert min(correlations) > 0.98
    assert np.abs(found - exact).mean() < 0.1


@pytest.mark.parametrize(("bias", "planted"), [(0.8, True), (0.0, False)])
def test_weat_finds_a_planted_leaning_and_none_in_balanced_text(bias: float, planted: bool, tmp_path: Path) -> None:
    text = Leanings(bias, seed=0)
    model, words, _ = fit(tmp_path, text.stream, text.vocabulary, steps=50, dimension=16)
    found: Weat = weat(*(vectors_of(model)[words.ranks[each]] for each in text.sets()))
    if planted:
        assert found.effect_size > 1
        assert found.p < 0.001
    else:
        assert abs(found.effect_size) < 0.3
        assert found.p > 0.05
