"""Pairs of a planted corpus, whose ids say where they stood: what follows follows, what is random is from elsewhere."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tasks.generations.sentence_pairs import Documents, PairConfig, make_pairs, plan_document, truncated


def planted(documents: int = 60, seed: int = 0) -> Documents:
    """Ids count up through the corpus, so that an id is its own place; 1 to 30 segments of 1 to 25 tokens a document."""
    draw = np.random.default_rng(seed)
    segments = [int(draw.integers(1, 31)) for _ in range(documents)]
    sizes = draw.integers(1, 26, size=sum(segments))
    offsets = np.cumsum([0, *sizes.tolist()])
    return Documents(ids=np.arange(offsets[-1]), segments=offsets, documents=np.cumsum([0, *segments]))


def document_of(corpus: Documents, places: Any) -> Any:
    return np.searchsorted(corpus.segments[corpus.documents], places, side="right") - 1


def plans(corpus: Documents, config: PairConfig, seed: int = 1) -> list[tuple[int, Any]]:
    found = []
    for number in range(len(corpus.documents) - 1):
        draw = np.random.default_rng([seed, number])
        found += [(number, plan) for plan in plan_document(corpus, number, config, draw)]
    return found


def test_what_is_said_to_follow_follows_and_what_is_random_is_of_another_document() -> None:
    corpus, kinds = planted(), {True: 0, False: 0}
    for number, plan in plans(corpus, PairConfig(length=64)):
        first, last = corpus.documents[number : number + 2]
        assert first <= plan.begin < plan.split <= last
        kinds[plan.is_random] += 1
        if plan.is_random:
            other = document_of(corpus, corpus.segments[plan.b_begin])
            assert other != number
            assert corpus.documents[other] <= plan.b_begin < plan.b_end <= corpus.documents[other + 1]
        else:
            assert plan.b_begin == plan.split < plan.b_end <= last
    assert min(kinds.values()) > 100


def test_what_a_random_text_displaced_is_used_later() -> None:
    """Each segment of a document is once in an A or in a B that follows, in its order."""
    corpus = planted()
    used: dict[int, list[int]] = {}
    for number, plan in plans(corpus, PairConfig(length=64)):
        end = plan.split if plan.is_random else plan.b_end
        used.setdefault(number, []).extend(range(plan.begin, end))
    for number, segments in used.items():
        assert segments == list(range(*corpus.documents[number : number + 2]))


def test_a_single_segment_is_followed_by_a_random_text() -> None:
    corpus = Documents.of([[[number] * 70] * 3 for number in range(5)])
    found = plans(corpus, PairConfig(length=64, short_share=0.0))
    assert len(found) == 15
    assert all(plan.is_random for _, plan in found)


def test_more_than_half_of_all_pairs_are_random() -> None:
    """By a coin, and by force where there is one segment alone: between 0.50 and 0.60 on segments like sentences."""
    pairs = make_pairs(planted(400), PairConfig(), seed=3)
    assert len(pairs) > 2000
    assert 0.50 < pairs[:, 4].mean() < 0.60


def test_pairs_fit_and_have_two_sides() -> None:
    corpus = planted()
    pairs = make_pairs(corpus, PairConfig(length=32), seed=3)
    a, b = pairs[:, 1] - pairs[:, 0], pairs[:, 3] - pairs[:, 2]
    assert min(a.min(), b.min()) >= 1
    assert (a + b).max() == 29
    same = document_of(corpus, pairs[:, 0]) == document_of(corpus, pairs[:, 2])
    assert np.array_equal(same, pairs[:, 4] == 0)
    follows = pairs[pairs[:, 4] == 0]
    assert (follows[:, 2] >= follows[:, 1]).all()
    # between them lies what truncation took there
    assert (follows[:, 2] - follows[:, 1] <= 24).all()  # the last segment's, of at most 25 tokens
    assert (follows[:, 2] == follows[:, 1]).mean() > 0.1


def test_some_documents_are_made_into_shorter_pairs() -> None:
    """To between 2 and 125 tokens, which at least doubles the pairs of about half of them; a tenth of the documents."""
    corpus = Documents.of([[[number] * 5] * 200 for number in range(300)])

    def counts(short_share: float) -> list[int]:
        return list(Counter(number for number, _ in plans(corpus, PairConfig(short_share=short_share))).values())

    usual = np.median(counts(0.0))
    always, sometimes = (np.mean([count > 1.7 * usual for count in counts(share)]) for share in (1.0, 0.1))
    assert 0.3 < always < 0.7
    assert sometimes == pytest.approx(0.1 * always, abs=5 * np.sqrt(0.05 / 300))


def test_truncation_is_the_originals() -> None:
    """Beside its loop, token by token: the longer side loses, B where both are equal."""
    draw = np.random.default_rng(0)
    for _ in range(500):
        a, b, most = (int(each) for each in draw.integers(1, 40, size=3))
        most = max(most, 2)
        found = truncated((100, 100 + a), (500, 500 + b), most, draw)
        while a + b > most:
            a, b = (a - 1, b) if a > b else (a, b - 1)
        assert (found[1] - found[0], found[3] - found[2]) == (a, b)
        assert found[0] >= 100
        assert found[2] >= 500


def test_truncation_takes_from_front_and_back_alike() -> None:
    draw = np.random.default_rng(0)
    found = np.array([truncated((0, 40), (50, 55), 25, draw)[:2] for _ in range(2000)])
    assert (found[:, 1] - found[:, 0] == 20).all()
    assert found[:, 0].mean() == pytest.approx(10, abs=5 * np.sqrt(20 / 4 / 2000))
    assert len(set(found[:, 0].tolist())) > 5


def test_a_corpus_is_the_same_however_it_is_given() -> None:
    nested = Documents.of([[[7, 8, 9], [5], []], [], [[6, 6]]])
    assert (nested.ids.tolist(), nested.segments.tolist()) == ([7, 8, 9, 5, 6, 6], [0, 3, 4, 6])
    assert nested.documents.tolist() == [0, 2, 3]
    cut = Documents.cut(np.arange(12), np.array([0, 7]), 3)
    assert (cut.segments.tolist(), cut.documents.tolist()) == ([0, 3, 6, 7, 10, 12], [0, 3, 5])


def test_pairs_follow_from_the_seed_and_each_copy_is_another() -> None:
    corpus, config = planted(20), PairConfig(length=64, copies=2)
    pairs = make_pairs(corpus, config, 1)
    assert np.array_equal(pairs, make_pairs(corpus, config, 1))
    assert not np.array_equal(pairs[:20], make_pairs(corpus, config, 2)[:20])
    one = make_pairs(corpus, PairConfig(length=64, copies=1), 1)
    assert np.array_equal(pairs[: len(one)], one)
    assert not np.array_equal(pairs[len(one) :][:20], one[:20])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Documents.of([[[1, 2]]]), "there is one; a random B needs another"),
        (lambda: Documents.of([]), "must rise from 0"),
        (lambda: Documents(ids=np.arange(4), segments=np.array([0, 2, 2, 4]), documents=np.array([0, 1, 3])), "rise"),
        (lambda: Documents(ids=np.arange(4), segments=np.array([0, 2]), documents=np.array([0, 1])), "from 0 to 4"),
        (lambda: PairConfig(length=4), "length must be at least 5"),
        (lambda: PairConfig(copies=0), "copies at least 1"),
    ],
)
def test_impossible_corpora_are_refused(make: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make()
