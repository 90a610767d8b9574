"""Byte-level BPE: every text comes back, special tokens stay out of ordinary text, and the fit is deterministic."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from models.tokenizers import bpe
from models.tokenizers.special import SPECIAL_TOKENS

CHECKOUT = Path(__file__).resolve().parents[3]
TEXTS = [
    "def f(value):\n    return value + 1  # the value and one\n" * 5,
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.\n" * 5,
    "모든 국민은 법 앞에 평등하다. 모든 국민은 신체의 자유를 가진다.\n" * 5,
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ\n" * 5,
    "In 1984 and 2001 and 2010 there were 365 days, 8760 hours.\n" * 5,
]


def ids(tokenizer: bpe.Tokenizer, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


@pytest.fixture(scope="module")
def tokenizer() -> bpe.Tokenizer:
    return bpe.fit(TEXTS, vocabulary=500)


def test_any_unicode_text_comes_back_as_it_was(tokenizer: bpe.Tokenizer) -> None:
    chance = random.Random(1)
    pools = (
        [chr(code) for code in range(128)],
        [*"👩‍👩‍👧🏽é\u0301한ᄒ\u1161\u11abม\u0e33\u202e\u200f\u2028\ufeff \r\n\t\x00"],
        [chr(code) for code in (*range(0x80, 0xD800, 97), *range(0xE000, 0x110000, 9973))],
    )
    for _ in range(10_000):
        text = "".join(chance.choices(chance.choice(pools), k=chance.randrange(1, 30)))
        assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=False) == text


def test_special_tokens_are_the_first_ids_and_no_text_becomes_one(tokenizer: bpe.Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    chance = random.Random(2)
    for _ in range(500):
        text = "".join(chance.choices([*SPECIAL_TOKENS, "<|", "|>", "user", " ", "a", "\n"], k=8))
        assert min(ids(tokenizer, text)) >= len(SPECIAL_TOKENS)
        assert tokenizer.decode(ids(tokenizer, text)) == text


def test_text_full_of_special_tokens_teaches_no_merge_into_one() -> None:
    tokenizer = bpe.fit(["<|pad|><|endoftext|> <|im_start|>\n" * 50] * 20, vocabulary=400)
    assert min(ids(tokenizer, "<|pad|><|endoftext|> <|im_start|>")) >= len(SPECIAL_TOKENS)
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]


def test_merges_are_the_most_frequent_pairs() -> None:
    """Worked by hand: a+b stands 6 times; then space+ab and ab+c 3 times, the smaller left id first; then _ab+c twice."""
    tokenizer = bpe.fit(["abc abc abc", "abd abd", "abe"], vocabulary=260 + 3)
    merged = {token: id for token, id in tokenizer.get_vocab().items() if id >= 260}
    assert merged == {"ab": 260, "\u0120ab": 261, "\u0120abc": 262}


def test_the_loaded_tokenizer_is_the_saved_one(tokenizer: bpe.Tokenizer, tmp_path: Path) -> None:
    bpe.save(tokenizer, tmp_path)
    loaded = bpe.load(tmp_path)
    for text in (*TEXTS, "<|endoftext|> in a text"):
        assert ids(loaded, text) == ids(tokenizer, text)
    bpe.save(loaded, tmp_path / "..")
    assert (tmp_path / ".." / bpe.TOKENIZER_FILE).read_bytes() == (tmp_path / bpe.TOKENIZER_FILE).read_bytes()
    with pytest.raises(ValueError, match=r"there is no tokenizer\.json; fit a tokenizer first"):
        bpe.load(tmp_path / "empty")


FIT = """
import hashlib, sys
from models.tokenizers import bpe
sys.path.insert(0, sys.argv[1])
from test_bpe import TEXTS
print(hashlib.sha256(bpe.fit(TEXTS, vocabulary=500).to_str().encode()).hexdigest())
"""


def test_the_fit_depends_on_the_texts_alone(tokenizer: bpe.Tokenizer) -> None:
    """Not on the order of the texts, on the number of threads, or on Python's hashes."""
    assert bpe.fit(reversed(TEXTS), vocabulary=500).to_str() == tokenizer.to_str()
    digests = set()
    for threads, seed in (("1", "0"), ("2", "1"), ("4", "2")):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": seed, "PYTHONPATH": str(CHECKOUT)}
        command = [sys.executable, "-c", FIT, str(Path(__file__).parent)]
        digests.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(digests) == 1


@pytest.mark.parametrize(("digits", "pieces"), [("single", 8), ("triples", 3), ("runs", 1)])
def test_digits_are_cut_as_asked(digits: str, pieces: int) -> None:
    """With every run of digits frequent, the fewest tokens a number can have is the number of its cuts."""
    texts = [f"{number:08}\n" * 3 for number in range(0, 99_999_999, 12_345_678)]
    spelling = bpe.Spelling(digits=digits)  # type: ignore[arg-type]
    assert len(ids(bpe.fit(texts, vocabulary=1000, spelling=spelling), "12345678")) == pieces


def test_nfc_makes_two_spellings_one() -> None:
    spelling = bpe.Spelling(normalization="nfc")
    tokenizer = bpe.fit(TEXTS, vocabulary=500, spelling=spelling)
    assert ids(tokenizer, "cafe\u0301 \u1112\u1161\u11ab") == ids(tokenizer, "caf\u00e9 한")
    assert ids(bpe.fit(TEXTS, vocabulary=500), "cafe\u0301") != ids(bpe.fit(TEXTS, vocabulary=500), "caf\u00e9")


def test_marks_stay_with_their_letters(tokenizer: bpe.Tokenizer) -> None:
    """Thai vowels are marks: cut off, no token could hold a syllable."""
    pieces = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str("ที่นี่")]
    assert len(pieces) == 1


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(
        ValueError, match="vocabulary: 259 is too small; 260 hold the bytes and the special tokens alone"
    ):
        bpe.fit(TEXTS, vocabulary=259)
    assert bpe.fit(TEXTS, vocabulary=260).get_vocab_size() == 260


def test_a_short_text_gives_fewer_tokens_than_asked() -> None:
    tokenizer = bpe.fit(["ab ab"], vocabulary=4096)
    assert 260 < tokenizer.get_vocab_size() < 270
