"""A split corpus becomes token shards: every document comes back, and the bytes depend on nothing but text and tokenizer."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.tokenizers import bpe
from tasks.artifacts import read_artifact, verify
from tasks.corpus.documents import KINDS, SPLITS, read_documents
from tasks.tokenization.encode import encode_corpus
from tasks.tokenization.fit import TokenizerConfig, fit_tokenizer
from tasks.tokenization.shards import open_split, read_index

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


# in a process of its own: multiprocessing leaves a helper running that later tests would find among their children
IN_TWO_PROCESSES = """
import sys
from pathlib import Path
from tasks.tokenization import encode as encoding
encoding.BLOCK_BYTES = int(sys.argv[2])
folder = Path(sys.argv[1])
if __name__ == "__main__":
    encoding.encode_corpus(folder / "split", folder / "tokenizer", folder / f"blocks-{sys.argv[2]}", processes=2)
"""

READ_AHEAD = """
import sys
from pathlib import Path
from tasks.tokenization import encode as encoding
folder, read = Path(sys.argv[1]), []
def blocks():
    for line in (folder / "split" / "train.jsonl").read_bytes().splitlines(keepends=True) * 5:
        read.append(line)
        yield [line]
if __name__ == "__main__":
    with encoding._encoders(folder / "tokenizer", "<|endoftext|>", 1) as encode_all:
        results = encode_all(blocks())
        next(results)
        print(len(read))
"""


def output_of(script: str, folder: Path, *arguments: str) -> str:
    path = folder / "script.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, str(path), str(folder), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_processes_and_blocks_do_not_change_a_byte(encoded: Callable[..., Path], tmp_path: Path) -> None:
    one = contents(encoded("one", processes=0))
    for block_bytes in ("1000000", "100"):
        output_of(IN_TWO_PROCESSES, tmp_path, block_bytes)
        assert contents(tmp_path / f"blocks-{block_bytes}") == one


def test_no_more_blocks_are_read_than_are_under_way(encoded: Callable[..., Path], tmp_path: Path) -> None:
    """A pool's own map reads all its input before it gives the first result: a corpus would lie in memory."""
    encoded()
    assert output_of(READ_AHEAD, tmp_path) == "2\n"


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
