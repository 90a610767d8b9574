"""Decoders on a plain row of ids: the same windows, scores and draws as everywhere, and GPT-2 through the one engine."""

import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformer_training import Same, counted_flops, counting, train_tiny, with_opinions

from models.gpt2 import Gpt2Shape, build_gpt2
from models.llama import LlamaShape, build_llama
from tasks.generations.decoders import Row, WindowBatches, sample, token_nats
from tasks.training.mfu import flops_per_token, forward_flops
from tasks.training.objectives import NextToken

VOCABULARY, CONTEXT = 25, 16


def gpt2() -> Any:
    torch.manual_seed(0)
    shape = Gpt2Shape(layers=2, width=32, heads=2, context=CONTEXT)
    return build_gpt2(shape, vocabulary=VOCABULARY, end_id=0, pad_id=1).eval()


def llama() -> Any:
    torch.manual_seed(0)
    shape = LlamaShape(layers=1, width=32, heads=2, kv_heads=2, feed_forward=64, context=CONTEXT)
    return build_llama(shape, vocabulary=VOCABULARY, end_id=0, pad_id=1).eval()


def test_each_token_is_a_target_once_an_epoch() -> None:
    """(83 - 1) // 16 = 5 windows."""
    batches = WindowBatches(np.arange(83), context=CONTEXT, batch_sequences=5, seed=1)
    for batch in islice(batches.starting_at(0), 3):
        assert sorted(batch.tensors["labels"].flatten().tolist()) == list(range(1, 81))
        assert torch.equal(batch.tensors["labels"], batch.tensors["ids"] + 1)
    with pytest.raises(ValueError, match="has 16 tokens, fewer than one window of 17"):
        WindowBatches(np.arange(16), context=CONTEXT, batch_sequences=1, seed=1)


@pytest.mark.parametrize("build", [gpt2, llama])
@pytest.mark.parametrize("stride", [1, 12, 16, None])
def test_every_token_is_scored_once(build: Any, stride: int | None) -> None:
    """As the library's logits of one window after another say; the first token costs ln V."""
    model, ids = with_opinions(build()), counting(50)
    found = token_nats(model, ids, stride)
    expected, scored = [math.log(VOCABULARY)], 0
    while scored < 49:
        last = min(scored + (CONTEXT if scored == 0 else stride or 12), 49)
        first = max(0, last - CONTEXT)
        with torch.no_grad():
            scores = model(input_ids=torch.from_numpy(ids[first:last])[None]).logits[0].log_softmax(1)
        expected += [-float(scores[place - first, ids[place + 1]]) for place in range(scored, last)]
        scored = last
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_gpt2_learns_and_speaks(tmp_path: Path) -> None:
    """From ln V on: nine of ten tokens follow, and the tenth is one of twenty, so ln 20 / 10 = 0.3 is the best."""
    model = gpt2()
    batches = WindowBatches(counting(10_000), context=CONTEXT, batch_sequences=16, seed=1)
    seen = train_tiny(tmp_path, model, NextToken(), batches, steps=150, rate=5e-3, rows=16)
    assert seen[0]["loss"] == pytest.approx(math.log(VOCABULARY), abs=0.05)
    assert seen[-1]["loss"] < 1
    held_out = token_nats(model, counting(1000, seed=5)).mean()
    assert 0.3 < held_out < 1
    said = sample(model, [5, 6, 7], tokens=40, temperature=0)
    steps = np.diff([7, *said]) % 20
    assert len(said) == 40
    assert (steps == 1).mean() > 0.7


def test_one_batch_can_be_learned_by_heart(tmp_path: Path) -> None:
    """Four windows of a text in which no token comes twice: each says what follows."""
    torch.manual_seed(0)
    model = build_gpt2(Gpt2Shape(layers=2, width=32, heads=2, context=CONTEXT), vocabulary=70, end_id=0, pad_id=1)
    text = 5 + np.random.default_rng(0).permutation(4 * CONTEXT + 1)
    batch = Same(WindowBatches(text, context=CONTEXT, batch_sequences=4, seed=1))
    seen = train_tiny(tmp_path, model, NextToken(), batch, steps=120, rate=1e-2, rows=4)
    assert seen[0]["loss"] == pytest.approx(math.log(70), abs=0.05)
    assert seen[-1]["loss"] < 0.01


def test_text_goes_on_where_the_context_ends() -> None:
    """At its end the last half is read on: greedy tokens are those of the plain reading of the same tokens."""
    model, said = with_opinions(gpt2(), 8.0), [5, 6, 7]
    begin = 0
    with torch.no_grad():
        while len(said) < 43:
            if len(said) - begin == CONTEXT:
                begin = len(said) - CONTEXT // 2
            said.append(int(model(input_ids=torch.tensor([said[begin:]])).logits[0, -1].argmax()))
    assert sample(model, [5, 6, 7], tokens=40, temperature=0) == said[3:]


def test_draws_follow_from_the_seed_and_do_not_repeat_themselves() -> None:
    """A model that thinks every token equally likely: each part of the text meets random numbers of its own."""
    model = with_opinions(gpt2(), 0.0)
    found = [sample(model, [5], tokens=60, seed=seed) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert len(found[0]) == 60
    assert found[0][15:23] != found[0][23:31] != found[0][31:39]


def test_text_ends_at_its_end_id() -> None:
    model = with_opinions(gpt2(), 0.0)
    said = sample(model, [5], tokens=500, seed=1, end_id=9)
    assert said.index(9) == len(said) - 1


def test_a_row_is_never_read_beyond_its_end() -> None:
    row = Row(np.arange(5))
    assert row.slice(1, 3).tolist() == [1, 2, 3]
    for start, length in ((-1, 2), (3, 3), (0, -1)):
        with pytest.raises(ValueError, match="are asked for, the text has 5"):
            row.slice(start, length)


def test_flops_of_gpt2_small_are_nanogpts() -> None:
    """transformer_sizing: forward 291,648,307,200 for 1024 tokens; a training 874,944,921,600, PaLM's 875,062,886,400."""
    forward = forward_flops(layers=12, width=768, vocabulary=50257, tokens=1024)
    assert forward == 291_648_307_200
    palm = 1024 * flops_per_token(parameters=124_337_664 - 1024 * 768, layers=12, width=768, tokens=1024)
    assert (3 * forward, palm) == (874_944_921_600, 875_062_886_400)
    assert palm / (3 * forward) == pytest.approx(1.0001, abs=5e-5)


def test_flops_are_what_torch_counts() -> None:
    model = gpt2()
    counted = counted_flops(model, torch.randint(VOCABULARY, (1, CONTEXT)))
    assert counted == forward_flops(layers=2, width=32, vocabulary=VOCABULARY, tokens=CONTEXT)
