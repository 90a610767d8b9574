"""A small classification set: whether a linear reader of sentences' vectors can tell their labels.

The sentences are the user's: JSON lines {"sentence" or "text", "label"}, or a table with such columns; .gz too.
"""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.generations.sentences import Represent, Vectors, scores
from tasks.generations.text import Text

SENTENCE, LABEL = ("sentence", "text", "document", "review"), "label"
MOST_ROWS, FEWEST_ROWS, ASKED_SHARE = 5000, 50, 0.2
MOST_PIECES = 200  # what is longer is cut off
DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """`name` is the file's; one label for each sentence."""

    name: str
    sentences: tuple[str, ...]
    labels: tuple[str, ...]


def read_labelled(path: Path) -> Labelled:
    """The first rows of a file; ValueError names what it lacks."""
    found = []
    for number, row in enumerate(_rows(path), start=1):
        sentence = next((row[name] for name in SENTENCE if row.get(name)), None)
        if row.get(LABEL) in (None, ""):
            raise ValueError(
                f'{path}: row {number} has no "{LABEL}"; give {{"sentence": …, "label": …}} or such columns'
            )
        if sentence:
            found.append((str(sentence), str(row[LABEL])))
        if len(found) == MOST_ROWS:
            break
    if len(found) < FEWEST_ROWS or len({label for _, label in found}) < 2:
        raise ValueError(f"{path}: at least {FEWEST_ROWS} sentences of two labels are needed; it has {len(found)}")
    sentences, labels = zip(*found, strict=True)
    return Labelled(name=path.name, sentences=sentences, labels=labels)


def _rows(path: Path) -> Iterator[Mapping[str, object]]:
    kind = Path(path.name.removesuffix(".gz")).suffix
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as stream:
            if kind in DELIMITERS:
                yield from csv.DictReader(
                    stream,
                    delimiter=DELIMITERS[kind],
                    quoting=csv.QUOTE_MINIMAL if kind == ".csv" else csv.QUOTE_NONE,
                )
                return
            for number, line in enumerate(stream, start=1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is no JSON object")
                yield row
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as labelled sentences ({error})") from error


def label_reading(represent: Represent, text: Text, labelled: Labelled, seed: int) -> dict[str, str]:
    """{"labels of FILE": how often the vector tells the label of sentences that were kept apart}."""
    coded = [ids[:MOST_PIECES] or [text.end_id] for ids in map(text.coded, labelled.sentences)]
    order = np.random.default_rng(seed).permutation(len(coded))
    asked = max(1, int(ASKED_SHARE * len(coded)))
    vectors = represent([coded[place] for place in order])
    labels = np.array(labelled.labels)[order]
    right = classified(vectors[asked:], labels[asked:].tolist(), vectors[:asked], labels[:asked].tolist())
    common = Counter(labels[asked:].tolist()).most_common(1)[0][0]
    floor = float((labels[:asked] == common).mean())
    return {
        f"labels of {labelled.name}": f"{right:.1%} right of {asked:,} by its vector alone "
        f"(always the most frequent label: {floor:.1%})"
    }


def classified(learned_ND: Vectors, labels: Sequence[str], asked_MD: Vectors, wanted: Sequence[str]) -> float:
    """The share that one ridge reader for each label gets right, the surest of them deciding."""
    names = sorted(set(labels))
    scores_ML = np.stack(
        [scores(learned_ND, np.array([each == name for each in labels]), asked_MD) for name in names], axis=1
    )
    guessed = np.array(names)[scores_ML.argmax(1)]
    return float((guessed == np.array(wanted)).mean())
