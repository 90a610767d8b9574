"""Small forms of tests/benchmarks/data.py, against three times its aims: a real slip fails, a busy machine does not."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from tasks.tokenization import shards
from tasks.tokenization.encode import encode_corpus
from tasks.tokenization.shards import open_split
from tasks.training.batches import TokenBatches
from tests.benchmarks.data import (
    BIG_TOKENS,
    encoding_seconds,
    laptop,
    prepare,
    sparse_tokens,
    texts_of,
    timed,
    waiting,
)
from tests.decoders import one_thread

__all__ = ["one_thread"]

CHECKOUT = Path(__file__).resolve().parents[2]
AIM, SLIP = {"encoding": 0.8, "loading": 0.02, "opening": 2.0}, 3


def test_encoding_keeps_up_with_the_library(tmp_path: Path, test_data: Path) -> None:
    texts = texts_of(test_data / "wikitext-2")
    prepare(tmp_path, {"train": texts["test"], "valid": texts["valid"], "test": []})
    seconds = encoding_seconds(tmp_path, rounds=3)
    (raw, _), *_, (ours, _) = seconds.values()
    assert raw / ours > AIM["encoding"] / SLIP


def test_a_step_does_not_wait_for_its_data(tmp_path: Path) -> None:
    text = (CHECKOUT / "LICENSE").read_text(encoding="utf-8")
    prepare(tmp_path, {"train": [text] * 5, "valid": [text], "test": [text]}, vocabulary=512)
    encode_corpus(tmp_path / "split", tmp_path / "tokenizer", tmp_path / "tokens")
    waited, whole = waiting(tmp_path, "laptop", *laptop(), steps=3, threads=1)
    assert 0 < waited < SLIP * AIM["loading"] * whole


def test_twenty_gigabytes_are_open_at_once_and_never_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30,400 windows anywhere lie in 130 MB of pages; a list of all 40 million windows would be 320 MB."""
    monkeypatch.setattr(shards, "MOST_MAPPED_BYTES", 2_000_000)
    sparse_tokens(tmp_path / "tokens", BIG_TOKENS)
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss

    def begin() -> TokenBatches:
        batches = TokenBatches(open_split(tmp_path / "tokens", "train"), context=256, batch_sequences=16, seed=1)
        next(batches.starting_at(0))
        return batches

    batches, seconds = timed(begin)
    assert seconds < SLIP * AIM["opening"]
    assert process.memory_info().rss - before < 30_000_000
    most = BIG_TOKENS // 256 // 16
    begun = process.memory_info().rss
    for position in range(0, most, most // 1900):
        assert next(batches.starting_at(position)).tensors["ids"].sum() == 0
    if sys.platform == "linux":  # elsewhere advice may be taken later
        assert process.memory_info().rss - begun < 40_000_000
