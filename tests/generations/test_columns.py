"""Columns of a stream and the states carried along them: order, edges, what is carried when, every bit of it."""

import json
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch

from models.recurrent import RecurrentModel, RecurrentShape
from tasks.generations import columns as columns_module
from tasks.generations.columns import CarriedStates, ColumnBatches, decoded, encoded
from tasks.generations.recurrent import CarriedNextToken
from tasks.training.batches import Batch
from tasks.training.distributed import Ranks


def taken(batches: Any, position: int, count: int) -> list[Batch]:
    return list(islice(batches.starting_at(position), count))


def test_columns_by_hand() -> None:
    """0 … 11 in two columns of five; the last token has no room. Segments of at most two: 1 + 2 + 2, not 2 + 2 + 1."""
    batches = ColumnBatches(np.arange(12), columns=2, segment_tokens=2)
    assert batches.batches_per_epoch == 3
    given = taken(batches, 0, 4)
    assert [batch.tensors["ids"].tolist() for batch in given] == [
        [[0], [5]], [[1, 2], [6, 7]], [[3, 4], [8, 9]], [[0], [5]],
    ]  # fmt: skip
    assert [batch.tensors["labels"].tolist() for batch in given[:3]] == [
        [[1], [6]], [[2, 3], [7, 8]], [[4, 5], [9, 10]],
    ]  # fmt: skip
    assert [batch.tensors["begins"].tolist() for batch in given] == [[True] * 2, [False] * 2, [False] * 2, [True] * 2]
    assert [batch.tensors["positions"].tolist() for batch in given] == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert [batch.tokens for batch in given] == [2, 4, 4, 2]
    assert given[1].rows(slice(1, 2)).tensors["columns"].tolist() == [1]


@pytest.mark.parametrize(("tokens", "columns", "segment"), [(1000, 7, 20), (101, 10, 10), (30, 1, 64), (9, 8, 3)])
def test_every_token_is_a_target_once_an_epoch_in_its_order(tokens: int, columns: int, segment: int) -> None:
    batches = ColumnBatches(np.arange(tokens), columns=columns, segment_tokens=segment)
    epoch = taken(batches, 0, batches.batches_per_epoch)
    labels = torch.cat([batch.tensors["labels"] for batch in epoch], 1)
    length = (tokens - 1) // columns
    assert labels.flatten().tolist() == list(range(1, columns * length + 1))
    lengths = {batch.tensors["ids"].shape[1] for batch in epoch}
    assert max(lengths) <= segment
    assert max(lengths) - min(lengths) <= 1


def test_a_source_begins_anywhere() -> None:
    batches = ColumnBatches(np.arange(200), columns=3, segment_tokens=9)
    for one, other in zip(taken(batches, 0, 12)[5:], taken(batches, 5, 7), strict=True):
        assert one.tensors.keys() == other.tensors.keys()
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


@pytest.mark.parametrize(
    ("ids", "sizes", "reason"),
    [(np.arange(4), (4, 5), "has 4 tokens, too few for 4 columns"), (np.arange(9), (0, 5), "must be at least 1")],
)
def test_what_cannot_be_cut_is_refused(ids: np.ndarray, sizes: tuple[int, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ColumnBatches(ids, columns=sizes[0], segment_tokens=sizes[1])


# --- carried states: one layer of width 2 ---------------------------------------------------------------------------


def batch_at(position: int, columns: tuple[int, ...] = (0, 1), *, begins: bool = False) -> Batch:
    tensors = {
        "columns": torch.tensor(columns),
        "positions": torch.full((len(columns),), position),
        "begins": torch.full((len(columns),), begins),
    }
    return Batch(tensors=tensors, tokens=len(columns))


def state_of(*values: float) -> tuple[torch.Tensor]:
    return (torch.tensor([[[value, -value] for value in values]]),)


def started(carried: CarriedStates, batch: Batch) -> list[float]:
    (part,) = carried.start(batch, state_of(*[0.0] * len(batch)))
    return part[0, :, 0].tolist()


def test_a_column_goes_on_where_it_ended_whoever_stands_beside_it() -> None:
    carried = CarriedStates()
    assert started(carried, batch_at(0)) == [0, 0]
    carried.keep(batch_at(0, (0,)), state_of(0.0), state_of(1.0))
    carried.keep(batch_at(0, (1,)), state_of(0.0), state_of(2.0))
    assert started(carried, batch_at(1, (1, 0))) == [2, 1]
    assert started(carried, batch_at(1, begins=True)) == [0, 0]


def test_a_batch_may_be_read_again() -> None:
    """As after memory ran out in its second micro-batch: the first one's columns have moved on, and begin as before."""
    carried = CarriedStates()
    carried.keep(batch_at(4), state_of(0.0, 0.0), state_of(1.0, 2.0))
    carried.keep(batch_at(5, (0,)), state_of(1.0), state_of(3.0))
    assert started(carried, batch_at(5)) == [1, 2]


def test_after_batches_that_were_left_out_a_column_begins_anew() -> None:
    carried = CarriedStates()
    carried.keep(batch_at(4), state_of(0.0, 0.0), state_of(1.0, 2.0))
    assert started(carried, batch_at(7)) == [0, 0]


def test_a_state_that_is_no_number_is_not_carried() -> None:
    carried = CarriedStates()
    carried.keep(batch_at(0), state_of(0.0, 0.0), state_of(float("nan"), 2.0))
    assert started(carried, batch_at(1)) == [0, 2]
    carried.keep(batch_at(0), state_of(0.0, 0.0), state_of(1.0, float("inf")))
    assert started(carried, batch_at(1)) == [1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_survive_json_with_every_bit(dtype: torch.dtype) -> None:
    awkward = torch.tensor([[0.1, 1 / 3, -0.0], [1e-45, 3.4e38, torch.pi]], dtype=dtype)
    again = decoded(json.loads(json.dumps(encoded(awkward))))
    assert again.dtype == dtype
    assert again.numpy().tobytes() == awkward.numpy().tobytes()
    carried, other = CarriedStates(), CarriedStates()
    carried.keep(batch_at(3, (2, 5)), state_of(0.0, 0.0), state_of(0.1, 0.7))
    other.load_state_dict(json.loads(json.dumps(carried.state_dict())))
    assert other.state_dict() == carried.state_dict()
    assert started(other, batch_at(4, (2, 5, 6))) == [*started(carried, batch_at(4, (2, 5))), 0]
    other.load_state_dict(CarriedStates().state_dict())  # as after the preflight, which had read the first batch
    assert started(other, batch_at(4, (2, 5))) == [0, 0]


def test_one_float_by_hand() -> None:
    """1.0 is 3f800000, little-endian 00 00 80 3f."""
    assert encoded(torch.ones(1)) == {"dtype": "float32", "shape": [1], "bytes": "AACAPw=="}


def test_several_workers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first writes the checkpoint, and it has its own columns' states alone."""
    monkeypatch.setattr(columns_module.Ranks, "current", classmethod(lambda _: Ranks(rank=0, world=2)))
    with pytest.raises(ValueError, match=r"set runtime\.workers to 1"):
        CarriedStates()


# --- in the objective -----------------------------------------------------------------------------------------------


def totals(sizes: tuple[int, ...]) -> list[float]:
    """The loss of each of some batches, cut into micro-batches of the sizes in turn."""
    torch.manual_seed(0)
    model = RecurrentModel(RecurrentShape(layers=2, width=8, embedding=6, initial_range=0.5), vocabulary=20).double()
    ids = np.random.default_rng(0).integers(20, size=200)
    objective, found = CarriedNextToken(), []
    for batch, size in zip(ColumnBatches(ids, columns=4, segment_tokens=9).starting_at(0), sizes, strict=False):
        parts = [batch.rows(slice(first, first + size)) for first in range(0, 4, size)]
        found.append(sum(objective.loss(model, part).sums["loss"] for part in parts))
    return found


def test_micro_batches_make_no_difference_and_the_state_does() -> None:
    """Not in later batches either, which the preflight never sees; reading the whole column at once is the same sum."""
    together = totals((4,) * 5)
    assert totals((1, 2, 4, 1, 3)) == pytest.approx(together, rel=1e-6)
    torch.manual_seed(0)
    model = RecurrentModel(RecurrentShape(layers=2, width=8, embedding=6, initial_range=0.5), vocabulary=20).double()
    ids = np.random.default_rng(0).integers(20, size=200)
    (whole,) = taken(ColumnBatches(ids, columns=4, segment_tokens=200), 0, 1)
    states, _ = model(whole.tensors["ids"])
    nats = torch.nn.functional.cross_entropy(
        model.head(states).transpose(1, 2), whole.tensors["labels"], reduction="none"
    )
    edges = [number * 49 // 6 for number in range(6)]
    expected = [nats[:, first:last].sum().item() for first, last in pairwise(edges)]
    assert together == pytest.approx(expected, rel=1e-6)
    fresh = CarriedNextToken()
    second = taken(ColumnBatches(ids, columns=4, segment_tokens=9), 1, 1)[0]
    assert fresh.loss(model, second).sums["loss"] != pytest.approx(expected[1], rel=1e-3)
