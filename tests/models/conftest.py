"""One thread, a tiny decoder and its tokenizer."""

from pathlib import Path
from typing import Any

import pytest

from models.catalogue import save_model
from models.llama import LlamaShape
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from tests.decoders import one_thread, small_decoder

__all__ = ["one_thread"]

TEXTS = [
    "Numbers are added with the plus sign, and the sum of two and three is five.\n" * 3,
    "모든 국민은 법 앞에 평등하다.\n" * 3,
]


@pytest.fixture(scope="session")
def tokenizer() -> ChatTokenizer:
    """Bytes, a few merges, and our special tokens."""
    return ChatTokenizer.ours(bpe.fit(TEXTS, vocabulary=300))


@pytest.fixture
def model(tokenizer: ChatTokenizer) -> Any:
    shape = LlamaShape(layers=2, width=32, heads=4, kv_heads=2, feed_forward=64, context=48)
    return small_decoder(tokenizer, 3, spread=8.0, shape=shape)


@pytest.fixture
def folder(model: Any, tokenizer: ChatTokenizer, tmp_path: Path) -> Path:
    save_model(tmp_path / "model", model, tokenizer)
    return tmp_path / "model"
