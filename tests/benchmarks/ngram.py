"""Counting WikiText-2: time, memory, perplexity and scoring speed, beside KenLM and NLTK where they are installed.

    ESPALIER_TEST_DATA=... python -m tests.benchmarks.ngram > tests/benchmarks/results/ngram.txt

Every line, empty ones too, is a sentence that ends with a predicted `</s>`; `<unk>` is a word like any other.
"""

import importlib.util
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from models.arpa import read_arpa, write_arpa
from models.ngram import NgramModel
from models.ngram_smoothing import NgramConfig
from models.ngram_vocabulary import Vocabulary
from tests.peak import peak_bytes

Result = TypeVar("Result")
ORDER = 5
NLTK_ORDER = 3
NLTK_SECONDS = 30.0


def main() -> None:
    folder = Path(os.environ["ESPALIER_TEST_DATA"]) / "wikitext-2"
    print(f"{date.today()}  python -m tests.benchmarks.ngram")
    print(f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}\n")
    model, vocabulary = count(folder)
    for name in ("valid", "test"):
        score(model, vocabulary, name, lines(folder / f"{name}.txt"))
    print(f"peak memory of all this: {peak_bytes() / 1e6:,.0f} MB\n")
    test = lines(folder / "test.txt")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "wikitext-2.arpa"
        exchange(model, vocabulary, path)
        if importlib.util.find_spec("kenlm"):
            score_with_kenlm(path, test)
        else:
            print("kenlm is not installed")
    if importlib.util.find_spec("nltk"):
        count_with_nltk(lines(folder / "valid.txt"), test)
    else:
        print("nltk is not installed")


def count(folder: Path) -> tuple[NgramModel, Vocabulary[str]]:
    train, reading = timed(lambda: lines(folder / "train.txt"))
    vocabulary, listing = timed(lambda: Vocabulary.of(train, unknown="<unk>", end="</s>"))
    (ids, starts), encoding = timed(lambda: vocabulary.encode(train, end="</s>"))
    config = NgramConfig(order=ORDER)
    model, fitting = timed(lambda: NgramModel.fit(ids, vocabulary_size=len(vocabulary), config=config, starts=starts))
    print(f"modified Kneser-Ney, order {ORDER}, {len(ids):,} tokens, vocabulary {len(vocabulary):,}")
    print(f"n-grams {' '.join(f'{number:,}' for number in model.ngram_counts)}")
    print(f"reading {reading:.2f} s, words to ids {listing + encoding:.2f} s, counting and smoothing {fitting:.2f} s")
    return model, vocabulary


def score(model: NgramModel, vocabulary: Vocabulary[str], name: str, sentences: list[list[str]]) -> None:
    ids, starts = vocabulary.encode(sentences, end="</s>")
    scores, seconds = timed(lambda: model.log_probabilities(ids, starts))
    print(f"{name}: perplexity {np.exp(-scores.mean()):.4f}, {len(ids) / seconds:,.0f} tokens/s")


def exchange(model: NgramModel, vocabulary: Vocabulary[str], path: Path) -> None:
    _, writing = timed(lambda: write_arpa(path, model, vocabulary.tokens))
    _, reading = timed(lambda: read_arpa(path))
    megabytes = path.stat().st_size / 1e6
    print(f"ARPA: {megabytes:,.0f} MB, written in {writing:.1f} s, read in {reading:.1f} s")


def score_with_kenlm(path: Path, sentences: list[list[str]]) -> None:
    import kenlm

    model, loading = timed(lambda: kenlm.Model(str(path)))
    texts = [" ".join(sentence) for sentence in sentences]
    scores, seconds = timed(lambda: [entry[0] for text in texts for entry in model.full_scores(text)])
    print(
        f"KenLM on that file: loaded in {loading:.1f} s, test perplexity {10 ** -np.mean(scores):.4f}, "
        f"{len(scores) / seconds:,.0f} tokens/s"
    )


def count_with_nltk(train: list[list[str]], test: list[list[str]]) -> None:
    """On the small validation text, for as long as patience lasts: it sums over the vocabulary for each token."""
    from nltk.lm import KneserNeyInterpolated
    from nltk.lm.preprocessing import pad_both_ends, padded_everygram_pipeline

    model: Any = KneserNeyInterpolated(NLTK_ORDER)
    _, fitting = timed(lambda: model.fit(*padded_everygram_pipeline(NLTK_ORDER, train)))
    print(f"NLTK, order {NLTK_ORDER} on the validation text: counted in {fitting:.1f} s", end=", ", flush=True)
    scored, started = 0, time.perf_counter()
    for sentence in test:
        padded = list(pad_both_ends(sentence, n=NLTK_ORDER))
        for place in range(NLTK_ORDER - 1, len(padded) - NLTK_ORDER + 2):
            model.score(padded[place], padded[place - NLTK_ORDER + 1 : place])
            scored += 1
        if time.perf_counter() - started > NLTK_SECONDS:
            break
    print(f"{scored / (time.perf_counter() - started):,.1f} tokens/s")


def lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8") as file:
        return [line.split() for line in file]


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


if __name__ == "__main__":
    main()
