"""Recurrent models: state in and out, what they know at first, what stands before what, dropout, sizes."""

import math

import pytest
import torch
from torch.nn import functional as F

from models.recurrent import ZAREMBA_SMALL, RecurrentModel, RecurrentShape
from tests.decoders import one_thread

__all__ = ["one_thread"]

SIZES = {"layers": 2, "width": 12, "embedding": 8}
VOCABULARY = 30


def small(kind: str = "lstm", **changed: object) -> RecurrentModel:
    torch.manual_seed(0)
    shape = RecurrentShape(kind=kind, **{**SIZES, "initial_range": 0.5, **changed})  # type: ignore[arg-type]
    return RecurrentModel(shape, vocabulary=VOCABULARY)


def some_ids(rows: int = 3, tokens: int = 40) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, tokens), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_one_call_is_its_chunks_with_the_state_carried(kind: str, dtype: torch.dtype, tolerance: float) -> None:
    model, ids_BT = small(kind).to(dtype), some_ids()
    whole, end = model(ids_BT)
    parts, state = [], None
    for chunk_BT in ids_BT.split([1, 7, 32], 1):
        part, state = model(chunk_BT, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=tolerance)
    torch.testing.assert_close(state, end, rtol=0, atol=tolerance)
    fresh, _ = model(ids_BT[:, 8:])
    assert (fresh - whole[:, 8:]).abs().max() > 100 * tolerance  # the state says something


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_a_token_changes_what_follows_and_nothing_before(kind: str) -> None:
    model, ids_BT = small(kind), some_ids()
    changed_BT = ids_BT.clone()
    changed_BT[:, 20] = (ids_BT[:, 20] + 1) % VOCABULARY
    before, after = (model.head(model(each)[0]) for each in (ids_BT, changed_BT))
    assert torch.equal(before[:, :20], after[:, :20])
    assert (before[:, 20:] != after[:, 20:]).any(2).all()


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
@pytest.mark.parametrize("tied", [False, True])
def test_at_first_every_word_is_as_likely(kind: str, tied: bool) -> None:
    """ln 10,000 = 9.2103"""
    torch.manual_seed(0)
    model = RecurrentModel(RecurrentShape(kind=kind, tied=tied), vocabulary=10_000)  # type: ignore[arg-type]
    ids_BT = torch.randint(10_000, (4, 21))
    states_BTD, _ = model(ids_BT[:, :-1])
    loss = F.cross_entropy(model.head(states_BTD).flatten(0, 1), ids_BT[:, 1:].flatten())
    assert loss.item() == pytest.approx(9.2103, abs=0.05)


def test_before_it_has_read_anything_it_says_its_bias() -> None:
    model = small()
    state = model.initial_state(2)
    assert [tuple(part.shape) for part in state] == [(2, 2, 12), (2, 2, 12)]
    assert torch.equal(model.head(state[0][-1])[0], model.head.bias)


def test_zarembas_small_one_has_its_parameters() -> None:
    # two tables of 10,000 x 200, and a bias; in each layer four gates of 200 x (200 + 200) and two biases of 200
    model = RecurrentModel(ZAREMBA_SMALL, vocabulary=10_000)
    parameters = sum(each.numel() for each in model.parameters())
    assert parameters == 2 * 10_000 * 200 + 10_000 + 2 * 4 * (200 * 400 + 2 * 200) == 4_653_200
    assert all(float(each.detach().abs().max()) <= 0.1 for each in model.parameters())
    assert ZAREMBA_SMALL.dropout == 0


def test_tied_is_one_table() -> None:
    model = small("rnn", tied=True, embedding=12)
    assert model.head.weight is model.embedding.weight
    assert sum(each.numel() for each in model.parameters()) == VOCABULARY * (12 + 1) + 2 * (12 * 24 + 2 * 12)


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_dropout_is_on_what_goes_between_layers_only(kind: str) -> None:
    """What is carried over is whole, and is what the layers make of inputs with dropout."""
    model, ids_BT = small(kind, dropout=0.5), some_ids()
    torch.manual_seed(3)
    states_BTD, end = model(ids_BT)
    dropped_BTD = states_BTD == 0
    assert 0.4 < dropped_BTD.float().mean() < 0.6
    assert not any((part == 0).any() for part in end)
    torch.manual_seed(3)
    inner_BTD, first = model.layers[0](F.dropout(model.embedding(ids_BT), 0.5))
    outer_BTD, second = model.layers[1](F.dropout(inner_BTD, 0.5))
    ends = [each if kind == "lstm" else (each,) for each in (first, second)]
    assert all(torch.equal(part, torch.cat(parts)) for part, parts in zip(end, zip(*ends, strict=True), strict=True))
    assert torch.equal(states_BTD[~dropped_BTD], 2 * outer_BTD[~dropped_BTD])
    model.eval()
    assert torch.equal(model(ids_BT)[0], model(ids_BT)[0])
    assert not (model(ids_BT)[0] == 0).any()


def test_carried_states_keep_their_precision_under_autocast() -> None:
    """Only products with a vocabulary are worth bf16 here; 0.1 would become 0.1001 at every step."""
    model = small()
    with torch.autocast("cpu", torch.bfloat16):
        states_BTD, end = model(some_ids())
    assert {each.dtype for each in (states_BTD, *end)} == {torch.float32}


def test_recurrent_layers_can_be_trained_in_eval_mode() -> None:
    """cuDNN refuses it where the layers themselves are in eval mode, and the preflight compares gradients so."""
    model = small(dropout=0.5).eval()
    assert not model.training
    assert not model.dropout.training
    assert all(each.training for each in model.layers)
    assert model.train().dropout.training


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"kind": "gru"}, "kind must be rnn or lstm, found 'gru'"),
        ({"layers": 0}, "must be at least 1"),
        ({"dropout": 1.0}, r"dropout lies in \[0, 1\)"),
        ({"initial_range": 0.0}, "initial_range must be above 0"),
        ({"tied": True, "width": 8, "embedding": 4}, "embedding 4 equal to width 8; make them equal, or untie it"),
    ],
)
def test_wrong_shapes_are_refused(wrong: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        RecurrentShape(**wrong)  # type: ignore[arg-type]


def test_an_lstm_step_by_hand() -> None:
    """One cell, all weights 1/2 and no biases: i = f = o = sigmoid(z), g = tanh(z), c = f c + i g, h = o tanh(c)."""
    model = RecurrentModel(RecurrentShape(layers=1, width=1, embedding=1), vocabulary=2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(0.0 if "bias" in name else 0.5)
    _, (hidden, cell) = model(torch.tensor([[0, 1]]))
    h = c = 0.0
    for _ in range(2):
        z = 0.5 * 0.5 + 0.5 * h
        gate = 1 / (1 + math.exp(-z))
        c = gate * c + gate * math.tanh(z)
        h = gate * math.tanh(c)
    assert (hidden.item(), cell.item()) == pytest.approx((h, c), abs=1e-6)
