"""Which items of a benchmark stand in what the model was trained on, and what it scores on those and on the others.

An item is dirty when any run of 13 of its words stands in a training text too (Brown et al. 2020, appendix C; items of 8
to 12 words as a whole, as tasks/corpus/decontaminate.py refuses them), words being lower-case and without punctuation.
Beside it stands the rule of PaLM (Chowdhery et al. 2022, section 8): 70 % of an item's runs of 8 words.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.corpus.decontaminate import DecontaminateConfig
from tasks.corpus.json_lines import numbered_lines
from tasks.corpus.words import gram_hashes, words_of

LONGEST, SHORTEST = DecontaminateConfig().gram_words, DecontaminateConfig().shortest_words
MOSTLY = 0.7  # of the runs of SHORTEST words
# a run that more items of one benchmark share, or more than half of them, is the wording of the task and no item's own
MOST_SHARING = 10
BLOCK_WORDS = 200_000
_END = "\n"  # between two texts of a block; no word is spelled so, hence no run reaches over it

Hashes = npt.NDArray[np.uint64]
Runs = dict[int, Hashes]  # length in words -> the hashes of an item's runs of that length


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """A JSON-lines file that the model learned from, or a plain text file."""

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Item:
    """A question as the benchmark asks it, without template and shots, and its answer."""

    benchmark: str
    id: str
    question: str
    answer: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What training sets hold of an item. `checked` is False where too little of it is its own to tell."""

    item: Item
    checked: bool
    sets: tuple[str, ...] = ()  # that hold one of its runs
    words: str = ""  # the first such run
    share: float = 0.0  # of its runs of 8 words that any training set holds

    @property
    def dirty(self) -> bool:
        return bool(self.sets)

    @property
    def mostly(self) -> bool:
        return self.share >= MOSTLY


def find_contamination(items: Sequence[Item], training: Iterable[TrainingSet]) -> list[Finding]:
    """A finding for every item, in their order."""
    if not items:
        return []
    index = _Index(items)
    for each in training:
        index.look_through(each)
    return index.findings()


class _Index:
    """The items' runs of words as sorted 64-bit hashes, by length, and which of them a training set holds."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._runs = _without_wording(items, [_runs(item) for item in items])
        eights = [{SHORTEST: gram_hashes(words_of(_whole(item)), SHORTEST)} for item in items]
        self._eights = [found[SHORTEST] for found in _without_wording(items, eights)]
        # with the wording: a run of 13 words may begin in it, and is looked for where its first 8 words are found
        by_order: dict[int, list[Hashes]] = {SHORTEST: [found[SHORTEST] for found in eights]}
        for found in self._runs:
            for order, hashes in found.items():
                by_order.setdefault(order, []).append(hashes)
        self._known = {order: _sorted_once(np.concatenate(found)) for order, found in by_order.items()}
        self._held: dict[str, dict[int, npt.NDArray[np.bool_]]] = {}
        self._words: dict[tuple[int, int], str] = {}

    def look_through(self, training: TrainingSet) -> None:
        """Mark what the training set holds; a longer run is looked for only where its first 8 words were found."""
        held = {order: np.zeros(len(known), dtype=np.bool_) for order, known in self._known.items()}
        self._held[training.name] = held
        for words in _blocks(read_texts(training.path)):
            starts, found = self._found(gram_hashes(words, SHORTEST), SHORTEST)
            self._mark(words, SHORTEST, starts, found, held)
            for first, last in _stretches(starts):
                for order in held.keys() - {SHORTEST}:
                    stretch = words[first : last + order]
                    inside, found = self._found(gram_hashes(stretch, order), order)
                    self._mark(stretch, order, inside, found, held)

    def _found(self, hashes: Hashes, order: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Where in `hashes` a known one stands, and which one it is."""
        known = self._known[order]
        if not len(hashes) or not len(known):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        starts = np.flatnonzero(known[places] == hashes)
        return starts, places[starts]

    def _mark(
        self,
        words: Sequence[str],
        order: int,
        starts: npt.NDArray[np.int64],
        found: npt.NDArray[np.int64],
        held: Mapping[int, npt.NDArray[np.bool_]],
    ) -> None:
        fresh = ~held[order][found]
        for start, place in zip(starts[fresh].tolist(), found[fresh].tolist(), strict=True):
            self._words.setdefault((order, place), " ".join(words[start : start + order]))
        held[order][found] = True

    def findings(self) -> list[Finding]:
        seen = np.zeros(len(self._known[SHORTEST]), dtype=np.bool_)
        for held in self._held.values():
            seen |= held[SHORTEST]
        return [self._finding(place, seen) for place in range(len(self._items))]

    def _finding(self, place: int, seen: npt.NDArray[np.bool_]) -> Finding:
        """`seen` are the runs of 8 words that any set holds."""
        item, runs, eights = self._items[place], self._runs[place], self._eights[place]
        sets, words = [], ""
        for name, held in self._held.items():
            places = {order: np.searchsorted(self._known[order], hashes) for order, hashes in runs.items()}
            hits = {order: found[held[order][found]] for order, found in places.items()}
            first = next(((order, int(found[0])) for order, found in hits.items() if len(found)), None)
            if first is not None:
                sets.append(name)
                words = words or self._words[first]
        share = float(seen[np.searchsorted(self._known[SHORTEST], eights)].mean()) if len(eights) else 0.0
        checked = any(len(hashes) for hashes in runs.values())
        return Finding(item=item, checked=checked, sets=tuple(sets), words=words, share=share if checked else 0.0)


def _sorted_once(hashes: Hashes) -> Hashes:
    """numpy.unique hashes them once more, and took a hundred times as long on 1.7 million."""
    hashes = np.sort(hashes)
    first = np.ones(len(hashes), dtype=np.bool_)
    first[1:] = hashes[1:] != hashes[:-1]
    return hashes[first]


def _whole(item: Item) -> str:
    return f"{item.question} {item.answer}"


def _runs(item: Item) -> Runs:
    """Those of the question, and of question and answer together; a text of fewer than 8 words has none."""
    found: dict[int, list[Hashes]] = {}
    for text in (item.question, _whole(item)):
        words = words_of(text)
        if len(words) >= SHORTEST:
            order = min(len(words), LONGEST)
            found.setdefault(order, []).append(gram_hashes(words, order))
    return {order: np.concatenate(hashes) for order, hashes in found.items()}


def _without_wording(items: Sequence[Item], runs: Sequence[Runs]) -> list[Runs]:
    """The runs of each item but those that are the wording of its benchmark."""
    counts: dict[str, Counter[int]] = {item.benchmark: Counter() for item in items}
    for item, found in zip(items, runs, strict=True):
        for hashes in found.values():
            counts[item.benchmark].update(set(hashes.tolist()))
    sizes = Counter(item.benchmark for item in items)
    wording = {name: _shared(counted, min(MOST_SHARING, max(1, sizes[name] // 2))) for name, counted in counts.items()}
    return [
        {order: hashes[~np.isin(hashes, wording[item.benchmark])] for order, hashes in found.items()}
        for item, found in zip(items, runs, strict=True)
    ]


def _shared(counted: Mapping[int, int], most: int) -> Hashes:
    return np.array([run for run, count in counted.items() if count > most], dtype=np.uint64)


def _stretches(starts: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """[3, 4, 5, 9] -> (3, 6), (9, 10)"""
    for group in np.split(starts, np.flatnonzero(np.diff(starts) > 1) + 1):
        if len(group):
            yield int(group[0]), int(group[-1]) + 1


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """The words of many texts at once, with _END between two texts."""
    words: list[str] = []
    for text in texts:
        words += words_of(text)
        words.append(_END)
        if len(words) >= BLOCK_WORDS:
            yield words
            words = []
    if words:
        yield words


def read_texts(path: Path) -> Iterator[str]:
    """What a model reads in a training file: a document's text, a prompt with its answer, else every text in a line."""
    if path.suffix != ".jsonl":
        yield path.read_text(encoding="utf-8", errors="replace")
        return
    for _, record in numbered_lines(path):
        if isinstance(record.get("text"), str):
            yield record["text"]
        elif isinstance(record.get("prompt"), str) and isinstance(record.get("answer"), str):
            yield f"{record['prompt']} {record['answer']}"
        else:
            yield " ".join(_leaves(record))


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
