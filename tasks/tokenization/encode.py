"""Every split of a corpus as token ids, on all cores; the bytes do not depend on how many there are.

The documents are cut into blocks that are written in their order. A block is encoded by the library's own threads, and a
few are under way, so that the next one is parsed meanwhile. Processes of our own were slower: on two cores 13 MB took
1.4 s so, and 2.1 s in a process per core, of which 0.5 s were their start.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.tokenizers import bpe
from models.tokenizers.special import END_OF_TEXT
from tasks.artifacts import read_artifact
from tasks.corpus.documents import KINDS, SPLITS
from tasks.corpus.staging import seal, temporary, write_json
from tasks.tokenization.shards import DOCUMENT, INDEX_FILE, MOST_SHARD_BYTES, ShardWriter, dtype_for, write_documents

BLOCK_BYTES = 1_000_000  # the library holds about 45 MB while it encodes them
MOST_UNDER_WAY = 8


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A block of documents one after another: all ids, and a row of DOCUMENT each, counted from the block's start."""

    ids: npt.NDArray[np.uint32]
    documents: npt.NDArray[np.void]


Encode = Callable[[list[bytes]], Encoded]


def encode_corpus(
    split: Path,
    tokenizer: Path,
    folder: Path,
    *,
    shard_bytes: int = MOST_SHARD_BYTES,
    end_of_text: str = END_OF_TEXT,
) -> None:
    """split/*.jsonl and tokenizer/ -> tokens/ (see shards.py)."""
    parents = [read_artifact(split).digest, read_artifact(tokenizer).digest]
    fitted = bpe.load(tokenizer)
    # of a tokenizer from elsewhere: it would cut long documents, and fill up short ones to the longest of their block
    fitted.no_truncation()
    fitted.no_padding()
    vocabulary, end_id = fitted.get_vocab_size(), fitted.token_to_id(end_of_text)
    if end_id is None:
        raise ValueError(f"{tokenizer}: has no token {end_of_text}; documents could not end")
    index: dict[str, Any] = {
        "vocabulary": vocabulary,
        "dtype": dtype_for(vocabulary).name,
        "end_id": end_id,
        "tokenizer": parents[1],
        "kinds": list(KINDS),
        "splits": {},
    }
    temporary_folder = temporary(folder)
    for name in SPLITS:
        blocks = in_order(partial(encode_block, fitted, end_id), _blocks(split / f"{name}.jsonl"))
        index["splits"][name] = _write(temporary_folder, name, blocks, dtype_for(vocabulary), shard_bytes)
    write_json(temporary_folder / INDEX_FILE, index)
    recipe = {"shard_bytes": shard_bytes}
    seal(temporary_folder, folder, kind="tokens", parents=parents, recipe=recipe)


def encode_block(fitted: Any, end_id: int, lines: list[bytes]) -> Encoded:
    """Lines of a documents file -> their ids, each document followed by the end-of-text id."""
    documents = [json.loads(line) for line in lines]
    # fast: without the offsets of the tokens in the text, which nobody asks for
    encoded = fitted.encode_batch_fast([document["text"] for document in documents], add_special_tokens=False)
    ends = np.cumsum([len(each) + 1 for each in encoded])
    ids = np.full(ends[-1] if documents else 0, end_id, dtype=np.uint32)
    rows = np.zeros(len(documents), DOCUMENT)
    rows["start"][1:] = ends[:-1]
    rows["bytes"] = [len(document["text"].encode()) for document in documents]
    rows["kind"] = [KINDS.index(document["kind"]) for document in documents]
    for start, end, each in zip(rows["start"], ends, encoded, strict=True):
        ids[start : end - 1] = each.ids
    return Encoded(ids=ids, documents=rows)


def in_order(encode: Encode, blocks: Iterable[list[bytes]]) -> Iterator[Encoded]:
    """The results in the order of the blocks, of which few are read ahead: a pool's own map reads all of them first."""
    most = min((os.cpu_count() or 1) + 1, MOST_UNDER_WAY)
    waiting: deque[Future[Encoded]] = deque()
    with ThreadPoolExecutor(most) as pool:
        for block in blocks:
            waiting.append(pool.submit(encode, block))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _blocks(path: Path) -> Iterator[list[bytes]]:
    """The lines of a file in blocks of about BLOCK_BYTES."""
    block: list[bytes] = []
    size = 0
    with path.open("rb") as lines:
        for line in lines:
            block.append(line)
            size += len(line)
            if size >= BLOCK_BYTES:
                yield block
                block, size = [], 0
    if block:
        yield block


def _write(
    folder: Path, name: str, blocks: Iterable[Encoded], dtype: np.dtype[Any], shard_bytes: int
) -> dict[str, Any]:
    writer = ShardWriter(folder, name, dtype, shard_bytes)
    rows: list[npt.NDArray[np.void]] = []
    tokens = 0
    for block in blocks:
        writer.write(block.ids)
        block.documents["start"] += tokens
        rows.append(block.documents)
        tokens += len(block.ids)
    write_documents(folder, name, rows)
    return {
        "tokens": tokens,
        "documents": sum(map(len, rows)),
        "bytes": int(sum(one["bytes"].sum() for one in rows)),
        "shards": writer.shards,
    }
