"""What is measured of a tokenizer, beside counts made by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.tokenizers import bpe, gpt2, sentencepiece, wordpiece
from tasks.tokenization.measure import measure, tokens_in_words


@pytest.mark.parametrize(
    ("text", "offsets", "counted"),
    [
        ("ab cd", [(0, 1), (1, 2), (2, 5)], [2, 1]),  # the last token is a space and a word
        ("ab cd", [(0, 2), (2, 3), (3, 5)], [1, 1]),  # the space alone belongs to no word
        ("한", [(0, 1), (0, 1), (0, 1)], [3]),  # three bytes of one syllable
        ("ab  cd ", [(0, 4), (4, 4), (4, 7)], [1, 1]),
        ("a b", [(0, 3)], [1, 1]),
        ("  ", [(0, 2)], []),
        ("", [], []),
    ],
)
def test_a_token_counts_in_every_word_that_it_has_a_part_in(
    text: str, offsets: list[tuple[int, int]], counted: list[int]
) -> None:
    assert tokens_in_words(text, offsets).tolist() == counted


def test_bytes_alone() -> None:
    """Byte-level BPE without a merge: a token for each byte, nothing unknown, every longer word split."""
    got = measure(bpe.fit([], vocabulary=261), ["한국 a\n", "bcd"])
    assert (got.bytes, got.characters, got.tokens, got.words) == (12, 8, 12, 3)
    assert (got.bytes_per_token, got.unknown_share) == (1.0, 0.0)
    assert (got.word_tokens, got.split_words) == (6 + 1 + 3, 2)
    assert got.fertility == pytest.approx(10 / 3)
    assert got.split_word_share == pytest.approx(2 / 3)
    assert got.megabytes_per_second > 0


def test_what_is_unknown_is_counted() -> None:
    pieces = [*wordpiece.BERT_TOKENS, "dog", "##s", "a"]
    got = measure(wordpiece.of_vocabulary(pieces), ["dogs 😉 a dog"])
    assert (got.tokens, got.words, got.unknown, got.split_words) == (5, 4, 1, 1)
    assert got.unknown_share == 0.2
    assert got.fertility == 1.25


def test_a_script_without_spaces_has_no_words() -> None:
    got = measure(bpe.fit([], vocabulary=261), ["มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ"])
    assert (got.fertility, got.split_word_share) == (None, None)


def test_every_kind_counts_words_alike() -> None:
    """With a token for each word, spaces with it or apart, every kind has one token in a word."""
    texts = ["hello there\n" * 50]
    kinds: dict[str, Any] = {
        "bpe": bpe.fit(texts, vocabulary=300),
        "sentencepiece_bpe": sentencepiece.fit(texts, kind="bpe", vocabulary=320),
        "wordpiece": wordpiece.fit(texts, vocabulary=60),
    }
    for tokenizer in kinds.values():
        got = measure(tokenizer, ["hello there hello"])
        assert (got.words, got.fertility, got.split_word_share) == (3, 1.0, 0.0)


def test_nothing_to_measure_is_refused() -> None:
    for texts in ([], [""]):
        with pytest.raises(ValueError, match="there is no text to measure a tokenizer on"):
            measure(bpe.fit([], vocabulary=261), texts)


def test_gpt2_takes_seven_times_as_many_tokens_for_a_korean_word(test_data: Path) -> None:
    """Petrov et al. 2023 found such premiums on parallel texts; here Korean law beside an English novel."""
    folder = test_data / "tokenizer_files"
    tokenizer = gpt2.load(folder / "GPT2.encoder.json", folder / "GPT2.vocab.bpe")
    english = measure(tokenizer, [(folder / "botchan.txt").read_text(encoding="utf-8")[:40_000]])
    korean = measure(tokenizer, [(test_data / "ko_public_text" / "constitution.txt").read_text(encoding="utf-8")])
    assert english.fertility is not None
    assert korean.fertility is not None
    assert english.fertility < 1.5 < 5 < korean.fertility
    assert np.isclose(english.bytes_per_token * english.tokens, english.bytes)
