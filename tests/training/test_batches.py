"""Batches follow from (seed, position): any order of asking, any start, any number of processes, the same data."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.tokenization.shards import ShardWriter, TokenStream, write_documents
from tasks.training.batches import MOST_LISTED, ROUNDS, Batch, Shuffle, TokenBatches, padded, scattered
from tasks.training.distributed import Ranks

CONTEXT = 8


@pytest.fixture
def stream(tmp_path: Path) -> TokenStream:
    """103 ids in three shards: 0, 1, 2, ... so that an id says where it stood."""
    writer = ShardWriter(tmp_path, "train", np.dtype("<u2"), most_bytes=80)
    writer.write(np.arange(103))
    write_documents(tmp_path, "train", [])
    described = {"tokens": 103, "bytes": 103, "documents": 0, "shards": writer.shards}
    return TokenStream(tmp_path, {"dtype": "uint16", "splits": {"train": described}}, "train")


def batches(stream: TokenStream, seed: int = 1, sequences: int = 4) -> TokenBatches:
    return TokenBatches(stream, context=CONTEXT, batch_sequences=sequences, seed=seed)


def test_labels_are_the_next_tokens(stream: TokenStream) -> None:
    for batch in islice(batches(stream).starting_at(0), 10):
        assert batch.tensors["ids"].shape == batch.tensors["labels"].shape == (4, CONTEXT)
        assert batch.tensors["ids"].dtype == torch.int64
        assert torch.equal(batch.tensors["labels"], batch.tensors["ids"] + 1)
        assert (batch.tensors["ids"][:, 0] % CONTEXT == 0).all()
        assert batch.tokens == 4 * CONTEXT


def test_each_token_is_a_target_once_an_epoch(stream: TokenStream) -> None:
    """(103 - 1) // 8 = 12 windows: three batches of four; the six ids of the rest are never a target."""
    for epoch in (0, 1, 5):
        found = [batch.tensors["labels"] for batch in islice(batches(stream).starting_at(3 * epoch), 3)]
        assert sorted(torch.cat(found).flatten().tolist()) == list(range(1, 97))


def test_epochs_and_seeds_have_orders_of_their_own(stream: TokenStream) -> None:
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        found = islice(batches(stream, seed).starting_at(3 * epoch), 3)
        return tuple(first for batch in found for first in batch.tensors["ids"][:, 0].tolist())

    assert len({order(seed, epoch) for seed in range(4) for epoch in range(4)}) == 16
    assert order(1, 0) != tuple(sorted(order(1, 0)))


def test_it_can_begin_anywhere(stream: TokenStream) -> None:
    """Batches of five cross the epochs of twelve windows."""
    whole = [batch.tensors["ids"] for batch in islice(batches(stream, sequences=5).starting_at(0), 12)]
    for start in (1, 2, 7):
        rest = islice(batches(stream, sequences=5).starting_at(start), 12 - start)
        assert all(torch.equal(batch.tensors["ids"], whole[start + number]) for number, batch in enumerate(rest))


def test_the_data_does_not_depend_on_the_number_of_processes(stream: TokenStream) -> None:
    """The rows of all ranks, one after another, are the batch; also after a resume with another number of them."""
    for position, whole in enumerate(islice(batches(stream, sequences=8).starting_at(0), 4)):
        for world in (1, 2, 4):
            (batch,) = islice(batches(stream, sequences=8).starting_at(position), 1)
            shares = [batch.rows(Ranks(rank=rank, world=world).rows(8)) for rank in range(world)]
            assert torch.equal(torch.cat([share.tensors["ids"] for share in shares]), whole.tensors["ids"])
            assert sum(share.tokens for share in shares) == whole.tokens


def test_too_short_a_text_is_refused(stream: TokenStream) -> None:
    TokenBatches(stream, context=102, batch_sequences=1, seed=0)
    with pytest.raises(ValueError, match="the training text has 103 tokens, fewer than one window of 104: add more"):
        TokenBatches(stream, context=103, batch_sequences=1, seed=0)


def test_a_batch_larger_than_an_epoch_goes_round(stream: TokenStream) -> None:
    (batch,) = islice(batches(stream, sequences=30).starting_at(0), 1)
    counts = torch.bincount(batch.tensors["ids"][:, 0] // CONTEXT, minlength=12)
    assert counts.tolist().count(2) + counts.tolist().count(3) == 12
    assert counts.sum() == 30


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_shuffle_is_endless_and_reads_anywhere(count: int) -> None:
    whole = Shuffle(count, 3).numbers(0, 5 * count)
    for epoch in range(5):
        assert sorted(whole[epoch * count : (epoch + 1) * count]) == list(range(count))
    backwards = Shuffle(count, 3)
    for start in reversed(range(3 * count)):
        assert backwards.numbers(start, 2 * count) == whole[start : start + 2 * count]


@pytest.mark.parametrize("count", [5, 1000, MOST_LISTED])
def test_the_order_of_a_list_is_numpys(count: int) -> None:
    """What was trained before goes on as it began."""
    for epoch in (0, 3):
        expected = np.random.Generator(np.random.PCG64([7, epoch])).permutation(count)
        assert Shuffle(count, 7).numbers(epoch * count, count) == expected.tolist()


def test_of_many_items_each_comes_once_an_epoch() -> None:
    count = MOST_LISTED + 777
    shuffle = Shuffle(count, 3)
    whole = shuffle.numbers(0, 2 * count)
    first, second = (np.array(whole[start : start + count]) for start in (0, count))
    assert np.array_equal(np.sort(first), np.arange(count))
    assert np.array_equal(np.sort(second), np.arange(count))
    for start in (count - 5, 123_456, 0):
        assert shuffle.numbers(start, 10) == whole[start : start + 10]
    # independent of place, of the epoch before and of the neighbour: correlations within 4 standard deviations
    for one, other in ((first, np.arange(count)), (first, second), (first[1:], first[:-1])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(count)


def test_the_order_of_many_items_is_written_in_stone() -> None:
    """A resumed training would else see some samples twice and others never."""
    shuffle = Shuffle(40_000_000, 1)
    assert shuffle.numbers(0, 4) == [19761706, 25381776, 17398885, 13241169]
    assert shuffle.numbers(40_000_000, 4) == [37712457, 28389688, 21006653, 33645901]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 100])
def test_places_are_scattered_fairly(count: int) -> None:
    """Every permutation has each item once; over 3000 each item stands everywhere equally often (5 deviations)."""
    draw, places = np.random.default_rng(0), np.arange(count, dtype=np.uint64)
    orders = np.stack(
        [scattered(places, count, draw.integers(1 << 64, size=ROUNDS, dtype=np.uint64)) for _ in range(3000)]
    )
    assert (np.sort(orders, axis=1) == places).all()
    for item in range(count):
        shares = (orders == item).mean(axis=0)
        assert np.abs(shares - 1 / count).max() <= 5 * np.sqrt((1 - 1 / count) / count / 3000)


def test_shuffles_are_fair() -> None:
    """Over 3000 epochs each of 4 items stands in each place a quarter of the time (4 standard deviations)."""
    orders = np.array(Shuffle(4, 1).numbers(0, 12_000)).reshape(3000, 4)
    for item in range(4):
        shares = (orders == item).mean(axis=0)
        assert np.abs(shares - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 3000)


def test_rows_of_a_batch_take_their_share_of_tokens() -> None:
    batch = Batch(tensors={"ids": torch.arange(12).view(6, 2)}, tokens=12, metrics={"kl": 1.0})
    part = batch.rows(slice(1, 3))
    assert part.tensors["ids"].tolist() == [[2, 3], [4, 5]]
    assert (len(part), part.tokens, dict(part.metrics)) == (2, 4, {"kl": 1.0})
    assert (len(batch.rows(slice(0, 0))), batch.rows(slice(0, 0)).tokens) == (0, 0)


def test_rows_are_filled_up_on_the_right() -> None:
    rows: list[Any] = [[1, 2, 3], [4], []]
    assert padded(rows, 9).tolist() == [[1, 2, 3], [4, 9, 9], [9, 9, 9]]
