"""A text for all models alike: three files cut into words, subwords or letters, one stream of ids a split.

A line (a document of a .jsonl file) ends with the piece END, which is predicted like any other: so are the files of the
literature counted, empty lines too.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from models.tokenizers import bpe

Level = Literal["word", "subword", "char"]
Ids = npt.NDArray[np.int64]

END, UNKNOWN = "</s>", "<unk>"
SPLITS = ("train", "valid", "test")
IDS_FILE, TEXT_FILE = "ids.npz", "text.json"
ENCODED_AT_ONCE = 4096  # lines


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How a text is cut. Without the word `<unk>` in its training file, words seen less than `min_count` times become it.

    Letters are treated likewise; subwords of bytes leave nothing unknown. `subwords` is the size of their vocabulary.
    """

    level: Level = "subword"
    subwords: int = 4096
    min_count: int = 2

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise ValueError(f"level: {self.level!r} is none of {', '.join(get_args(Level))}")
        if self.min_count < 1:
            raise ValueError("min_count: expected at least 1")


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """`bytes` are the file's lines in UTF-8, each with its line end; `unknown` counts pieces that became `<unk>`."""

    ids: Ids
    bytes: int
    unknown: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Text:
    """`pieces` by id; `splits` by name. A piece of level subword is spelled in the tokenizer's alphabet of bytes."""

    level: Level
    pieces: tuple[str, ...]
    splits: Mapping[str, Split]
    tokenizer: Tokenizer | None = None

    @property
    def vocabulary(self) -> int:
        return len(self.pieces)

    @property
    def end_id(self) -> int:
        return 0

    @property
    def is_lossless(self) -> bool:
        """Whether the pieces spell the text out: only then a loss can be given per byte."""
        return not any(split.unknown for name, split in self.splits.items() if name != "train")

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {piece: number for number, piece in enumerate(self.pieces)}

    def coded(self, line: str) -> list[int]:
        """The ids of one line, without its end; the inverse of `spoken` but for what is unknown."""
        if self.tokenizer is not None:
            return list(self.tokenizer.encode(line, add_special_tokens=False).ids)
        unknown = self._places[UNKNOWN]
        return [self._places.get(piece, unknown) for piece in _pieces(line, self.level)]

    def spoken(self, ids: Iterable[int]) -> str:
        """Ids as a person reads them; a line's end is a line feed."""
        lines: list[list[int]] = [[]]
        for number in ids:
            if number == self.end_id:
                lines.append([])
            else:
                lines[-1].append(number)
        return "\n".join(self._line(line) for line in lines)

    def _line(self, ids: Sequence[int]) -> str:
        if self.tokenizer is not None:
            return str(self.tokenizer.decode(list(ids)))
        return (" " if self.level == "word" else "").join(self.pieces[number] for number in ids)


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a text, or the "text" of each line of JSON; gzip by its ending. ValueError names what cannot be read."""
    opener = gzip.open if path.suffix == ".gz" else open
    is_json = path.name.removesuffix(".gz").endswith(".jsonl")
    try:
        with opener(path, "rt", encoding="utf-8", newline="\n") as stream:
            for number, line in enumerate(stream, start=1):
                yield _field(line, path, number) if is_json else line.rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def _field(line: str, path: Path, number: int) -> str:
    try:
        return str(json.loads(line)["text"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f'{path}: line {number} is no JSON object with a "text"; give one a line, or plain text'
        ) from None


def cut(files: Mapping[str, Path], config: TextConfig) -> Text:
    """The text in three files, by a vocabulary of the training file alone; ValueError when one of them is empty."""
    lines = {name: list(read_lines(files[name])) for name in SPLITS}
    for name, found in lines.items():
        if not any(found):
            raise ValueError(f"{files[name]}: is empty; the {name} text needs at least one line")
    if config.level == "subword":
        return _in_subwords(lines, config)
    pieces, closed = _vocabulary(lines["train"], config)
    places = {piece: number for number, piece in enumerate(pieces)}
    splits = {name: _coded(found, config.level, places, closed) for name, found in lines.items()}
    return Text(level=config.level, pieces=pieces, splits=splits)


def _pieces(line: str, level: Level) -> Sequence[str]:
    return line.split() if level == "word" else line


def _vocabulary(train: Sequence[str], config: TextConfig) -> tuple[tuple[str, ...], bool]:
    """END, `<unk>`, and what was seen often enough, the most frequent first; and whether `<unk>` is a word of the file."""
    counts = Counter(chain.from_iterable(_pieces(line, config.level) for line in train))
    counts.pop(END, None)
    closed = config.level == "word" and UNKNOWN in counts
    counts.pop(UNKNOWN, None)
    least = 1 if closed else config.min_count
    kept = sorted((piece for piece, count in counts.items() if count >= least), key=lambda each: (-counts[each], each))
    return (END, UNKNOWN, *kept), closed


def _coded(lines: Sequence[str], level: Level, places: Mapping[str, int], closed: bool) -> Split:
    unknown, end = places[UNKNOWN], places[END]
    ids: list[int] = []
    for line in lines:
        ids += [places.get(piece, unknown) for piece in _pieces(line, level)]
        ids.append(end)
    coded = np.array(ids, dtype=np.int64)
    found = int((coded == unknown).sum())
    if closed:  # the word itself is no unknown piece
        found -= sum(line.split().count(UNKNOWN) for line in lines)
    return Split(ids=coded, bytes=_bytes(lines), unknown=found)


def _in_subwords(lines: Mapping[str, Sequence[str]], config: TextConfig) -> Text:
    tokenizer = bpe.fit(lines["train"], vocabulary=config.subwords, special_tokens=(END,))
    pieces = tuple(str(tokenizer.id_to_token(number)) for number in range(tokenizer.get_vocab_size()))
    splits = {name: _encoded(found, tokenizer) for name, found in lines.items()}
    return Text(level="subword", pieces=pieces, splits=splits, tokenizer=tokenizer)


def _encoded(lines: Sequence[str], tokenizer: Tokenizer) -> Split:
    parts: list[Ids] = []
    for start in range(0, len(lines), ENCODED_AT_ONCE):
        for found in tokenizer.encode_batch_fast(lines[start : start + ENCODED_AT_ONCE], add_special_tokens=False):
            parts.append(np.array([*found.ids, 0], dtype=np.int64))
    return Split(ids=np.concatenate(parts), bytes=_bytes(lines), unknown=0)


def _bytes(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def save(text: Text, folder: Path) -> None:
    """Into an existing folder, for the workers: reading it takes a moment."""
    train, valid, test = (text.splits[name].ids.astype(np.int32) for name in SPLITS)
    np.savez(folder / IDS_FILE, train=train, valid=valid, test=test)
    record = {
        "level": text.level,
        "pieces": text.pieces,
        "bytes": {name: split.bytes for name, split in text.splits.items()},
        "unknown": {name: split.unknown for name, split in text.splits.items()},
    }
    (folder / TEXT_FILE).write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
    if text.tokenizer is not None:
        bpe.save(text.tokenizer, folder)


def load(folder: Path) -> Text:
    """What `save` wrote."""
    record = json.loads((folder / TEXT_FILE).read_text(encoding="utf-8"))
    with np.load(folder / IDS_FILE, allow_pickle=False) as ids:
        splits = {
            name: Split(ids=ids[name].astype(np.int64), bytes=record["bytes"][name], unknown=record["unknown"][name])
            for name in SPLITS
        }
    return Text(
        level=record["level"],
        pieces=tuple(record["pieces"]),
        splits=splits,
        tokenizer=bpe.load(folder) if record["level"] == "subword" else None,
    )
