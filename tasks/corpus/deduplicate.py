"""Exact duplicates by hash, near-duplicates by MinHash and banding (Broder 1997; Leskovec et al., MMDS chapter 3).

The first of a family stays. Memory holds no text: about a kilobyte per document.
"""

from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.artifacts import read_artifact
from tasks.corpus.documents import DOCUMENTS_FILE, Document, read_documents
from tasks.corpus.staging import sieve
from tasks.corpus.words import gram_hashes, mixed, words_of

Signature = npt.NDArray[np.uint32]

_NEWEST_KEYS = 1 << 16
_BLOCK_GRAMS = 512  # times all permutations: what fits into a processor's cache


@dataclass(frozen=True, kw_only=True)
class DeduplicateConfig:
    """Two texts are near-duplicates when their sets of `gram_words`-word runs have Jaccard >= `min_similarity`.

    With b bands of r rows a pair of similarity s is compared with probability 1 - (1 - s^r)^b: 16 x 8 finds 0.94 of
    the pairs at 0.8 and 0.05 at 0.5; each compared pair is then judged by all its minima.
    """

    min_similarity: float = 0.8
    gram_words: int = 5
    bands: int = 16
    rows: int = 8
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.min_similarity <= 1:
            raise ValueError("deduplicate.min_similarity: expected a share above 0 and at most 1")
        if min(self.gram_words, self.bands, self.rows) < 1:
            raise ValueError("deduplicate: gram_words, bands and rows must be at least 1")


def deduplicate(clean: Path, folder: Path, refused: Path, config: DeduplicateConfig) -> None:
    """clean/documents.jsonl -> deduplicated/documents.jsonl and refused/deduplicate/."""
    parents = [read_artifact(clean).digest]
    finder = DuplicateFinder(config)
    with sieve(folder, refused, stage="deduplicate", parents=parents, recipe=asdict(config)) as body:
        for document in read_documents(clean / DOCUMENTS_FILE):
            passed, reason, of = finder.judge(document)
            if passed:
                body.keep(document)
            else:
                body.refuse(document.id, document.text, reason, detail=f"of {of}")


class DuplicateFinder:
    """Remembers the documents it let pass, and names the one that a later document repeats."""

    def __init__(self, config: DeduplicateConfig) -> None:
        self._config = config
        self._ids: list[str] = []
        self._exact: dict[bytes, int] = {}
        count = config.bands * config.rows
        self._minima = np.zeros((1024, count), dtype=np.uint32)  # a row per document, grown by halves
        self._bands = BandIndex()
        # one permutation of the hash space per column: x -> high half of (a x + b), a odd (Dietzfelbinger et al. 1997)
        self._a = mixed(np.arange(1, count + 1, dtype=np.uint64) + np.uint64(config.seed << 32)) | np.uint64(1)
        self._b = mixed(self._a)

    def judge(self, document: Document) -> tuple[bool, str, str]:
        """(True, "", "") or (False, reason, the id of the document it repeats)."""
        key = blake2b(document.text.encode(), digest_size=16).digest()
        if key in self._exact:
            return False, "exact duplicate", self._ids[self._exact[key]]
        signature = self.signature(words_of(document.text))
        if signature is not None:
            twin = self._twin(signature)
            if twin is not None:
                return False, "near duplicate", self._ids[twin]
        self._exact[key] = len(self._ids)
        self._remember(document.id, signature)
        return True, "", ""

    def signature(self, words: list[str]) -> Signature | None:
        """The minima of the text's grams under each permutation; None for a text of fewer words than a gram."""
        grams = gram_hashes(words, self._config.gram_words)
        if not len(grams):
            return None
        minima = np.full(len(self._a), np.iinfo(np.uint64).max, dtype=np.uint64)
        for start in range(0, len(grams), _BLOCK_GRAMS):
            block = grams[start : start + _BLOCK_GRAMS, None] * self._a + self._b
            np.minimum(minima, block.min(axis=0), out=minima)
        return (minima >> np.uint64(32)).astype(np.uint32)

    def _band_keys(self, signature: Signature) -> npt.NDArray[np.uint64]:
        """One 64-bit number for each band: which it is, and its rows."""
        keys = np.arange(self._config.bands, dtype=np.uint64)
        for column in signature.reshape(self._config.bands, self._config.rows).T:
            keys = mixed(keys + column)
        return keys

    def _twin(self, signature: Signature) -> int | None:
        candidates = np.array(sorted(self._bands.find(self._band_keys(signature))), dtype=np.int64)
        if not len(candidates):
            return None
        similar = np.mean(self._minima[candidates] == signature, axis=1) >= self._config.min_similarity
        return int(candidates[similar][0]) if similar.any() else None

    def _remember(self, id: str, signature: Signature | None) -> None:
        number = len(self._ids)
        self._ids.append(id)
        if number == len(self._minima):
            self._minima = np.concatenate([self._minima, np.zeros_like(self._minima[: number // 2])])
        if signature is not None:
            self._minima[number] = signature
            self._bands.add(self._band_keys(signature), number)


class BandIndex:
    """Band key -> the documents that have it: sorted arrays (12 bytes an entry), and a dict (110) for the newest few."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, dtype=np.uint64)
        self._numbers = np.zeros(0, dtype=np.uint32)
        self._newest: dict[int, list[int]] = {}

    def find(self, keys: npt.NDArray[np.uint64]) -> set[int]:
        starts, ends = np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")
        found = {
            int(number)
            for start, end in zip(starts, ends, strict=True)
            if start < end
            for number in self._numbers[start:end]
        }
        return found.union(*(self._newest.get(key, ()) for key in keys.tolist()))

    def add(self, keys: npt.NDArray[np.uint64], number: int) -> None:
        for key in keys.tolist():
            self._newest.setdefault(key, []).append(number)
        # an eighth of all: each entry is sorted into place a few times in its life, not once for every new one
        if len(self._newest) > max(_NEWEST_KEYS, len(self._keys) // 8):
            self._settle()

    def _settle(self) -> None:
        fresh = [(key, number) for key, numbers in self._newest.items() for number in numbers]
        keys = np.concatenate([self._keys, np.array([key for key, _ in fresh], dtype=np.uint64)])
        numbers = np.concatenate([self._numbers, np.array([number for _, number in fresh], dtype=np.uint32)])
        order = np.argsort(keys, kind="stable")
        self._keys, self._numbers = keys[order], numbers[order]
        self._newest.clear()
