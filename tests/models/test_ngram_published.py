"""Numbers on public text that an independent program also gives: word level with estimated discounts, and letters.

WikiText-2's convention here: every line, empty ones too, is a sentence that ends with a predicted `</s>`; `<unk>` is a
word like any other. Tiny Shakespeare: the first nine tenths of the letters are counted, the rest is scored.
"""

from pathlib import Path

import numpy as np
import pytest

from models.ngram import NgramModel, document_starts
from models.ngram_cache import CacheConfig, cached
from models.ngram_smoothing import NgramConfig, Smoothing
from models.ngram_vocabulary import Vocabulary

OUT_OF_VOCABULARY = "<UNK>"


class WikiText:
    """Its validation text, small enough to count in a moment, for training; its test text for scoring."""

    def __init__(self, folder: Path) -> None:
        train, test = (self._lines(folder / name) for name in ("valid.txt", "test.txt"))
        self.vocabulary = Vocabulary.of(train, unknown=OUT_OF_VOCABULARY, end="</s>")
        self.train, self.train_starts = self.vocabulary.encode(train, end="</s>")
        self.test, self.test_starts = self.vocabulary.encode(test, end="</s>")
        self.known = self.test != self.vocabulary[OUT_OF_VOCABULARY]

    @staticmethod
    def _lines(path: Path) -> list[list[str]]:
        with path.open(encoding="utf-8") as file:
            return [line.split() for line in file]

    def scores(self, order: int, smoothing: Smoothing = "modified_kneser_ney") -> np.ndarray:
        config = NgramConfig(order=order, smoothing=smoothing, added_count=0.01)
        model = NgramModel.fit(
            self.train, vocabulary_size=len(self.vocabulary), config=config, starts=self.train_starts
        )
        return model.log_probabilities(self.test, self.test_starts)


@pytest.fixture(scope="module")
def wikitext(test_data: Path) -> WikiText:
    return WikiText(test_data / "wikitext-2")


@pytest.fixture(scope="module")
def letters(test_data: Path) -> tuple[str, str]:
    text = (test_data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    cut = len(text) * 9 // 10
    return text[:cut], text[cut:]


def perplexity(log_probabilities: np.ndarray) -> float:
    return float(np.exp(-log_probabilities.mean()))


@pytest.mark.parametrize(
    ("order", "all_words", "known_words"),
    [(1, 869.1810, 662.3255), (2, 390.0089, 281.4910), (3, 370.2053, 266.2689), (5, 366.1311, 263.4692)],
)
def test_wikitext_perplexities(wikitext: WikiText, order: int, all_words: float, known_words: float) -> None:
    assert len(wikitext.vocabulary) == 13_778
    assert np.count_nonzero(~wikitext.known) == 11_896
    scores = wikitext.scores(order)
    assert perplexity(scores) == pytest.approx(all_words, abs=1e-3)
    assert perplexity(scores[wikitext.known]) == pytest.approx(known_words, abs=1e-3)


def test_estimates_rank_as_the_field_has_found(wikitext: WikiText) -> None:
    modified, single, added = (
        perplexity(wikitext.scores(3, name)) for name in ("modified_kneser_ney", "kneser_ney", "add_k")
    )
    assert modified < single < added < np.inf
    assert perplexity(wikitext.scores(2, "maximum_likelihood")) == np.inf


def test_a_cache_helps_where_words_come_again(wikitext: WikiText) -> None:
    scores = wikitext.scores(3)
    with_cache = cached(scores, wikitext.test, CacheConfig(share=0.1, half_life_tokens=300))
    assert perplexity(with_cache) < 0.85 * perplexity(scores)


@pytest.mark.parametrize(
    ("order", "by_line", "stream"),
    [(3, 2.0592, 2.0382), (5, 1.5880, 1.5613), (6, 1.5431, 1.5227), (7, 1.5341, 1.5166)],
)
def test_letters_of_shakespeare(letters: tuple[str, str], order: int, by_line: float, stream: float) -> None:
    train, held_out = letters
    assert (len(train), len(held_out)) == (1_003_854, 111_540)
    lines = Vocabulary.of([train, held_out])
    assert len(lines) == 65
    newline = lines["\n"]
    assert nats_of_letters(lines, letters, order, newline, start_mark=True) == pytest.approx(by_line, abs=1e-4)
    # the published stream is one sentence with one </s> at its end; without both it differs by what that </s> costs
    whole = Vocabulary.of([train, held_out], end="</s>")
    assert nats_of_letters(whole, letters, order, None, start_mark=True) == pytest.approx(stream, abs=1e-4)
    assert nats_of_letters(lines, letters, order, None, start_mark=False) == pytest.approx(stream, abs=2e-4)


def nats_of_letters(
    vocabulary: Vocabulary[str], texts: tuple[str, str], order: int, newline: int | None, *, start_mark: bool
) -> float:
    """Of each held-out letter; documents are lines where `newline` is given."""
    end = "</s>" if "</s>" in vocabulary.tokens else None
    train, held_out = (vocabulary.encode([text], end=end)[0] for text in texts)
    starts = [None if newline is None else document_starts(ids, newline) for ids in (train, held_out)]
    config = NgramConfig(order=order, fallback_discounts=(0.5, 1.0, 1.5), start_mark=start_mark)
    model = NgramModel.fit(train, vocabulary_size=len(vocabulary), config=config, starts=starts[0])
    return float(-model.log_probabilities(held_out, starts[1]).mean())
