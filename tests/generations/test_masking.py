"""Which tokens are asked for and what is seen in their place, counted over a million of them."""

from typing import Any

import numpy as np
import pytest

from tasks.generations.masking import NO_WORD, MaskingConfig, chosen_positions, replaced, word_numbers

VOCABULARY, MASK_ID = 1000, 3


def row(size: int) -> np.ndarray:
    """[CLS] text [SEP] padding: words of one piece, in 128 places."""
    words = np.full(128, NO_WORD)
    words[1 : size - 1] = np.arange(size - 2)
    return words


def test_as_many_are_asked_for_as_the_original_would() -> None:
    """min(20, max(1, round(0.15 x length))), the marks counted; Python rounds 4.5 to 4."""
    config = MaskingConfig()
    assert [config.count(length) for length in (3, 10, 30, 128, 512)] == [1, 2, 4, 19, 20]


def test_shares_over_a_million_candidates() -> None:
    """0.15 +- 0.005 are asked for, of these 0.80 / 0.10 / 0.10 +- 0.01 masked, random and kept; marks never are."""
    config = MaskingConfig(max_predictions=1000)
    candidates, asked, seen_as = 0, 0, np.zeros(3)
    for number in range(8100):
        draw = np.random.Generator(np.random.PCG64([1, number]))
        words, ids = row(127), draw.integers(5, VOCABULARY, size=128)
        places = chosen_positions(words, config.count(127), draw)
        assert len(np.unique(places)) == len(places)
        assert (words[places] != NO_WORD).all()
        seen = replaced(ids, places, mask_id=MASK_ID, vocabulary=VOCABULARY, draw=draw)
        rest = np.setdiff1d(np.arange(128), places)
        assert np.array_equal(seen[rest], ids[rest])
        candidates, asked = candidates + 125, asked + len(places)
        kept = seen[places] == ids[places]
        seen_as += [(seen[places] == MASK_ID).sum(), (~kept & (seen[places] != MASK_ID)).sum(), kept.sum()]
    assert candidates >= 1_000_000
    assert asked / candidates == pytest.approx(0.15, abs=0.005)
    # a random id is the masking one or the old one once in 1000
    assert seen_as / asked == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


def test_random_ids_come_from_the_whole_vocabulary() -> None:
    """The special ones 0 to 4 too, each of ten ids a tenth of the time (5 deviations)."""
    places, draw = np.arange(100_000), np.random.default_rng(0)
    seen = replaced(np.full(100_000, -7), places, mask_id=-1, vocabulary=10, draw=draw)
    counts = np.bincount(seen[seen >= 0], minlength=10)
    assert len(counts) == 10
    assert np.abs(counts / counts.sum() - 0.1).max() < 5 * np.sqrt(0.09 / counts.sum())


def test_every_place_is_asked_for_equally_often() -> None:
    counts = np.zeros(128)
    for number in range(4000):
        counts[chosen_positions(row(42), 6, np.random.default_rng(number))] += 1
    assert counts[[0, 41]].tolist() == [0, 0]
    assert counts[42:].sum() == 0
    assert np.abs(counts[1:41] / 4000 - 6 / 40).max() < 5 * np.sqrt(0.15 * 0.85 / 4000)


def test_all_pieces_of_a_word_are_asked_for_or_none() -> None:
    """And the budget is never exceeded, since a word that would is passed over, nor left unused where one would fit."""
    for number in range(2000):
        draw = np.random.default_rng(number)
        sizes = draw.integers(1, 5, size=40)
        words = np.concatenate([[NO_WORD], np.repeat(np.arange(40), sizes), [NO_WORD] * 3])
        places = chosen_positions(words, 9, draw)
        taken = set(words[places])
        assert len(places) == sum(sizes[word] for word in taken) <= 9
        assert NO_WORD not in taken
        left = [sizes[word] for word in range(40) if word not in taken]
        assert min(left) > 9 - len(places)


def test_where_no_word_fits_the_shortest_is_taken() -> None:
    words = np.array([NO_WORD, 0, 0, 0, 1, 1, NO_WORD])
    assert chosen_positions(words, 1, np.random.default_rng(0)).tolist() == [4, 5]


def test_a_word_ends_at_a_mark() -> None:
    """The same number on both sides of [SEP] is two words, both of one piece."""
    words = np.array([NO_WORD, 4, NO_WORD, 4, NO_WORD])
    found = {tuple(chosen_positions(words, 1, np.random.default_rng(each)).tolist()) for each in range(20)}
    assert found == {(1,), (3,)}


def test_pieces_are_counted_into_words() -> None:
    """un ##believ ##able it is, of a vocabulary whose ids 3 and 4 continue; and a text that begins within a word."""
    continues = np.array([False, False, False, True, True, False])
    assert word_numbers(np.array([1, 3, 4, 2, 5]), continues).tolist() == [0, 0, 0, 1, 2]
    assert word_numbers(np.array([3, 1, 4]), continues).tolist() == [0, 1, 1]
    assert word_numbers(np.array([], dtype=np.int64), continues).tolist() == []


@pytest.mark.parametrize("changed", [{"share": 0.0}, {"share": 1.5}, {"max_predictions": 0}])
def test_impossible_settings_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="share lies between 0 and 1, and max_predictions is at least 1"):
        MaskingConfig(**changed)
