"""The two tables as word2vec.c has them: how they begin, and what is scored against what."""

import pytest
import torch

from models.word2vec import Word2vec, Word2vecShape


def test_tables_begin_as_in_the_code() -> None:
    torch.manual_seed(0)
    model = Word2vec(Word2vecShape(dimension=50), vocabulary=400)
    assert not model.output.weight.any()
    inputs = model.input.weight.detach()
    assert float(inputs.abs().max()) <= 0.01
    assert float(inputs.std()) == pytest.approx(0.02 / 12**0.5, rel=0.02)  # of U(-.01, .01)


def scored(kind: str, mask: list[bool]) -> list[list[float]]:
    model = Word2vec(Word2vecShape(dimension=2, kind=kind), vocabulary=4)  # type: ignore[arg-type]
    with torch.no_grad():
        model.input.weight.copy_(torch.tensor([[0.0, 0], [1, 0], [0, 3], [5, 5]]))
        model.output.weight.copy_(torch.tensor([[2.0, 4], [1, 1], [0, 0], [0, 0]]))
    scores = model(torch.tensor([[1, 2, 3]]), torch.tensor([mask]), torch.tensor([[0, 1]]))
    found: list[list[float]] = scores[0].tolist()
    return found


def test_skip_gram_scores_each_word_of_the_window() -> None:
    assert scored("skip-gram", [True, True, False])[:2] == [[2, 1], [12, 3]]


def test_cbow_scores_the_mean_of_the_words_within_reach() -> None:
    assert scored("cbow", [True, True, False]) == [[7, 2]]  # (1/2, 3/2) with (2, 4) and (1, 1)
    assert scored("cbow", [True, False, True]) == [[16, 5.5]]  # (3, 5/2)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="kind skip-gram or cbow, found 100, glove"):
        Word2vecShape(kind="glove")  # type: ignore[arg-type]
