"""A byte tokenizer, small decoders, and token sets whose text is known."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.llama import LlamaShape
from models.tokenizers.chat import ChatTokenizer
from tasks.artifacts import write_artifact
from tasks.corpus.staging import write_json
from tasks.tokenization.shards import DOCUMENT, ShardWriter, dtype_for, write_documents
from tests.decoders import one_thread, small_decoder, tokenizer

__all__ = ["one_thread", "tokenizer"]

KINDS = ("text", "source")
SHAPE = LlamaShape(layers=2, width=16, heads=2, kv_heads=2, feed_forward=32, context=32)


@pytest.fixture(scope="session")
def small_model(tokenizer: ChatTokenizer) -> Callable[..., Any]:
    """small_model(seed) -> a decoder with opinions; spread=0 -> one that thinks every token equally likely."""
    return partial(small_decoder, tokenizer, shape=SHAPE)


Texts = Mapping[str, Sequence[str]]


@pytest.fixture
def token_set(tmp_path: Path, tokenizer: ChatTokenizer) -> Callable[[Texts], Path]:
    """token_set({"test": ["a text", ...]}) -> a token set of these texts, of the kinds text and source in turn."""

    def make(texts: Texts) -> Path:
        folder = tmp_path / "tokens"
        folder.mkdir()
        splits = {name: _written(folder, name, documents, tokenizer) for name, documents in texts.items()}
        described = {"dtype": "uint16", "vocabulary": tokenizer.vocabulary, "end_id": 0, "kinds": KINDS}
        write_json(folder / "index.json", {**described, "splits": splits})
        write_artifact(folder, kind="tokens")
        return folder

    return make


def _written(folder: Path, name: str, texts: Sequence[str], tokenizer: ChatTokenizer) -> dict[str, Any]:
    ids = [[*tokenizer.encode_text(text), tokenizer.end_of_text_id] for text in texts]
    writer = ShardWriter(folder, name, dtype_for(tokenizer.vocabulary), most_bytes=50)
    writer.write(np.concatenate([np.array(each) for each in ids]))
    rows = np.zeros(len(texts), DOCUMENT)
    rows["start"] = np.cumsum([0, *map(len, ids)])[:-1]
    rows["bytes"] = [len(text.encode()) for text in texts]
    rows["kind"] = np.arange(len(texts)) % len(KINDS)
    write_documents(folder, name, [rows])
    return {
        "tokens": sum(map(len, ids)),
        "documents": len(texts),
        "bytes": int(rows["bytes"].sum()),
        "shards": writer.shards,
    }
