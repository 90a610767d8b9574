"""Words for comparing texts of any language: near-duplicates and overlaps are counted in them, nothing is trained on them."""

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

# Scripts written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese): each letter counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so multiplying by it loses nothing modulo 2**64


def words_of(text: str) -> list[str]:
    """words_of("The os.getcwd() call") -> ["the", "os", "getcwd", "call"]."""
    return _WORD.findall(text.lower())


def gram_hashes(words: Sequence[str], order: int) -> npt.NDArray[np.uint64]:
    """One 64-bit hash for each run of `order` words; empty when there are fewer."""
    hashes = np.fromiter(map(_word_hash, words), dtype=np.uint64, count=len(words))
    count = len(words) - order + 1
    if count < 1:
        return np.zeros(0, dtype=np.uint64)
    total = np.zeros(count, dtype=np.uint64)
    for offset in range(order):
        total = total * _BASE + hashes[offset : offset + count]
    return mixed(total)


def mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64's finaliser: every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    # not hash(): Python's is another one in every process
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
