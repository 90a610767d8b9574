"""The token set on disk: streams of token ids in shards, read through memory maps. numpy alone.

tokens/train-00000.bin ...      little-endian uint16 or uint32; every document's ids, then the end-of-text id
tokens/train.documents.npy      one row per document: where it starts in the stream, its UTF-8 bytes, its kind
tokens/index.json               {"vocabulary", "dtype", "end_id", "tokenizer", "kinds", "splits": {"train": {"tokens",
                                 "documents", "bytes", "shards": [{"file", "tokens"}, ...]}, ...}}
"""

import hashlib
import json
import mmap
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

INDEX_FILE = "index.json"
MOST_SHARD_BYTES = 256_000_000
MOST_MAPPED_BYTES = 64_000_000  # of what was read at random, before this process lets go of it
# `start` in tokens from the beginning of the split, `kind` a position in the index's "kinds"
DOCUMENT = np.dtype([("start", "<i8"), ("bytes", "<i8"), ("kind", "<i8")])

Tokens = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]


def dtype_for(vocabulary: int) -> np.dtype[Any]:
    """uint16 while every id fits into it: half the disk and half the reading."""
    return np.dtype("<u2" if vocabulary <= 1 << 16 else "<u4")


class Stream(Protocol):
    """A long row of ids that is read in parts: a split on disk, or ids in memory."""

    tokens: int

    def slice(self, start: int, length: int) -> Tokens: ...

    def read_at_random(self) -> "Stream": ...


class TokenStream:
    """One split as one long array of ids that is never read as a whole; safe to share between processes."""

    def __init__(self, folder: Path, index: dict[str, Any], split: str) -> None:
        if split not in index["splits"]:
            raise ValueError(f"{folder}: there is no split {split}; there are {', '.join(index['splits'])}")
        described = index["splits"][split]
        self._folder = folder
        self._dtype = np.dtype(index["dtype"]).newbyteorder("<")
        self._mappings = [self._mapping(shard) for shard in described["shards"]]
        self._shards: list[Tokens] = [np.frombuffer(mapping, self._dtype) for mapping in self._mappings]
        self._at_random, self._touched_bytes = False, 0
        self._starts = list(accumulate((len(shard) for shard in self._shards), initial=0))
        self._documents_file = folder / f"{split}.documents.npy"
        self.tokens: int = described["tokens"]
        self.bytes: int = described["bytes"]
        if self._starts[-1] != self.tokens:
            raise ValueError(
                f"{folder}: the shards of {split} hold {self._starts[-1]} tokens, the index says {self.tokens}"
            )

    def slice(self, start: int, length: int) -> Tokens:
        """The ids from `start` on, `length` of them; a view where they lie in one shard, else a copy.

        ValueError when the range is not within the split: a short batch must never be a silent surprise.
        """
        if start < 0 or length < 0 or start + length > self.tokens:
            raise ValueError(f"tokens {start} to {start + length} are asked for, the split has {self.tokens}")
        parts: list[Tokens] = []
        number = bisect_right(self._starts, start) - 1
        while length > 0:
            offset = start - self._starts[number]
            part = self._shards[number][offset : offset + length]
            parts.append(part)
            start, length, number = start + len(part), length - len(part), number + 1
        if self._at_random:
            self._let_go(sum(part.nbytes + mmap.PAGESIZE for part in parts))
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, self._dtype), *parts])

    def read_at_random(self) -> "TokenStream":
        """From now on slices lie anywhere: the system reads what is asked for and no more, and memory stays flat.

        A disk that reads 8 MB ahead took 160 ms for the 16 windows of a batch instead of 0.15 (a cloud machine, 20 GB).
        """
        self._at_random = True
        self._advise("MADV_RANDOM")
        return self

    @cached_property
    def documents(self) -> npt.NDArray[np.void]:
        """Rows of DOCUMENT in the order of the stream: documents["start"], ["bytes"], ["kind"]."""
        rows: npt.NDArray[np.void] = np.load(self._documents_file, mmap_mode="r", allow_pickle=False)
        return rows

    @cached_property
    def digest(self) -> str:
        """sha256 of all ids and of where its documents lie, whatever the shards."""
        found = hashlib.sha256(str(self._dtype).encode())
        for shard in self._shards:
            found.update(shard.data)
        found.update(np.ascontiguousarray(self.documents).tobytes())
        return found.hexdigest()

    def document(self, number: int) -> Tokens:
        """The ids of one document, its end-of-text id included."""
        starts = self.documents["start"]
        end = int(starts[number + 1]) if number + 1 < len(starts) else self.tokens
        return self.slice(int(starts[number]), end - int(starts[number]))

    def _mapping(self, shard: dict[str, Any]) -> mmap.mmap:
        path, tokens = self._folder / shard["file"], shard["tokens"]
        size = path.stat().st_size if path.is_file() else 0
        if size != tokens * self._dtype.itemsize or size == 0:
            raise ValueError(
                f"{path}: {size} bytes are there, {tokens * self._dtype.itemsize} belong there; make it anew"
            )
        with path.open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def _let_go(self, touched_bytes: int) -> None:
        """Pages leave this process, not the system's cache: they would add up to the whole token set. Views stay good."""
        self._touched_bytes += touched_bytes
        if self._touched_bytes > MOST_MAPPED_BYTES:
            self._advise("MADV_DONTNEED")
            self._touched_bytes = 0

    def _advise(self, name: str) -> None:
        advice = getattr(mmap, name, None)  # not every system takes advice
        if advice is not None:
            for mapping in self._mappings:
                mapping.madvise(advice)


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a token set; ValueError when there is none."""
    path = folder / INDEX_FILE
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: not a token set ({error})") from error


def open_split(folder: Path, split: str) -> TokenStream:
    """open_split(Path(".espalier/data/tiny/tokens"), "train").slice(0, 256) -> the first 256 ids."""
    return TokenStream(folder, read_index(folder), split)


class ShardWriter:
    """Writes a stream of ids as shards of at most `most_bytes`, filled to the last id whatever the pieces are."""

    def __init__(self, folder: Path, split: str, dtype: np.dtype[Any], most_bytes: int = MOST_SHARD_BYTES) -> None:
        self._folder = folder
        self._split = split
        self._dtype = dtype
        self._most = max(most_bytes // dtype.itemsize, 1)
        self.shards: list[dict[str, Any]] = []

    def write(self, ids: npt.NDArray[Any]) -> None:
        while len(ids):
            if not self.shards or self.shards[-1]["tokens"] == self._most:
                self.shards.append({"file": f"{self._split}-{len(self.shards):05}.bin", "tokens": 0})
            shard = self.shards[-1]
            part, ids = ids[: self._most - shard["tokens"]], ids[self._most - shard["tokens"] :]
            with (self._folder / shard["file"]).open("ab") as stream:
                stream.write(part.astype(self._dtype).tobytes())
            shard["tokens"] += len(part)


def write_documents(folder: Path, split: str, rows: Sequence[npt.NDArray[np.void]]) -> None:
    np.save(folder / f"{split}.documents.npy", np.concatenate([np.zeros(0, DOCUMENT), *rows]), allow_pickle=False)
