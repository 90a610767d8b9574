"""Counting checked against arithmetic done by hand, and against the formulas written out slowly."""

from collections import Counter, defaultdict
from itertools import product

import numpy as np
import pytest

from models.ngram import NgramModel, document_starts
from models.ngram_counts import NOT_FOUND, count_ngrams, find, lay_out
from models.ngram_smoothing import Discounts, NgramConfig, Smoothing, adjusted_counts, discounts_of
from models.ngram_vocabulary import Vocabulary

KENLM_FALLBACK = (0.5, 1.0, 1.5)


def encoded(*sentences: str) -> tuple[Vocabulary[str], np.ndarray, np.ndarray]:
    documents = [sentence.split() for sentence in sentences]
    vocabulary = Vocabulary.of(documents, unknown="<unk>", end="</s>")
    return vocabulary, *vocabulary.encode(documents, end="</s>")


def fitted(ids: np.ndarray, starts: np.ndarray | None, words: int, **settings: object) -> NgramModel:
    config = NgramConfig(**{"fallback_discounts": KENLM_FALLBACK, **settings})  # type: ignore[arg-type]
    return NgramModel.fit(ids, vocabulary_size=words, config=config, starts=starts)


def random_documents(seed: int, words: int = 5, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, count)
    return rng.integers(0, words, lengths.sum()), np.cumsum([0, *lengths[:-1]])


# --- Kneser-Ney ---------------------------------------------------------------------------------------------------


def test_lmplz_golden_of_two_sentences() -> None:
    # toy0.arpa of KenLM: order 3, --discount_fallback 0.5 1 1.5. By hand, p(a): a has 3 left words (<s>, a, b), as many
    # as 1.5 is taken from; b and </s> have 2, of 7; 3.5/7 is left over 4 words: 1.5/7 + 0.5/4 = 10^-0.46943438.
    vocabulary, ids, starts = encoded("a a b a", "b a a b")
    model = fitted(ids, starts, len(vocabulary), order=3)

    def log10(context: str, word: str) -> float:
        ends = np.array([vocabulary[token] for token in context.split()], dtype=np.int64)
        return float(model.next_log_probabilities(ends)[vocabulary[word]] / np.log(10))

    unigrams = model.tables[0].log_probabilities / np.log(10)
    assert unigrams[vocabulary["<unk>"]] == pytest.approx(-0.90309, abs=1e-6)
    assert unigrams[vocabulary["a"]] == pytest.approx(-0.46943438, abs=1e-6)
    assert unigrams[vocabulary["b"]] == pytest.approx(-0.5720968, abs=1e-6)
    assert unigrams[vocabulary["</s>"]] == pytest.approx(-0.5720968, abs=1e-6)
    assert unigrams[-1] == 0  # <s> is given, never predicted
    assert log10("", "a") == pytest.approx(-0.37712017, abs=1e-6)  # after <s>
    assert log10("a b a", "</s>") == pytest.approx(-0.42082912, abs=1e-6)
    assert model.ngram_counts == (3, 7, 7)
    assert model.discounts == (KENLM_FALLBACK,) * 3


def test_discounts_from_counts_of_counts_by_hand() -> None:
    # four words once, two twice, one three times, one four times: Y = 4 / (4 + 2*2) = 1/2,
    # D1 = 1 - 2 Y 2/4 = 0.5, D2 = 2 - 3 Y 1/2 = 1.25, D3 = 3 - 4 Y 1/1 = 1
    tally = np.array([1, 1, 1, 1, 2, 2, 3, 4, 0])
    assert discounts_of(tally, "modified_kneser_ney") == ((0.5, 1.25, 1.0), "")
    assert discounts_of(tally, "kneser_ney") == ((0.5, 0.5, 0.5), "")
    text = np.repeat(np.arange(8), tally[:8])
    model = fitted(text, None, 9, order=1, fallback_discounts=None)
    assert model.discounts == ((0.5, 1.25, 1.0),)
    # 4 * 0.5 + 2 * 1.25 + 1 + 1 = 6.5 of 15 tokens is left to 9 words; the ninth was never seen
    probabilities = np.exp(model.next_log_probabilities(np.zeros(0, dtype=np.int64)))
    assert probabilities[0] == pytest.approx(0.5 / 15 + 6.5 / 15 / 9)
    assert probabilities[7] == pytest.approx(3 / 15 + 6.5 / 15 / 9)
    assert probabilities[8] == pytest.approx(6.5 / 15 / 9)


def test_counts_that_give_no_discounts_are_refused_with_the_order_and_the_mend() -> None:
    text = np.array([0, 1, 2, 2])
    with pytest.raises(ValueError, match=r"order 1: no n-gram has a count of 3.*fallback_discounts"):
        fitted(text, None, 3, order=1, fallback_discounts=None)
    steep = np.array([1, 2, 3, 3, 3])  # Y = 1/3, D2 = 2 - 3 Y 3/1 = -1
    assert discounts_of(steep, "modified_kneser_ney") == (
        None,
        "a discount of 0.333, -1, 3 is below 0 or above its count",
    )


def test_lower_orders_count_left_words_but_what_begins_a_document_counts_its_occurrences() -> None:
    ids, starts = np.array([0, 1, 0, 1, 1, 0]), np.array([0, 2, 4])  # "0 1", "0 1", "1 0"
    marked = list(count_ngrams(*lay_out(ids, starts, 2), order=3, base=3))
    assert marked[1].keys.tolist() == [1, 3, 2 * 3, 2 * 3 + 1]  # 0 1, 1 0, <s> 0, <s> 1
    unigrams, bigrams, trigrams = adjusted_counts(marked, start_mark=True)
    assert unigrams.tolist() == [2, 2, 0]  # 0 after <s>, 1; 1 after 0, <s>; <s> is not predicted
    assert bigrams.tolist() == [1, 1, 2, 1]  # <s> 0 twice, as it stands; 0 1 only ever after <s>
    assert trigrams.tolist() == [2, 1]
    plain = list(count_ngrams(*lay_out(ids, starts, None), order=2, base=3))
    unigrams, bigrams = adjusted_counts(plain, start_mark=False)
    assert unigrams.tolist() == [2, 2, 0]  # 0 after an edge and after 1
    assert bigrams.tolist() == [2, 1]


def slow_kneser_ney(
    ids: np.ndarray, starts: np.ndarray, words: int, order: int, mark: bool, discounts: tuple[Discounts, ...]
) -> dict[tuple[int, ...], float]:
    """p(w|h) by context and word for every h that may stand before w, one dictionary look-up at a time."""
    begin, edge = words, -1
    occurrences: Counter[tuple[int, ...]] = Counter()
    lefts = defaultdict(set)
    for document in np.split(ids, starts[1:]):
        text = [begin, *document.tolist()] if mark else document.tolist()
        for end, length in product(range(len(text)), range(1, order + 1)):
            first = end - length + 1
            if first >= 0:
                occurrences[tuple(text[first : end + 1])] += 1
                lefts[tuple(text[first : end + 1])].add(text[first - 1] if first else edge)

    def count(gram: tuple[int, ...]) -> int:
        if gram == (begin,) or gram not in occurrences:
            return 0
        return occurrences[gram] if len(gram) == order or gram[0] == begin else len(lefts[gram])

    def probability(context: tuple[int, ...], word: int) -> float:
        followers = [count((*context, other)) for other in range(words)]
        lower = probability(context[1:], word) if context else 1 / words
        if not sum(followers):
            return lower
        taken = (0.0, *discounts[len(context)])
        own = count((*context, word))
        free = sum(taken[min(each, 3)] for each in followers)
        return (own - taken[min(own, 3)] + free * lower) / sum(followers)

    contexts = [gram for length in range(order) for gram in product(range(words + mark), repeat=length)]
    return {
        (*context, word): probability(context, word)
        for context in contexts
        for word in range(words)
        if begin not in context[1:]
    }


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("smoothing", ["modified_kneser_ney", "kneser_ney"])
def test_every_probability_equals_the_formula_written_out(smoothing: Smoothing, mark: bool) -> None:
    ids, starts = random_documents(seed=3, words=4)
    model = fitted(ids, starts, 4, order=4, smoothing=smoothing, start_mark=mark)
    if smoothing == "kneser_ney":
        assert all(len(set(discounts)) == 1 for discounts in model.discounts)
    slow = slow_kneser_ney(ids, starts, 4, 4, mark, model.discounts)
    full = [gram for gram in slow if len(gram) == 4 and gram[0] < 4]  # four words deep no start mark is in sight
    documents, offsets = np.array(full).ravel(), np.arange(0, 4 * len(full), 4)
    scores = np.exp(model.log_probabilities(documents, offsets)).reshape(-1, 4)
    np.testing.assert_allclose(scores[:, 3], [slow[gram] for gram in full], rtol=1e-12)
    begun = [(4, *gram[:2]) if mark else gram[:2] for gram in full]  # the second word, after the first
    np.testing.assert_allclose(scores[:, 1], [slow[gram] for gram in begun], rtol=1e-12)


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("smoothing", ["modified_kneser_ney", "kneser_ney", "add_k"])
def test_each_context_gives_away_exactly_one(smoothing: Smoothing, mark: bool) -> None:
    ids, starts = random_documents(seed=4)
    model = fitted(ids, starts, 7, order=5, smoothing=smoothing, start_mark=mark, added_count=0.3)  # words 5, 6 unseen
    for document in np.split(ids, starts[1:]):
        for length in range(len(document) + 1):
            scores = model.next_log_probabilities(document[:length])
            assert np.exp(scores).sum() == pytest.approx(1, abs=1e-9)
    # and one word at a time is what all at once gives
    alone = np.concatenate(
        [
            [model.next_log_probabilities(document[:place])[word] for place, word in enumerate(document)]
            for document in np.split(ids, starts[1:])
        ]
    )
    np.testing.assert_allclose(model.log_probabilities(ids, starts), alone, rtol=1e-12)


# --- the other estimates ------------------------------------------------------------------------------------------


def probabilities(smoothing: Smoothing, text: str, **settings: object) -> list[float]:
    """Of each word of `text` by a bigram model of "a b a c", one stream."""
    vocabulary = Vocabulary(["a", "b", "c", "d"])
    ids, _ = vocabulary.encode(["abac"])
    model = fitted(ids, None, 4, order=2, smoothing=smoothing, start_mark=False, **settings)
    scored, _ = vocabulary.encode([text])
    return np.exp(model.log_probabilities(scored)).tolist()


def test_maximum_likelihood_is_the_share_of_the_context_and_nothing_for_the_unseen() -> None:
    assert probabilities("maximum_likelihood", "abaad") == pytest.approx([2 / 4, 1 / 2, 1, 0, 0])
    assert probabilities("maximum_likelihood", "cd") == [1 / 4, 0]  # c was never a context


def test_add_k_by_hand() -> None:
    # (c(hw) + k) / (c(h) + 4 k) with k = 1/2
    expected = [2.5 / 6, 1.5 / 4, 1.5 / 3, 0.5 / 4, 0.5 / 4]
    assert probabilities("add_k", "abaad", added_count=0.5) == pytest.approx(expected)
    assert probabilities("add_k", "cd", added_count=0.5) == pytest.approx([1.5 / 6, 1 / 4])


def test_stupid_backoff_by_hand() -> None:
    # seen: its share; unseen: 0.4 of the shorter share, also after a context that was never seen (Brants et al. 2007)
    assert probabilities("stupid_backoff", "abaa") == pytest.approx([2 / 4, 1 / 2, 1, 0.4 * 2 / 4])
    assert probabilities("stupid_backoff", "dac", backoff_factor=0.3) == pytest.approx([0, 0.3 * 2 / 4, 1 / 2])


# --- texts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [True, False])
def test_documents_do_not_see_each_other(mark: bool) -> None:
    ids, starts = random_documents(seed=5)
    model = fitted(ids, starts, 5, order=4, start_mark=mark)
    together = model.log_probabilities(ids, starts)
    alone = [model.log_probabilities(document) for document in np.split(ids, starts[1:])]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert not np.allclose(together, model.log_probabilities(ids))
    assert model.log_probabilities(ids[:0]).tolist() == []


def test_matched_orders_say_how_much_of_the_past_was_known() -> None:
    vocabulary, ids, starts = encoded("a b c", "b c d")
    model = fitted(ids, starts, len(vocabulary), order=3)
    scored, at = vocabulary.encode([["a", "b", "c", "d", "x"]], end="</s>")
    assert model.matched_orders(scored, at).tolist() == [2, 3, 3, 3, 1, 1]  # <s> a, <s> a b, a b c, b c d, x, </s>


def test_documents_that_end_with_an_id() -> None:
    assert document_starts(np.array([7, 0, 8, 9, 0]), end=0).tolist() == [0, 2]
    assert document_starts(np.array([7, 0, 8], dtype=np.uint16), end=0).tolist() == [0, 2]
    assert document_starts(np.array([], dtype=np.int64), end=0).tolist() == []


def test_a_text_shorter_than_the_order_still_fits() -> None:
    model = fitted(np.array([0, 1]), None, 2, order=5, start_mark=False)
    assert model.ngram_counts == (2, 1, 0, 0, 0)
    assert np.exp(model.next_log_probabilities(np.array([0, 1, 0, 1]))).sum() == pytest.approx(1)


def test_lookups_hold_for_keys_too_large_to_pack_with_their_places() -> None:
    keys = np.array([3, 2**61, 2**61 + 1])
    assert find(keys, np.array([2**61 + 1, 4, 3, 2**61, 2**62])).tolist() == [2, NOT_FOUND, 0, 1, NOT_FOUND]


@pytest.mark.parametrize(
    ("ids", "starts", "message"),
    [
        (np.array([0, 4]), None, r"ids go from 0 to 4, the vocabulary from 0 to 3"),
        (np.array([-1, 2]), None, r"ids go from -1 to 2"),
        (np.array([0.5, 1]), None, r"ids must be integers"),
        (np.array([[0, 1]]), None, r"2 dimensions"),
        (np.array([0, 1]), np.array([1]), r"starts must begin at 0"),
        (np.array([0, 1]), np.array([0, 1, 1]), r"no document is empty"),
        (np.array([0, 1]), np.array([0, 2]), r"no document is empty"),
        (np.array([], dtype=np.int64), None, r"no token to count"),
    ],
)
def test_wrong_texts_are_refused(ids: np.ndarray, starts: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(ids, starts, 4)


@pytest.mark.parametrize(
    "settings",
    [
        {"order": 0},
        {"smoothing": "good_turing"},
        {"fallback_discounts": (0.5, 1.0, 3.5)},
        {"backoff_factor": 0.0},
        {"added_count": 0.0},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"ngram.{next(iter(settings))}"):
        NgramConfig(**settings)  # type: ignore[arg-type]


def test_samples_follow_the_model_and_the_seed() -> None:
    vocabulary, ids, starts = encoded("the cat sat")
    certain = fitted(ids, starts, len(vocabulary), order=2, smoothing="maximum_likelihood")
    drawn = certain.sample(np.random.default_rng(0), max_tokens=9, end=vocabulary["</s>"])
    assert [vocabulary.tokens[id] for id in drawn] == ["the", "cat", "sat", "</s>"]
    smooth = fitted(ids, starts, len(vocabulary), order=2)
    first, again, other = (smooth.sample(np.random.default_rng(seed), max_tokens=40) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 40
