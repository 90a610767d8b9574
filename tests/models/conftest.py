"""One thread, a tiny decoder and its tokenizer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models.catalogue import save_model
from models.llama import LlamaShape, build_llama
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer

TEXTS = [
    "Numbers are added with the plus sign, and the sum of two and three is five.\n" * 3,
    "모든 국민은 법 앞에 평등하다.\n" * 3,
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> ChatTokenizer:
    """Bytes, a few merges, and our special tokens."""
    return ChatTokenizer.ours(bpe.fit(TEXTS, vocabulary=300))


@pytest.fixture
def model(tokenizer: ChatTokenizer) -> Any:
    torch.manual_seed(3)
    shape = LlamaShape(layers=2, width=32, heads=4, kv_heads=2, feed_forward=64, context=48)
    built = build_llama(
        shape, vocabulary=tokenizer.vocabulary, end_id=tokenizer.end_of_text_id, pad_id=tokenizer.pad_id
    )
    for parameter in built.parameters():
        if parameter.dim() >= 2:
            parameter.data.mul_(8)  # a fresh model says nearly the same everywhere; this one has opinions
    return built.eval()


@pytest.fixture
def folder(model: Any, tokenizer: ChatTokenizer, tmp_path: Path) -> Path:
    save_model(tmp_path / "model", model, tokenizer)
    return tmp_path / "model"
