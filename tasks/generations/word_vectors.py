"""What word vectors know: nearest words, analogies by 3CosAdd, agreement with people on how alike two words are.

Rows of the vectors are words, the most frequent first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.evaluation.weat import Floats, Vectors, unit

SCORED_SIMILARITIES = 1 << 24  # held at once

Ids = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class AnalogyScore:
    """`skipped` questions have a word that has no vector, or that is not among the most frequent ones asked about."""

    correct: int
    scored: int
    skipped: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.scored if self.scored else float("nan")


@dataclass(frozen=True, kw_only=True)
class SimilarityScore:
    """Spearman's correlation between cosines and human scores; pairs with a word that has no vector are `skipped`."""

    correlation: float
    scored: int
    skipped: int


def nearest(vectors: Vectors, number: int, k: int) -> list[tuple[int, float]]:
    """The k other words with the largest cosines to a word, nearest first."""
    units = unit(vectors)
    cosines = units @ units[number]
    cosines[number] = -np.inf
    order = np.argsort(-cosines, kind="stable")[: min(k, len(cosines) - 1)]
    return [(int(other), float(cosines[other])) for other in order]


def score_analogies(vectors: Vectors, questions: Ids, *, most_frequent: int | None = None) -> AnalogyScore:
    """a is to b as c is to d, [questions, 4]: is d the word nearest to b - a + c, when a, b and c are ruled out?

    `most_frequent` restricts questions and answers alike to so many words (compute-accuracy: 30,000), which raises the
    score: report it. -1 stands for a word without a vector.
    """
    units = unit(vectors[:most_frequent])
    known = ((questions >= 0) & (questions < len(units))).all(axis=1)
    asked = questions[known]
    correct, rows = 0, max(1, SCORED_SIMILARITIES // len(units))
    for start in range(0, len(asked), rows):
        a, b, c, d = asked[start : start + rows].T
        cosines = (units[b] - units[a] + units[c]) @ units.T
        cosines[np.arange(len(a))[:, None], np.stack([a, b, c], axis=1)] = -np.inf
        correct += int((cosines.argmax(axis=1) == d).sum())
    return AnalogyScore(correct=correct, scored=len(asked), skipped=len(questions) - len(asked))


def score_similarities(
    vectors: Vectors, pairs: Sequence[tuple[str, str, float]], ranks: Mapping[str, int]
) -> SimilarityScore:
    known = [(ranks[one], ranks[other], score) for one, other, score in pairs if one in ranks and other in ranks]
    if len(known) < 2:
        return SimilarityScore(correlation=float("nan"), scored=len(known), skipped=len(pairs) - len(known))
    ones, others, scores = (np.array(column) for column in zip(*known, strict=True))
    units = unit(vectors)
    cosines = (units[ones] * units[others]).sum(axis=1)
    return SimilarityScore(correlation=spearman(cosines, scores), scored=len(known), skipped=len(pairs) - len(known))


def spearman(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """The correlation of ranks; equal values share the mean of their ranks. nan where one side is all equal."""
    first, second = (ranks - ranks.mean() for ranks in (_ranks(np.asarray(one)), _ranks(np.asarray(other))))
    size = np.sqrt((first**2).sum() * (second**2).sum())
    return float(first @ second / size) if size > 0 else float("nan")


def _ranks(values: npt.NDArray[np.generic]) -> Floats:
    """[3, 1, 3] -> [1.5, 0, 1.5]"""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: Floats = (ends - 1) - (counts - 1) / 2
    return means[places]


def read_analogies(path: Path) -> dict[str, list[tuple[str, str, str, str]]]:
    """By section, of a file in the form of questions-words.txt: ": section", then lines of four words, in lower case."""
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    name = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.lower().split()
        if line.startswith(":"):
            name = line[1:].strip()
        elif len(words) == 4:
            sections.setdefault(name, []).append((words[0], words[1], words[2], words[3]))
        elif words:
            raise ValueError(f"{path}:{number}: expected four words or a line ': section', found {line[:80]!r}")
    return sections


def analogy_ranks(questions: Sequence[Sequence[str]], ranks: Mapping[str, int]) -> Ids:
    """[questions, 4] for `score_analogies`."""
    return np.array([[ranks.get(word, -1) for word in each] for each in questions], dtype=np.int64).reshape(-1, 4)


def read_similarities(path: Path) -> list[tuple[str, str, float]]:
    """Two words and a human score a line, separated by blanks, as in WordSim-353, SimLex-999 and MEN; in lower case."""
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.lower().split()
        if not fields:
            continue
        try:
            one, other, score = fields
            pairs.append((one, other, float(score)))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: expected two words and a number, found {line[:80]!r}") from error
    return pairs
