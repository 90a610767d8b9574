"""WEAT: whether two sets of words lean differently, by hand and where all partitions are too many."""

import numpy as np
import pytest

from tasks.evaluation.weat import associations, weat

# Leanings by hand: 1, 0.8 - 0.6, -1, 0.6 - 0.8. Means 0.6 and -0.6, squares 1 + 0.04 + 1 + 0.04 over 3.
A, B = np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])
X, Y = np.array([[3.0, 0.0], [4.0, 3.0]]), np.array([[0.0, 1.0], [3.0, 4.0]])


def test_weat_by_hand() -> None:
    assert associations(np.concatenate([X, Y]), A, B) == pytest.approx([1, 0.2, -1, -0.2])
    found = weat(X, Y, A, B)
    assert found.effect_size == pytest.approx(1.2 / (2.08 / 3) ** 0.5)
    assert (found.p, found.permutations, found.exact) == (pytest.approx(1 / 6), 6, True)
    turned = weat(Y, X, A, B)
    assert (turned.effect_size, turned.p) == (pytest.approx(-found.effect_size), 1.0)


def test_weat_of_many_words_draws_its_partitions_from_the_seed() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(30, 2)) + shift for shift in ([1.0, 0.0], [0.0, 1.0]))
    found = weat(x, y, A, B, seed=1)
    assert not found.exact
    assert found.p == 1 / (found.permutations + 1)  # none of the drawn ones is as large
    mixed = weat(np.concatenate([x[::2], y[::2]]), np.concatenate([x[1::2], y[1::2]]), A, B, seed=1)
    assert mixed == weat(np.concatenate([x[::2], y[::2]]), np.concatenate([x[1::2], y[1::2]]), A, B, seed=1)
    assert mixed.p > 0.05


def test_weat_refuses_what_it_cannot_compare() -> None:
    with pytest.raises(ValueError, match="found 2 and 1 targets"):
        weat(X, Y[:1], A, B)
    with pytest.raises(ValueError, match="equally near"):
        weat(np.ones((2, 2)), np.ones((2, 2)), A, B)
