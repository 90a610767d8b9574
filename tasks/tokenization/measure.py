"""What a tokenizer makes of a text: how much it packs into a token, how it treats words, and how fast it is.

Fertility and split words as in Rust et al. 2021 ("How Good is Your Tokenizer?").
"""

import re
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

UNKNOWN_TOKENS = ("[UNK]", "<unk>")
LONGEST_WORD = (
    20  # characters on average: beyond it the script has no spaces between words, as Thai and Chinese have none
)
TIMED_CHARACTERS, TIMED_SECONDS = 1_000_000, 0.1

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Words are what stands between spaces; `split_words` counts those of two tokens and more.

    `word_tokens` counts, word by word, the tokens that have a part in it. `unknown` counts the tokens that stand for text
    that cannot be given back.
    """

    bytes: int
    characters: int
    tokens: int
    words: int
    word_tokens: int
    split_words: int
    unknown: int
    megabytes_per_second: float

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / self.tokens

    @property
    def unknown_share(self) -> float:
        return self.unknown / self.tokens

    @property
    def fertility(self) -> float | None:
        """Tokens per word; None where the text does not set its words apart."""
        return self.word_tokens / self.words if self._has_words else None

    @property
    def split_word_share(self) -> float | None:
        return self.split_words / self.words if self._has_words else None

    @property
    def _has_words(self) -> bool:
        return self.words > 0 and self.characters <= LONGEST_WORD * self.words


def measure(tokenizer: Any, texts: Sequence[str]) -> Measured:
    """A tokenizer of the `tokenizers` library on texts; ValueError when there is nothing to measure."""
    tokens = unknown = 0
    in_words: list[np.ndarray[Any, Any]] = []
    unknown_ids = {tokenizer.token_to_id(token) for token in UNKNOWN_TOKENS} - {None}
    for text in texts:
        encoded = tokenizer.encode(text, add_special_tokens=False)
        tokens += len(encoded.ids)
        unknown += sum(number in unknown_ids for number in encoded.ids)
        in_words.append(tokens_in_words(text, encoded.offsets))
    if not tokens:
        raise ValueError("there is no text to measure a tokenizer on")
    counted = np.concatenate(in_words)
    return Measured(
        bytes=sum(len(text.encode()) for text in texts),
        characters=sum(map(len, texts)),
        tokens=tokens,
        words=len(counted),
        word_tokens=int(counted.sum()),
        split_words=int((counted > 1).sum()),
        unknown=unknown,
        megabytes_per_second=_speed(tokenizer, texts),
    )


def tokens_in_words(text: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray[Any, Any]:
    """For each word the number of tokens that have a part in it: "ab cd", [(0, 1), (1, 2), (2, 5)] -> [2, 1]."""
    words = np.array([word.span() for word in _WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)
    spans = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    spans = spans[spans[:, 0] < spans[:, 1]]
    # those that begin before a word's end, without those that end before its beginning
    return np.searchsorted(spans[:, 0], words[:, 1], "left") - np.searchsorted(spans[:, 1], words[:, 0], "right")


def _speed(tokenizer: Any, texts: Sequence[str]) -> float:
    """Megabytes of text a second on one core, one text after another, for at least TIMED_SECONDS."""
    ends = list(accumulate(map(len, texts)))
    timed = texts[: bisect_left(ends, TIMED_CHARACTERS) + 1]
    size = sum(len(text.encode()) for text in timed)
    passes, began = 0, time.perf_counter()
    while passes == 0 or time.perf_counter() - began < TIMED_SECONDS:
        for text in timed:
            tokenizer.encode_batch_fast([text], add_special_tokens=False)
        passes += 1
    return passes * size / (time.perf_counter() - began) / 1e6
