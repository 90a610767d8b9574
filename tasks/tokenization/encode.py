"""Every split of a corpus as token ids, on all cores; the bytes do not depend on how many there are.

The documents are cut into blocks of a fixed size, which may be encoded anywhere and are written in their order.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
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

BLOCK_BYTES = 1_000_000
# a process takes about as long to start as this much takes to encode
WORTH_A_PROCESS_BYTES = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A block of documents one after another: all ids, and a row of DOCUMENT each, counted from the block's start."""

    ids: npt.NDArray[np.uint32]
    documents: npt.NDArray[np.void]


Encode = Callable[[list[bytes]], Encoded]
EncodeAll = Callable[[Iterable[list[bytes]]], Iterator[Encoded]]


def encode_corpus(
    split: Path,
    tokenizer: Path,
    folder: Path,
    *,
    processes: int | None = None,
    shard_bytes: int = MOST_SHARD_BYTES,
    end_of_text: str = END_OF_TEXT,
) -> None:
    """split/*.jsonl and tokenizer/ -> tokens/ (see shards.py); `processes` defaults to one per core."""
    parents = [read_artifact(split).digest, read_artifact(tokenizer).digest]
    fitted = bpe.load(tokenizer)
    vocabulary = fitted.get_vocab_size()
    index: dict[str, Any] = {
        "vocabulary": vocabulary,
        "dtype": dtype_for(vocabulary).name,
        "end_id": fitted.token_to_id(end_of_text),
        "tokenizer": parents[1],
        "kinds": list(KINDS),
        "splits": {},
    }
    temporary_folder = temporary(folder)
    size = sum((split / f"{name}.jsonl").stat().st_size for name in SPLITS)
    with _encoders(tokenizer, end_of_text, _worthwhile(size) if processes is None else processes) as encode_all:
        for name in SPLITS:
            blocks = encode_all(_blocks(split / f"{name}.jsonl"))
            index["splits"][name] = _write(temporary_folder, name, blocks, dtype_for(vocabulary), shard_bytes)
    write_json(temporary_folder / INDEX_FILE, index)
    recipe = {"shard_bytes": shard_bytes}
    seal(temporary_folder, folder, kind="tokens", parents=parents, recipe=recipe)


def encode_block(tokenizer: Path, end_of_text: str, lines: list[bytes]) -> Encoded:
    """Lines of a documents file -> their ids, each document followed by the end-of-text id."""
    fitted = _loaded(tokenizer)
    end_id = fitted.token_to_id(end_of_text)
    documents = [json.loads(line) for line in lines]
    encoded = [fitted.encode(document["text"], add_special_tokens=False).ids for document in documents]
    rows = np.zeros(len(documents), DOCUMENT)
    rows["start"] = np.cumsum([0, *(len(ids) + 1 for ids in encoded[:-1])])[: len(documents)]
    rows["bytes"] = [len(document["text"].encode()) for document in documents]
    rows["kind"] = [KINDS.index(document["kind"]) for document in documents]
    ids = [id for one in encoded for id in (*one, end_id)]
    return Encoded(ids=np.array(ids, dtype=np.uint32), documents=rows)


@cache
def _loaded(tokenizer: Path) -> Any:
    return bpe.load(tokenizer)


def _worthwhile(size: int) -> int:
    """As many processes as the work is worth; 0 means that this one does it."""
    wanted = min(os.cpu_count() or 1, size // WORTH_A_PROCESS_BYTES)
    return wanted if wanted > 1 else 0


@contextmanager
def _encoders(tokenizer: Path, end_of_text: str, processes: int) -> Iterator[EncodeAll]:
    encode = partial(encode_block, tokenizer, end_of_text)
    if not processes:
        yield partial(map, encode)
        return
    # spawn: the same on every system, and no thread of this process is left hanging in a copy
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield partial(_in_order, pool, encode, 2 * processes)


def _in_order(pool: ProcessPoolExecutor, encode: Encode, most: int, blocks: Iterable[list[bytes]]) -> Iterator[Encoded]:
    """The results in the order of the blocks, `most` of them under way: a pool's own map reads all its input first."""
    waiting: deque[Future[Encoded]] = deque()
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
