"""A split corpus becomes token shards: every document comes back, and the bytes depend on nothing but text and tokenizer."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from models.tokenizers import bpe
from tasks.artifacts import read_artifact, verify
from tasks.corpus.documents import KINDS, SPLITS, read_documents
from tasks.tokenization import encode as encoding
from tasks.tokenization.encode import encode_corpus
from tasks.tokenization.fit import TokenizerConfig, fit_tokenizer
from tasks.tokenization.shards import DOCUMENT, open_split, read_index

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def encoded(split_of: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """encoded(name, **how) -> the tokens folder of the small corpus."""
    fit_tokenizer(split_of(), tmp_path / "tokenizer", TokenizerConfig(vocabulary=400))

    def make(name: str = "tokens", **how: Any) -> Path:
        encode_corpus(tmp_path / "split", tmp_path / "tokenizer", tmp_path / name, **how)
        return tmp_path / name

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_document_comes_back_and_ends_with_the_end_of_text(encoded: Callable[..., Path], tmp_path: Path) -> None:
    folder = encoded()
    tokenizer = bpe.load(tmp_path / "tokenizer")
    index = read_index(folder)
    for name in SPLITS:
        stream = open_split(folder, name)
        documents = list(read_documents(tmp_path / "split" / f"{name}.jsonl"))
        assert len(stream.documents) == len(documents) == index["splits"][name]["documents"]
        for number, document in enumerate(documents):
            ids = stream.document(number)
            assert ids[-1] == index["end_id"] == 0
            assert tokenizer.decode(ids[:-1].tolist(), skip_special_tokens=False) == document.text
            assert stream.documents["bytes"][number] == len(document.text.encode())
            assert index["kinds"][stream.documents["kind"][number]] == document.kind


def test_text_that_spells_the_end_of_text_ends_no_document(encoded: Callable[..., Path]) -> None:
    stream = open_split(encoded(), "train")
    ids = stream.slice(0, stream.tokens)
    assert np.count_nonzero(ids == 0) == len(stream.documents) == 4
    assert ids.min() == 0
    assert not np.isin(ids, [1, 2, 3, 4]).any()


def test_the_index_says_what_is_there(encoded: Callable[..., Path], tmp_path: Path) -> None:
    folder = encoded()
    index = json.loads((folder / "index.json").read_text())
    assert index["vocabulary"] == bpe.load(tmp_path / "tokenizer").get_vocab_size()
    assert index["dtype"] == "uint16"
    assert index["tokenizer"] == read_artifact(tmp_path / "tokenizer").digest
    assert index["kinds"] == list(KINDS)
    train = index["splits"]["train"]
    texts = [document.text for document in read_documents(tmp_path / "split" / "train.jsonl")]
    assert train["bytes"] == sum(len(text.encode()) for text in texts)
    assert train["shards"] == [{"file": "train-00000.bin", "tokens": train["tokens"]}]
    assert (folder / "train-00000.bin").stat().st_size == 2 * train["tokens"]
    assert verify(folder) == (True, "")
    parents = (read_artifact(tmp_path / "split").digest, read_artifact(tmp_path / "tokenizer").digest)
    assert (read_artifact(folder).kind, read_artifact(folder).parents) == ("tokens", parents)


@pytest.mark.parametrize("block_bytes", [1, 1500, 10**9])
@pytest.mark.parametrize("cores", [1, 5])
def test_cores_and_blocks_do_not_change_a_byte(
    encoded: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, block_bytes: int, cores: int
) -> None:
    """Beside the library's own answer, one document at a time on one thread."""
    monkeypatch.setattr(encoding, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    folder = encoded()
    tokenizer = bpe.load(folder.with_name("tokenizer"))
    for name in SPLITS:
        ids: list[int] = []
        for document in read_documents(folder.with_name("split") / f"{name}.jsonl"):
            ids += [*tokenizer.encode(document.text, add_special_tokens=False).ids, 0]
        stream = open_split(folder, name)
        assert stream.slice(0, stream.tokens).tolist() == ids


def test_a_tokenizer_that_cuts_and_fills_up_does_neither(encoded: Callable[..., Path], tmp_path: Path) -> None:
    """As many from elsewhere are set; in a batch every document would be filled up to the longest."""
    expected = contents(encoded("ours"))
    path = tmp_path / "tokenizer" / bpe.TOKENIZER_FILE
    tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    tokenizer.enable_padding(pad_id=0, pad_token="<|endoftext|>")
    tokenizer.enable_truncation(3)
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    found = contents(encoded("theirs"))
    shards = {name for name in expected if name.endswith((".bin", ".npy"))}
    assert len(shards) == 6
    assert {name: found[name] for name in shards} == {name: expected[name] for name in shards}


def test_a_tokenizer_without_the_end_of_text_is_refused(encoded: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"tokenizer: has no token <\|over\|>; documents could not end"):
        encoded(end_of_text="<|over|>")


def test_no_more_blocks_are_read_than_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool's own map reads all its input before it gives the first result: a corpus would lie in memory."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    read: list[int] = []

    def blocks() -> Iterator[list[bytes]]:
        for number in range(100):
            read.append(number)
            yield [bytes([number])]

    def encode(block: list[bytes]) -> encoding.Encoded:
        return encoding.Encoded(ids=np.array([block[0][0]], np.uint32), documents=np.zeros(1, DOCUMENT))

    results = encoding.in_order(encode, blocks())
    assert next(results).ids.tolist() == [0]
    assert len(read) == encoding.MOST_UNDER_WAY
    assert [result.ids[0] for result in results] == list(range(1, 100))


def test_shards_are_filled_to_the_last_id(encoded: Callable[..., Path]) -> None:
    whole, cut = encoded("whole"), encoded("cut", shard_bytes=64)
    shards = read_index(cut)["splits"]["train"]["shards"]
    assert len(shards) > 5
    assert {shard["tokens"] for shard in shards[:-1]} == {32}
    assert b"".join((cut / shard["file"]).read_bytes() for shard in shards) == (whole / "train-00000.bin").read_bytes()


def test_an_empty_split_has_no_shards(split_of: Callable[..., Path], tmp_path: Path) -> None:
    split = split_of({"train": ["some text to fit on " * 10]})
    fit_tokenizer(split, tmp_path / "tokenizer", TokenizerConfig(vocabulary=300))
    encode_corpus(split, tmp_path / "tokenizer", tmp_path / "tokens")
    stream = open_split(tmp_path / "tokens", "valid")
    assert (stream.tokens, len(stream.documents), len(stream.slice(0, 0))) == (0, 0, 0)


def test_the_door_runs_both_stages_and_speaks_in_one_sentence(split_of: Callable[..., Path], tmp_path: Path) -> None:
    data = tmp_path / "checkout" / ".espalier" / "data" / "own"
    split_of(name="checkout/.espalier/data/own/split")
    params = tmp_path / "checkout" / "params.yaml"
    params.write_text("tokenizers: {own: {vocabulary: 300, spelling: {digits: runs}}}\n")

    def door(stage: str, name: str = "own") -> tuple[int, str]:
        result = subprocess.run(
            [sys.executable, "-m", "tasks.tokenization", stage, name],
            cwd=tmp_path / "checkout", env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, capture_output=True, text=True,
        )  # fmt: skip
        return result.returncode, result.stderr

    assert door("tokenizer") == (0, "")
    assert door("tokens") == (0, "")
    assert read_index(data / "tokens")["vocabulary"] == 300
    assert door("tokenizer", "other") == (2, "ValueError: params.yaml: tokenizers: there is no other; there are own\n")
    params.write_text("tokenizers: {own: {vocabulry: 300}}\n")
    assert door("tokenizer") == (
        2,
        "ValueError: params.yaml: tokenizers.own.vocabulry: unknown key; did you mean vocabulary?\n",
    )
