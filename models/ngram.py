"""Counting words (Shannon 1948), smoothed by Kneser & Ney (1995) and Chen & Goodman (1999).

Words, subwords and letters are the same to it: ids 0 … V-1. Texts are arrays of ids, and documents are named by the
offsets where they start. Nothing is fitted by gradients: `fit` counts, and scoring looks all tokens up at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.ngram_counts import NOT_FOUND, Ids, count_ngrams, find, lay_out
from models.ngram_smoothing import Discounts, Floats, NgramConfig, Table, estimate

IdsLike = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class NgramModel:
    """Tables of log-probabilities by order. The start mark, where documents have one, has the id `vocabulary_size`.

    `ngram_counts` are the distinct n-grams by order that have a probability of their own.
    """

    vocabulary_size: int
    start_mark: bool
    tables: tuple[Table, ...]
    ngram_counts: tuple[int, ...]
    backs_off: bool = True
    unseen_context: float = 0.0
    discounts: tuple[Discounts, ...] = ()

    @classmethod
    def fit(
        cls, ids: IdsLike, *, vocabulary_size: int, config: NgramConfig, starts: IdsLike | None = None
    ) -> "NgramModel":
        """Of one uninterrupted stream, or of documents that begin at `starts`; no n-gram crosses their edges."""
        if not len(ids):
            raise ValueError("ngram: there is no token to count; give a text of at least one")
        mark = vocabulary_size if config.start_mark else None
        text, depth = lay_out(*_checked(ids, starts, vocabulary_size), mark)
        counts = list(count_ngrams(text, depth, order=config.order, base=vocabulary_size + 1))
        fitted = estimate(counts, config)
        return cls(
            vocabulary_size=vocabulary_size,
            start_mark=config.start_mark,
            tables=fitted.tables,
            ngram_counts=(int(np.count_nonzero(counts[0].raw[:-1])), *(len(each.keys) for each in counts[1:])),
            backs_off=fitted.backs_off,
            unseen_context=fitted.unseen_context,
            discounts=fitted.discounts,
        )

    @property
    def order(self) -> int:
        return len(self.tables)

    def log_probabilities(self, ids: IdsLike, starts: IdsLike | None = None) -> Floats:
        """The natural logarithm of each token's probability after those before it in its document."""
        text, depth = self._laid_out(ids, starts)
        scores = self.tables[0].log_probabilities[text]
        for number, (ends, contexts, ranks) in enumerate(self._lookups(text, depth), start=1):
            left = np.full(len(ends), self.unseen_context)
            known, found = contexts != NOT_FOUND, ranks != NOT_FOUND
            left[known] = self.tables[number - 1].unseen[contexts[known]]
            scores[ends] = left + scores[ends] if self.backs_off else left
            scores[ends[found]] = self.tables[number].log_probabilities[ranks[found]]
        return scores[self._predicted(text)]

    def matched_orders(self, ids: IdsLike, starts: IdsLike | None = None) -> Ids:
        """The length of the longest n-gram of the model that ends at each token: how often it must back off."""
        text, depth = self._laid_out(ids, starts)
        matched = np.ones(len(text), dtype=np.int64)
        for length, (ends, _, ranks) in enumerate(self._lookups(text, depth), start=2):
            matched[ends[ranks != NOT_FOUND]] = length
        return matched[self._predicted(text)]

    def next_log_probabilities(self, context: IdsLike) -> Floats:
        """Of every word of the vocabulary after `context`, a document so far (empty: its first word)."""
        before = _checked_ids(context, self.vocabulary_size)
        if self.start_mark:
            before = np.insert(before, 0, self.vocabulary_size)
        scores = self.tables[0].log_probabilities[:-1].copy()
        for length in range(1, min(self.order - 1, len(before)) + 1):
            rank = self._rank(before[-length:])
            left = self.unseen_context if rank == NOT_FOUND else self.tables[length - 1].unseen[rank]
            scores = left + scores if self.backs_off else np.full_like(scores, left)
            if rank != NOT_FOUND:
                words, logs = self._continuations(rank, length)
                scores[words] = logs
        return scores

    def sample(self, rng: np.random.Generator, *, max_tokens: int, end: int | None = None) -> list[int]:
        """A document from its first word on, up to and with the id `end`."""
        drawn: list[int] = []
        while len(drawn) < max_tokens and (not drawn or drawn[-1] != end):
            weights = np.exp(self.next_log_probabilities(np.array(drawn[-self.order :], dtype=np.int64)))
            drawn.append(int(rng.choice(len(weights), p=weights / weights.sum())))
        return drawn

    def _laid_out(self, ids: IdsLike, starts: IdsLike | None) -> tuple[Ids, Ids]:
        mark = self.vocabulary_size if self.start_mark else None
        return lay_out(*_checked(ids, starts, self.vocabulary_size), mark)

    def _predicted(self, text: Ids) -> npt.NDArray[np.bool_]:
        predicted: npt.NDArray[np.bool_] = text != self.vocabulary_size
        return predicted

    def _lookups(self, text: Ids, depth: Ids) -> Iterator[tuple[Ids, Ids, Ids]]:
        """For orders 2, 3 …: where an n-gram can end, the rank of its context there, and its own."""
        ranks = text
        for length, table in enumerate(self.tables[1:], start=2):
            ends = np.flatnonzero(depth >= length - 1)
            contexts = ranks[ends - 1]
            known = contexts != NOT_FOUND
            found = np.full(len(ends), NOT_FOUND)
            found[known] = find(table.keys, self._keys(contexts[known], text[ends[known]]))
            ranks = np.full(len(text), NOT_FOUND)
            ranks[ends] = found
            yield ends, contexts, found

    def _keys(self, contexts: Ids, words: Ids) -> Ids:
        return contexts * (self.vocabulary_size + 1) + words

    def _rank(self, ngram: Ids) -> int:
        rank = ngram[:1]
        for number in range(1, len(ngram)):
            rank = find(self.tables[number].keys, self._keys(rank, ngram[number : number + 1]))
            if rank[0] == NOT_FOUND:
                return NOT_FOUND
        return int(rank[0])

    def _continuations(self, rank: int, length: int) -> tuple[Ids, Floats]:
        """The words seen after the n-gram of this length and rank, with their log-probabilities."""
        table, edges = self.tables[length], self._keys(np.array([rank, rank + 1]), np.zeros(2, dtype=np.int64))
        first, last = np.searchsorted(table.keys, edges)
        return table.keys[first:last] - edges[0], table.log_probabilities[first:last]


def document_starts(ids: IdsLike, end: int) -> Ids:
    """Where documents begin in a stream that ends each with the id `end`: [7, 0, 8, 9, 0] -> [0, 2] for end 0."""
    after = np.flatnonzero(np.asarray(ids)[:-1] == end) + 1
    return np.concatenate([np.zeros(min(len(ids), 1), dtype=np.int64), after])


def _checked(ids: IdsLike, starts: IdsLike | None, vocabulary_size: int) -> tuple[Ids, Ids]:
    tokens = _checked_ids(ids, vocabulary_size)
    if starts is None:
        return tokens, np.zeros(min(len(tokens), 1), dtype=np.int64)
    offsets = np.asarray(starts, dtype=np.int64)
    lengths = np.diff(offsets, prepend=0, append=len(tokens))  # the first is what stands before any document
    if lengths[0] != 0 or np.any(lengths[1:] < 1):
        raise ValueError("ngram: starts must begin at 0, rise, and stay below the number of ids: no document is empty")
    return tokens, offsets


def _checked_ids(ids: IdsLike, vocabulary_size: int) -> Ids:
    if len(ids) and not np.issubdtype(np.asarray(ids).dtype, np.integer):
        raise ValueError("ngram: ids must be integers; a Vocabulary turns tokens of other kinds into ids")
    tokens: Ids = np.asarray(ids, dtype=np.int64)
    if tokens.ndim != 1:
        raise ValueError(f"ngram: ids must be one row, and have {tokens.ndim} dimensions: concatenate the documents")
    if len(tokens) and (tokens.min() < 0 or tokens.max() >= vocabulary_size):
        raise ValueError(
            f"ngram: ids go from {tokens.min()} to {tokens.max()}, the vocabulary from 0 to {vocabulary_size - 1}: "
            "were they made with another tokenizer?"
        )
    return tokens
