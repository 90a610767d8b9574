"""Tokens of any kind (words, subwords, letters) and their ids, for models that count."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

import numpy as np

from models.ngram_counts import Ids

Token = TypeVar("Token", bound=Hashable)


class Vocabulary(Generic[Token]):
    """Each token's id is its place; what is not in it has the id of `unknown`, where there is one."""

    def __init__(self, tokens: Iterable[Token], *, unknown: Token | None = None) -> None:
        self.tokens: tuple[Token, ...] = tuple(tokens)
        self._ids = {token: number for number, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            raise ValueError("vocabulary: a token appears twice; give each token once")
        if unknown is not None and unknown not in self._ids:
            raise ValueError(f"vocabulary: the unknown token {unknown!r} is not in it; add it to the tokens")
        self.unknown = unknown

    @classmethod
    def of(
        cls, documents: Iterable[Iterable[Token]], *, unknown: Token | None = None, end: Token | None = None
    ) -> "Vocabulary[Token]":
        """The distinct tokens, `unknown` and `end` first and the others as they come."""
        special = [token for token in (unknown, end) if token is not None]
        seen = dict.fromkeys(special)
        for document in documents:
            seen.update(dict.fromkeys(document))
        return cls(seen, unknown=unknown)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, token: Token) -> int:
        return self._ids[token]

    def encode(self, documents: Iterable[Sequence[Token]], *, end: Token | None = None) -> tuple[Ids, Ids]:
        """One array of ids, and where in it each document starts; `end` closes each.

        ["a", "b"], ["a"] and end="." -> [0, 1, 2, 0, 2], [0, 3]
        """
        closing = [] if end is None else [end]
        ids: list[int] = []
        starts: list[int] = []
        for document in documents:
            starts.append(len(ids))
            ids += [self._id(token) for token in (*document, *closing)]
        return np.array(ids, dtype=np.int64), np.array(starts, dtype=np.int64)

    def _id(self, token: Token) -> int:
        if self.unknown is not None:
            return self._ids.get(token, self._ids[self.unknown])
        if token not in self._ids:
            raise ValueError(f"vocabulary: {token!r} is not in it, and it names no unknown token to stand for it")
        return self._ids[token]
