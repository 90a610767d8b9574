"""BERT, T5 and GPT-2 through the engine's own devices: checkpoints, Muon, bf16, micro-batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_bert_training import small as bert
from test_bert_training import source as pairs
from test_decoders import CONTEXT, gpt2
from test_t5_training import small as t5
from test_t5_training import source as spans
from transformer_training import counting, train_tiny

from tasks.generations.bert import MaskedAndNext
from tasks.generations.decoders import WindowBatches
from tasks.generations.t5 import SpanCorruption
from tasks.training.objectives import NextToken


def windows() -> WindowBatches:
    return WindowBatches(counting(3000), context=CONTEXT, batch_sequences=16, seed=1)


KINDS = pytest.mark.parametrize(
    ("build", "objective", "source"),
    [(bert, MaskedAndNext, pairs), (t5, SpanCorruption, spans), (gpt2, NextToken, windows)],
    ids=["bert", "t5", "gpt2"],
)


@KINDS
def test_a_checkpoint_brings_all_of_it_back(
    build: Callable[[], Any], objective: Any, source: Callable[[], Any], tmp_path: Path
) -> None:
    """Tied weights and untied ones: a model of other weights that goes on from it is the model that wrote it."""
    model, other = build(), build()
    with torch.no_grad():
        for tensor in other.parameters():
            tensor.add_(1)
    train_tiny(tmp_path, model, objective(), source(), steps=3, rate=1e-2, rows=16, kind="muon")
    assert train_tiny(tmp_path, other, objective(), source(), steps=3, rate=1e-2, rows=16, kind="muon") == []
    for (name, one), (_, again) in zip(model.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(one, again), name


@KINDS
def test_bf16_and_micro_batches_change_next_to_nothing(
    build: Callable[[], Any], objective: Any, source: Callable[[], Any], tmp_path: Path
) -> None:
    """Muon, eight steps: in fp32 as a whole, in fp32 by fives, in bf16. The loss falls the same way."""
    runs = []
    for number, changed in enumerate(({}, {"micro_batch": 5}, {"precision": "bf16"})):
        seen = train_tiny(
            tmp_path / str(number), build(), objective(), source(), steps=8, rate=1e-2, rows=16, kind="muon", **changed
        )
        runs.append([each["loss"] for each in seen])
    whole, cut, bf16 = runs
    assert whole[-1] < whole[0] - 0.05
    assert cut == pytest.approx(whole, rel=1e-3)
    assert bf16 == pytest.approx(whole, rel=1e-2)
