"""The reader of token shards: slices across shard borders, and refusal of what is damaged."""

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.corpus.staging import write_json
from tasks.tokenization import shards
from tasks.tokenization.shards import (
    DOCUMENT,
    ShardWriter,
    TokenStream,
    dtype_for,
    open_split,
    read_index,
    write_documents,
)

CHECKOUT = Path(__file__).resolve().parents[2]


def written(folder: Path, ids: np.ndarray, vocabulary: int = 1000, most_bytes: int = 20) -> TokenStream:  # type: ignore[type-arg]
    folder.mkdir(exist_ok=True)
    dtype = dtype_for(vocabulary)
    writer = ShardWriter(folder, "train", dtype, most_bytes)
    for part in np.array_split(ids, 7):
        writer.write(part)
    rows = np.array([(0, 5, 0), (13, 9, 1)], dtype=DOCUMENT)
    write_documents(folder, "train", [rows[:1], rows[1:]])
    split = {"tokens": len(ids), "documents": 2, "bytes": 14, "shards": writer.shards}
    write_json(folder / "index.json", {"dtype": dtype.name, "vocabulary": vocabulary, "splits": {"train": split}})
    return open_split(folder, "train")


def test_any_slice_is_what_was_written(tmp_path: Path) -> None:
    ids = np.arange(103)
    stream = written(tmp_path / "tokens", ids)
    assert len(list((tmp_path / "tokens").glob("*.bin"))) == 11
    for start in range(104):
        for length in range(104 - start):
            assert np.array_equal(stream.slice(start, length), ids[start : start + length])
    assert stream.slice(0, 3).dtype == np.dtype("<u2")
    assert stream.slice(8, 5).dtype == np.dtype("<u2")


def test_a_split_is_known_by_its_ids_and_not_by_its_shards(tmp_path: Path) -> None:
    stream = written(tmp_path / "a", np.arange(103))
    assert written(tmp_path / "b", np.arange(103), most_bytes=64).digest == stream.digest
    assert written(tmp_path / "c", np.arange(103)[::-1]).digest != stream.digest


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 104), (103, 1), (5, -1)])
def test_a_slice_beyond_the_split_is_refused(start: int, length: int, tmp_path: Path) -> None:
    stream = written(tmp_path / "tokens", np.arange(103))
    with pytest.raises(ValueError, match="the split has 103"):
        stream.slice(start, length)


def test_read_at_random_it_lets_go_of_what_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second slice here, of a page each; a slice that was given before stays what it was."""
    monkeypatch.setattr(shards, "MOST_MAPPED_BYTES", 2 * mmap.PAGESIZE)
    stream = written(tmp_path / "tokens", np.arange(103))
    advised: list[str] = []
    advise = stream._advise
    monkeypatch.setattr(stream, "_advise", lambda name: (advised.append(name), advise(name)))
    stream.slice(0, 103)
    assert advised == []
    before = stream.read_at_random().slice(2, 6)
    assert advised.pop(0) == "MADV_RANDOM"
    for start in range(90):
        assert np.array_equal(stream.slice(start, 5), np.arange(start, start + 5))
    assert before.tolist() == [2, 3, 4, 5, 6, 7]
    assert set(advised) == {"MADV_DONTNEED"}
    assert 45 <= len(advised) <= 90


@pytest.mark.parametrize("name", ["MADV_RANDOM", "MADV_DONTNEED"])
def test_a_system_that_takes_no_advice_reads_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(shards, "MOST_MAPPED_BYTES", 0)
    monkeypatch.delattr(mmap, name, raising=False)
    stream = written(tmp_path / "tokens", np.arange(103)).read_at_random()
    assert np.array_equal(stream.slice(7, 50), np.arange(7, 57))


def test_documents_are_found_by_number(tmp_path: Path) -> None:
    stream = written(tmp_path / "tokens", np.arange(103))
    assert (stream.tokens, stream.bytes) == (103, 14)
    assert np.array_equal(stream.document(0), np.arange(13))
    assert np.array_equal(stream.document(1), np.arange(13, 103))
    assert stream.documents["bytes"].tolist() == [5, 9]


@pytest.mark.parametrize(("vocabulary", "name", "largest"), [(65536, "uint16", 65535), (65537, "uint32", 65536)])
def test_ids_take_two_bytes_while_they_fit(vocabulary: int, name: str, largest: int, tmp_path: Path) -> None:
    stream = written(tmp_path / "tokens", np.array([0, largest] * 20), vocabulary)
    assert read_index(tmp_path / "tokens")["dtype"] == name
    assert stream.slice(38, 2).tolist() == [0, largest]


def test_shards_are_little_endian(tmp_path: Path) -> None:
    written(tmp_path / "tokens", np.array([0x0102, 0x0304] * 5), most_bytes=1000)
    assert (tmp_path / "tokens" / "train-00000.bin").read_bytes()[:4] == b"\x02\x01\x04\x03"


def test_a_cut_a_missing_and_an_unlisted_shard_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    written(folder, np.arange(103))
    shard = folder / "train-00003.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train-00003\.bin: 19 bytes are there, 20 belong there; make it anew"):
        open_split(folder, "train")
    shard.unlink()
    with pytest.raises(ValueError, match=r"train-00003\.bin: 0 bytes are there"):
        open_split(folder, "train")
    with pytest.raises(ValueError, match="there is no split valid; there are train"):
        open_split(folder, "valid")
    with pytest.raises(ValueError, match="not a token set"):
        open_split(tmp_path, "train")
    index = read_index(folder)
    index["splits"]["train"]["shards"] = index["splits"]["train"]["shards"][:3]
    write_json(folder / "index.json", index)
    with pytest.raises(ValueError, match="the shards of train hold 30 tokens, the index says 103"):
        open_split(folder, "train")


def test_the_reader_needs_numpy_alone() -> None:
    code = (
        "import sys; import tasks.tokenization.shards; "
        "print([m for m in ('pydantic', 'yaml', 'torch', 'tokenizers', 'pyarrow') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
