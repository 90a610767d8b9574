"""Bits per byte: every token scored once, as one reading of one window would score it, and added up by document."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.evaluation.held_out import _windows, measure, of_tokens, token_nats
from tasks.tokenization.shards import TokenStream, open_split

TEXTS = {"test": ["Of the people. ", "by 그리고 the people, " * 4, "x", "for the people shall not perish." * 3, "end"]}
TokenSet = Callable[[Any], Path]


@pytest.fixture
def stream(token_set: TokenSet) -> TokenStream:
    return open_split(token_set(TEXTS), "test")


@torch.inference_mode()
def one_by_one(model: Any, stream: TokenStream, stride: int, end: int) -> list[float]:
    """The same windows, one after another and token by token: what scoring means, without batches."""
    context = model.config.max_position_embeddings
    nats = [math.log(model.config.vocab_size)]
    scored = 0
    while scored < end - 1:
        last = min(scored + (context if scored == 0 else stride), end - 1)
        first = max(0, last - context)
        ids = torch.from_numpy(stream.slice(first, last - first).astype(np.int64))[None]
        scores = torch.log_softmax(model(input_ids=ids).logits[0].float(), 1)
        for place in range(scored, last):
            nats.append(-float(scores[place - first, int(stream.slice(place + 1, 1)[0])]))
        scored = last
    return nats


@pytest.mark.parametrize("stride", [1, 5, 24, 32])
def test_nats_are_those_of_one_window_at_a_time(
    stride: int, stream: TokenStream, small_model: Callable[..., Any]
) -> None:
    model = small_model(1)
    found = token_nats(model, stream, stride, stream.tokens)
    assert found.tolist() == pytest.approx(one_by_one(model, stream, stride, stream.tokens), abs=1e-4)


@pytest.mark.parametrize("end", [1, 2, 20, 32, 33, 34, 57, 200])
@pytest.mark.parametrize("stride", [1, 7, 24, 32])
def test_each_token_is_scored_exactly_once_with_what_stands_before_it(end: int, stride: int) -> None:
    context = 32
    scored = [0] * end
    scored[0] = 1  # nothing precedes it
    for first, begin, last in _windows(end, context, stride):
        assert last - first <= context
        for place in range(begin, last):
            scored[place + 1] += 1
            assert place - first + 1 >= min(place + 1, context - stride), "it reads what the docstring promises"
    assert scored == [1] * end


def test_more_context_is_what_a_smaller_stride_gives(stream: TokenStream, small_model: Callable[..., Any]) -> None:
    model = small_model(1)
    one, other = (token_nats(model, stream, stride, stream.tokens) for stride in (8, 32))
    assert np.allclose(one[:33], other[:33], atol=1e-5), "the first window is the same"
    assert not np.allclose(one[33:], other[33:], atol=1e-3)


def test_a_model_that_knows_nothing_costs_the_logarithm_of_its_vocabulary(
    stream: TokenStream, small_model: Callable[..., Any]
) -> None:
    found = measure(small_model(0, spread=0.0), stream)
    expected = math.log2(261) * stream.tokens / stream.bytes
    assert found.bits_per_byte.value == pytest.approx(expected, rel=1e-6)
    assert found.bits_per_byte.n == 5


def test_documents_are_in_order_and_add_up(stream: TokenStream, small_model: Callable[..., Any]) -> None:
    model = small_model(1)
    nats = token_nats(model, stream, 24, stream.tokens)
    found = measure(model, stream)  # three quarters of 32 is 24
    assert found.bytes.tolist() == [len(text.encode()) for text in TEXTS["test"]]
    assert found.kinds.tolist() == [0, 1, 0, 1, 0]
    assert found.nats.sum() == pytest.approx(nats.sum())
    start = 0
    for text, own in zip(TEXTS["test"], found.nats, strict=True):
        end = start + len(text.encode()) + 1  # a token a byte, and the end of the document
        assert own == pytest.approx(nats[start:end].sum())
        start = end


def test_bits_by_kind_are_those_of_its_documents(stream: TokenStream, small_model: Callable[..., Any]) -> None:
    found = measure(small_model(1), stream)
    by_kind = found.by_kind(["text", "source", "absent"])
    assert set(by_kind) == {"text", "source"}
    assert by_kind["source"] == pytest.approx(
        (found.nats[1] + found.nats[3]) / math.log(2) / (found.bytes[1] + found.bytes[3])
    )
    assert found.bits_per_byte.value == pytest.approx(found.nats.sum() / math.log(2) / found.bytes.sum())


@pytest.mark.parametrize(
    ("most", "documents"), [(1, 1), (16, 1), (116, 1), (117, 2), (118, 2), (119, 3), (10_000, 5), (None, 5)]
)
def test_less_work_is_whole_documents_from_the_beginning(
    most: int | None, documents: int, stream: TokenStream, small_model: Callable[..., Any]
) -> None:
    model = small_model(1)
    lengths = [len(text.encode()) + 1 for text in TEXTS["test"]]
    assert lengths[:3] == [16, 101, 2]
    found = measure(model, stream, max_tokens=most)
    assert len(found.nats) == len(found.bytes) == documents
    end = sum(lengths[:documents])
    assert found.nats.sum() == pytest.approx(token_nats(model, stream, 24, end).sum())


def test_what_stands_behind_a_window_is_not_seen(token_set: TokenSet, small_model: Callable[..., Any]) -> None:
    """Windows of different length share a batch: the padding of the shorter one must not be read."""
    model = small_model(1)
    stream = open_split(token_set({"test": ["abc" * 30]}), "test")
    whole = token_nats(model, stream, 24, stream.tokens)
    for end in (40, 60, 77):
        assert np.allclose(token_nats(model, stream, 24, end)[:33], whole[:33], atol=1e-5)
        assert len(token_nats(model, stream, 24, end)) == end


def test_the_model_stays_in_the_mode_it_was_in(stream: TokenStream, small_model: Callable[..., Any]) -> None:
    model = small_model(1).train()
    measure(model, stream)
    assert model.training


def test_figures_from_elsewhere_are_grouped_alike(stream: TokenStream) -> None:
    found = of_tokens(stream, np.ones(stream.tokens))
    assert found.nats.tolist() == [16, 101, 2, 97, 4]
    assert of_tokens(stream, np.ones(117)).nats.tolist() == [16, 101]


@pytest.mark.parametrize("stride", [0, -1, 33])
def test_a_stride_that_would_leave_tokens_out_is_refused(
    stride: int, stream: TokenStream, small_model: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=f"expected 1 to 32 tokens, the model's context, found {stride}"):
        token_nats(small_model(1), stream, stride, stream.tokens)
