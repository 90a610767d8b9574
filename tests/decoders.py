"""What tests of models and trainings share: one thread, bytes as tokens, decoders of a few thousand weights."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from models.llama import LlamaShape, build_llama
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from models.tokenizers.special import EARLIER_TOKENS


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products are faster so, their sums have one order, and equal bytes need equal threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> ChatTokenizer:
    """Bytes and special tokens alone: every letter is a token, and so is every role, which keeps turns short."""
    return ChatTokenizer.ours(bpe.fit([], vocabulary=261, special_tokens=EARLIER_TOKENS))


def small_decoder(tokenizer: ChatTokenizer, seed: int = 0, *, spread: float = 4.0, shape: LlamaShape) -> Any:
    """A fresh decoder says nearly the same everywhere; `spread` multiplies its matrices, so that it has opinions."""
    torch.manual_seed(seed)
    model = build_llama(
        shape, vocabulary=tokenizer.vocabulary, end_id=tokenizer.end_of_text_id, pad_id=tokenizer.pad_id
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(spread)
    return model.eval()
