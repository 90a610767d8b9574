"""Bengio's model against its formula written out, its published parameter count and finite differences."""

import pytest
import torch
from torch.nn import functional as F

from models.nnlm import Nnlm, NnlmShape
from tests.generations.brief_training import largest_gradient_error


def small(*, direct: bool) -> Nnlm:
    torch.manual_seed(3)
    return Nnlm(NnlmShape(order=3, embedding=4, hidden=5, direct=direct), vocabulary=100, end_id=0)


def test_parameter_count_of_the_paper() -> None:
    # |V|(1 + nm + h) + h(1 + (n-1)m), n = 3, m = 4, h = 5, |V| = 100: 100 * 18 + 5 * 9; without W |V|(1 + m + h)
    for direct, by_hand in ((True, 1845), (False, 1045)):
        model = small(direct=direct)
        assert sum(each.numel() for each in model.parameters()) == by_hand
        assert model.shape.parameters(100) == by_hand


@pytest.mark.parametrize("direct", [True, False])
def test_logits_are_the_formula(direct: bool) -> None:
    model, ids = small(direct=direct), torch.tensor([[7, 8], [0, 9]])
    d, weights = model.hidden.bias, model.head.weight
    for row, logits_V in zip(ids, model(ids), strict=True):
        x = torch.cat([model.embedding.weight[word] for word in row])
        expected = weights[:, -1] + weights[:, :5] @ torch.tanh(d + model.hidden.weight @ x)
        if direct:
            expected = expected + weights[:, 5:-1] @ x
        torch.testing.assert_close(logits_V, expected)


@pytest.mark.parametrize("direct", [True, False])
def test_gradients_are_finite_differences(direct: bool) -> None:
    torch.manual_seed(0)
    model = Nnlm(NnlmShape(order=3, embedding=3, hidden=4, direct=direct), vocabulary=9, end_id=0).double()
    ids, labels = torch.randint(9, (6, 2)), torch.randint(9, (6,))
    assert largest_gradient_error(model, lambda: F.cross_entropy(model(ids), labels)) < 1e-6


def test_a_fresh_model_starts_from_the_words_frequencies() -> None:
    model = small(direct=False)
    with torch.no_grad():
        costs = F.cross_entropy(model(torch.tensor([[1, 2]])), torch.tensor([5]))
    assert float(costs) == pytest.approx(4.605, abs=0.1)
    counts = torch.zeros(100)
    counts[5] = 900.0  # of 900 + 100 added ones: p = 0.901
    model.start_from(counts)
    chances = model(torch.tensor([[1, 2], [3, 4]])).softmax(1)
    assert chances[:, 5].tolist() == pytest.approx([0.901, 0.901], abs=0.01)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="order must be at least 2"):
        NnlmShape(order=1)
    with pytest.raises(ValueError, match="hidden at least 1"):
        NnlmShape(hidden=0)
    with pytest.raises(ValueError, match="end_id 100 must be an id of the vocabulary, 0 to 99"):
        Nnlm(NnlmShape(), vocabulary=100, end_id=100)
