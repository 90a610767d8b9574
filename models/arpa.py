"""The ARPA text format of n-gram models, as KenLM and SRILM read and write it.

Logarithms are to base 10, fields are parted by tabs or blanks: "-0.69897 <s> the -0.30103" is log p(the | <s>) and what
the context "<s> the" gives a word it never saw; a back-off left out is 0. A file named .gz is compressed.
"""

import gzip
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np

from models.ngram import NgramModel
from models.ngram_counts import NOT_FOUND, Ids, find
from models.ngram_smoothing import Floats, Table
from models.ngram_vocabulary import Vocabulary

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
NEVER = -99.0  # what the format writes for a probability of 0
_LN_10 = math.log(10)
_BLANKS = frozenset(" \t\n\r\v\f\0")
_LINES_AT_A_TIME = 1 << 16


def write_arpa(path: Path, model: NgramModel, tokens: Sequence[str]) -> None:
    """`tokens` are the words of ids 0 … V-1. Readers want `<s>` and `</s>`: where the model has none they get -99."""
    _check_writable(model, tokens)
    names = [*tokens, BEGIN]
    missing = [END] if END not in names else []
    counts = [len(names) + len(missing), *(len(table.keys) for table in model.tables[1:])]
    with _open(path, "wb") as file:
        header = "".join(f"ngram {order}={count}\n" for order, count in enumerate(counts, start=1))
        file.write(f"\\data\\\n{header}".encode())
        for order, table in enumerate(model.tables, start=1):
            file.write(f"\n\\{order}-grams:\n".encode())
            if order > 1:
                names = _longer(names, tokens, table.keys)
            elif not model.start_mark:
                table = _without_mark(table)
            for block in _lines(names, table, highest=order == model.order):
                file.write(block.encode())
            if order == 1:  # behind the words, whose places are their ids
                file.writelines(f"{NEVER:g}\t{word}\n".encode() for word in missing)
        file.write(b"\n\\end\\\n")


def read_arpa(path: Path) -> tuple[NgramModel, Vocabulary[str]]:
    """A model and its words; what is not a word of it has the id of `<unk>`, if the file lists that."""
    with _open(path, "rb") as file:
        reader = _Reader(path, file)
        sizes = reader.sizes()
        words, table = reader.unigrams(sizes[0])
        tables, begins = [table], False
        for order, size in enumerate(sizes[1:], start=2):
            table, ids = reader.ngrams(order, size, words, tables)
            begins = begins or bool(np.any(ids[:, 0] == len(words) - 1))
            tables.append(table)
        reader.end()
    vocabulary = Vocabulary(list(words)[:-1], unknown=UNKNOWN if UNKNOWN in words else None)
    model = NgramModel(
        vocabulary_size=len(vocabulary), start_mark=begins, tables=tuple(tables), ngram_counts=tuple(sizes)
    )
    return model, vocabulary


class _Reader:
    """Lines of one file, with the file and line named in every refusal."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._lines = enumerate(file, start=1)
        self._number = 0

    def sizes(self) -> list[int]:
        """The counts under \\data\\, order by order; what stands before it is a comment."""
        while self._line() != b"\\data\\":
            pass
        sizes: list[int] = []
        while (line := self._line()).startswith(b"ngram "):
            name, equals, size = line[len(b"ngram ") :].partition(b"=")
            if not (equals and size.strip().isdigit() and name.strip() == b"%d" % (len(sizes) + 1)):
                raise self._error(f"expected 'ngram {len(sizes) + 1}=<count>'")
            sizes.append(int(size))
        if not sizes or line:
            raise self._error("expected a line for each order, 'ngram 1=<count>' first, and an empty line after them")
        return sizes

    def unigrams(self, size: int) -> tuple[dict[str, int], Table]:
        """Words in the order of the file, but `<s>` last; without `<s>` its row stands there too, and is never read."""
        self._heading(1)
        words: dict[str, int] = {}
        logs, backoffs = np.zeros(size), np.zeros(size)
        for row in range(size):
            logs[row], backoffs[row], (word,) = self._entry(1)
            name = self._decoded(word)
            if name in words:
                raise self._error(f"{name!r} is listed twice")
            words[name] = row
        mark = words.pop(BEGIN, None)
        rows = np.array([*words.values(), size if mark is None else mark])
        ids = {word: number for number, word in enumerate([*words, BEGIN])}
        logs, backoffs = np.append(logs, 0.0)[rows], np.append(backoffs, 0.0)[rows]
        logs[-1] = 0.0
        return ids, Table(keys=np.arange(len(ids)), log_probabilities=logs, unseen=backoffs)

    def ngrams(self, order: int, size: int, words: dict[str, int], lower: Sequence[Table]) -> tuple[Table, Ids]:
        """The table of one order, sorted as lookups need it, and the words of its rows as they stand in the file."""
        self._heading(order)
        known = {word.encode(): number for word, number in words.items()}
        ids, logs, backoffs = np.zeros((size, order), dtype=np.int64), np.zeros(size), np.zeros(size)
        for row in range(size):
            logs[row], backoffs[row], ngram = self._entry(order)
            try:
                ids[row] = [known[word] for word in ngram]
            except KeyError as error:
                raise self._error(f"{self._decoded(error.args[0])!r} is not among the 1-grams") from error
        keys = self._keys(ids, len(words), lower)
        by_key = np.argsort(keys)
        if np.any(np.diff(keys[by_key]) == 0):
            raise self._error(f"a {order}-gram is listed twice")
        return Table(keys=keys[by_key], log_probabilities=logs[by_key], unseen=backoffs[by_key]), ids

    def end(self) -> None:
        if self._next_filled() != b"\\end\\":
            raise self._error("expected \\end\\")

    def _keys(self, ids: Ids, base: int, lower: Sequence[Table]) -> Ids:
        ranks = ids[:, 0]
        for number in range(1, ids.shape[1]):
            if np.any(ranks == NOT_FOUND):
                raise self._error(f"a {ids.shape[1]}-gram begins with a {number}-gram that the file does not list")
            keys = ranks * base + ids[:, number]
            ranks = find(lower[number].keys, keys) if number < len(lower) else keys
        return ranks

    def _heading(self, order: int) -> None:
        if self._next_filled() != f"\\{order}-grams:".encode():
            raise self._error(
                f"expected \\{order}-grams: here; does the count of the order before agree with its lines?"
            )

    def _entry(self, order: int) -> tuple[float, float, list[bytes]]:
        """The natural logarithms of probability and back-off, and the words of one line."""
        # bytes split at ASCII blanks alone: a no-break space may be part of a word
        fields = self._line().split()
        if len(fields) not in (order + 1, order + 2):
            raise self._error(f"expected a probability, {order} word(s) and perhaps a back-off")
        try:
            log, backoff = float(fields[0]), float(fields[order + 1]) if len(fields) == order + 2 else 0.0
        except ValueError as error:
            raise self._error("expected numbers at both ends") from error
        if not log <= 0:
            raise self._error("the logarithm of a probability cannot be above 0")
        return log * _LN_10, backoff * _LN_10, fields[1 : order + 1]

    def _decoded(self, word: bytes) -> str:
        try:
            return word.decode()
        except UnicodeDecodeError as error:
            raise self._error(f"{word!r} is not UTF-8") from error

    def _next_filled(self) -> bytes:
        while not (line := self._line()):
            pass
        return line

    def _line(self) -> bytes:
        numbered = next(self._lines, None)
        if numbered is None:
            raise self._error("the file ends before \\end\\")
        self._number, line = numbered
        return line.strip(b" \t\r\n")

    def _error(self, reason: str) -> ValueError:
        return ValueError(f"{self._path}, line {self._number}: {reason}")


def _open(path: Path, mode: str) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, mode) if path.suffix == ".gz" else path.open(mode))


def _check_writable(model: NgramModel, tokens: Sequence[str]) -> None:
    if not (model.backs_off and model.unseen_context == 0):
        raise ValueError("ARPA holds probabilities with back-off weights: of the smoothings here, Kneser-Ney's alone")
    if len(tokens) != model.vocabulary_size or len(set(tokens)) != len(tokens):
        raise ValueError(f"ARPA: expected {model.vocabulary_size} different tokens, one for each id")
    if BEGIN in tokens:
        raise ValueError(f"ARPA: {BEGIN} names the start of a document and cannot be a token; rename it")
    for token in tokens:
        if not token or not _BLANKS.isdisjoint(token):
            raise ValueError(f"ARPA parts words by blanks: rename the token {token!r}, for example to its id")


def _without_mark(table: Table) -> Table:
    logs = table.log_probabilities.copy()
    logs[-1] = NEVER * _LN_10
    return Table(keys=table.keys, log_probabilities=logs, unseen=table.unseen)


def _longer(names: Sequence[str], tokens: Sequence[str], keys: Ids) -> list[str]:
    """The names of the n-grams with these keys, from those one word shorter."""
    contexts, words = np.divmod(keys, len(tokens) + 1)
    return [f"{names[context]} {tokens[word]}" for context, word in zip(contexts.tolist(), words.tolist(), strict=True)]


def _lines(names: Sequence[str], table: Table, *, highest: bool) -> Iterator[str]:
    for first in range(0, len(names), _LINES_AT_A_TIME):
        block = slice(first, first + _LINES_AT_A_TIME)
        logs, backoffs = (_to_base_10(values[block]) for values in (table.log_probabilities, table.unseen))
        if highest:
            yield "".join(f"{log:.9g}\t{name}\n" for log, name in zip(logs, names[block], strict=True))
        else:
            rows = zip(logs, names[block], backoffs, strict=True)
            yield "".join(f"{log:.9g}\t{name}\t{backoff:.9g}\n" for log, name, backoff in rows)


def _to_base_10(values: Floats) -> list[float]:
    # + 0.0 turns -0.0, the logarithm of 1 divided, into 0.0
    base_10: list[float] = (np.maximum(values / _LN_10, NEVER) + 0.0).tolist()
    return base_10
