"""SentencePiece: the library's own ids on any text, every text comes back, and its published goldens."""

import gzip
import hashlib
import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor

from models.tokenizers import sentencepiece
from models.tokenizers.sentencepiece import BYTE_PIECES, SPELLED_OUT, PieceSettings
from models.tokenizers.special import SPECIAL_TOKENS

CHECKOUT = Path(__file__).resolve().parents[3]
KINDS = ("unigram", "bpe")
GIVEN = len(SPECIAL_TOKENS) + 1 + len(BYTE_PIECES)
SMALLEST = GIVEN + len(SPELLED_OUT)
TEXTS = [
    "def f(value):\n    return value + 1  # the value and one\n" * 5,
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.\r\n" * 5,
    "모든 국민은 법 앞에 평등하다. 모든 국민은 신체의 자유를 가진다. ㅋㅋㅋㅋㅋㅋㅋ ㅠㅠㅠ\n" * 5,
    "In 1984 and 2001 and 2010 there were 365 days, 8760 hours. -----------\n" * 5,
]
SETTINGS = {
    "plain": PieceSettings(),
    "prefixed": PieceSettings(dummy_prefix=True, split_digits=False, character_coverage=0.99),
}


def ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


def random_texts(count: int, seed: int) -> Iterator[str]:
    """Of few letters, so that ways to cut are many and equal, and of all of Unicode."""
    chance = random.Random(seed)
    pools = (
        [chr(code) for code in range(128)],
        [*"👩‍👩‍👧🏽é\u0301한ᄒ\u1161\u11abม\u0e33\u202e\u200f\u2028\ufeff \r\n\t\x00"],
        [*"ㅋㅋㅋㅋㅠㅠ--..  "],
        [*" aabbе<0x41>unk|endtf"],
        [*"".join(TEXTS)],
        [chr(code) for code in (*range(0x80, 0xD800, 97), *range(0xE000, 0x110000, 9973))],
    )
    for _ in range(count):
        yield "".join(chance.choices(chance.choice(pools), k=chance.randrange(1, 40)))
    yield from (*TEXTS, "".join(SPECIAL_TOKENS), "<unk><0x41><0x0A>", "", " ", "  \n\n  ")


@pytest.fixture(scope="module", params=[(kind, name) for kind in KINDS for name in SETTINGS], ids=str)
def fitted(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The same model, read by sentencepiece and by us."""
    kind, name = request.param
    model = sentencepiece.train(TEXTS, kind=kind, vocabulary=SMALLEST + 250, settings=SETTINGS[name])
    tokenizer = sentencepiece.convert(model, kind=kind, settings=SETTINGS[name])
    return SentencePieceProcessor(model_proto=model), tokenizer


def test_sentencepiece_gives_the_same_ids_and_every_text_comes_back(fitted: tuple[Any, Any]) -> None:
    theirs, ours = fitted
    for text in random_texts(10_000, seed=1):
        found = ids(ours, text)
        assert found == theirs.encode(text), repr(text)
        assert ours.decode(found, skip_special_tokens=False) == text


def test_sentencepieces_own_sign_for_a_space_comes_back_too(fitted: tuple[Any, Any]) -> None:
    theirs, ours = fitted
    text = "a\u2581b \u2581"
    assert theirs.decode(theirs.encode(text)) == "a b  "
    assert ours.decode(ids(ours, text)) == text


def test_special_tokens_are_the_first_ids_and_no_text_becomes_one(fitted: tuple[Any, Any]) -> None:
    _, ours = fitted
    assert [ours.token_to_id(token) for token in (*SPECIAL_TOKENS, "<unk>", "<0x00>")] == [0, 1, 2, 3, 4, 5]
    chance = random.Random(2)
    for _ in range(500):
        text = "".join(chance.choices([*SPECIAL_TOKENS, "<|", "<unk>", "<0x41>", "user", " ", "a", "\n"], k=8))
        found = ids(ours, text)
        assert min(found) > len(SPECIAL_TOKENS)
        assert not {number for number in found if len(SPECIAL_TOKENS) < number < GIVEN} - {5 + ord("\n")}
        assert ours.decode(found) == text


@pytest.mark.parametrize("kind", KINDS)
def test_on_novels_and_korean_too(kind: sentencepiece.Kind, test_data: Path) -> None:
    """An English novel, Korean law and reviews learned; a Japanese novel met for the first time."""
    botchan = (test_data / "tokenizer_files" / "botchan.txt").read_text(encoding="utf-8")
    law = (test_data / "ko_public_text" / "constitution.txt").read_text(encoding="utf-8")
    reviews = (test_data / "nsmc" / "ratings_test.txt").read_text(encoding="utf-8")[:80_000]
    with gzip.open(test_data / "tokenizer_files" / "wagahaiwa_nekodearu.txt.gz", "rt", encoding="utf-8") as novel:
        unseen = novel.read(30_000)
    learned = [botchan[:60_000], law, reviews[:40_000]]
    model = sentencepiece.train(learned, kind=kind, vocabulary=2500, settings=PieceSettings())
    theirs = SentencePieceProcessor(model_proto=model)
    ours = sentencepiece.convert(model, kind=kind, settings=PieceSettings())
    assert ours.get_vocab_size() == 2500
    for text in (botchan, law, reviews, unseen):
        for part in (text, *text.splitlines(keepends=True)):
            assert ids(ours, part) == theirs.encode(part), repr(part[:100])
        assert ours.decode(ids(ours, text)) == text


@pytest.mark.parametrize(
    ("texts", "learned"),
    [
        (["abracadabra"], "ab ra abra ad cad abracad abracadabra ac br a b r c d"),
        (["pen", "pineapple", "apple"], "ap le app apple en in ine pen p e a l n i"),
        (["hellohe"], "he ll llo hello hellohe el lo oh hel ohe e h l o"),
    ],
)
def test_bpe_goldens_of_sentencepiece(texts: list[str], learned: str) -> None:
    """bpe_model_trainer_test.cc: pairs in their order, then the letters; ours has the letters of special tokens besides."""
    wanted = learned.split()
    merged, letters = [each for each in wanted if len(each) > 1], [each for each in wanted if len(each) == 1]
    vocabulary = GIVEN + len(merged) + len({*letters, *SPELLED_OUT})
    tokenizer = sentencepiece.fit(
        texts, kind="bpe", vocabulary=vocabulary, settings=PieceSettings(character_coverage=1)
    )
    found = [tokenizer.id_to_token(number) for number in range(GIVEN, vocabulary)]
    assert found[: len(merged)] == merged
    assert [each for each in found[len(merged) :] if each in letters] == letters


def test_where_two_ways_to_a_piece_overlap_the_left_one_has_the_better_rank() -> None:
    """ "ab", "a", "ba" may become (ab a) ba or ab (a ba): sentencepiece takes the left."""
    assert sentencepiece.merges(["ab", "ba", "aba", "a", "b"]) == [("a", "b"), ("b", "a"), ("ab", "a"), ("a", "ba")]
    assert sentencepiece.merges(["ab", "ba", "ababa", "aba", "a", "b"])[2:4] == [("ab", "aba"), ("aba", "ba")]


def test_unigram_finds_the_best_of_all_segmentations() -> None:
    """Beside brute force: every way to cut up to eleven characters."""
    model = sentencepiece.train(TEXTS, kind="unigram", vocabulary=SMALLEST + 250, settings=PieceSettings())
    theirs = SentencePieceProcessor(model_proto=model)
    scores = {theirs.id_to_piece(number): theirs.get_score(number) for number in range(GIVEN, len(theirs))}
    tokenizer = sentencepiece.convert(model, kind="unigram", settings=PieceSettings())
    chance = random.Random(4)
    joined = "".join(TEXTS).replace("\r", "").replace("\n", " ")
    for _ in range(25):
        start = chance.randrange(len(joined) - 11)
        text = joined[start : start + 11]
        found = sum(theirs.get_score(number) for number in ids(tokenizer, text))
        cuts = itertools.product((True, False), repeat=len(text) - 1)
        ways = (pieces_of(text.replace(" ", "\u2581"), cut) for cut in cuts)
        best = max(sum(scores[piece] for piece in way) for way in ways if scores.keys() >= set(way))
        assert found == pytest.approx(best, abs=1e-9)


def pieces_of(text: str, cuts: tuple[bool, ...]) -> list[str]:
    places = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(places)]


FIT = """
import hashlib, sys
from models.tokenizers import sentencepiece
sys.path.insert(0, sys.argv[1])
from test_sentencepiece import SMALLEST, TEXTS
for kind in ("unigram", "bpe"):
    fitted = sentencepiece.fit(TEXTS, kind=kind, vocabulary=SMALLEST + 250)
    print(hashlib.sha256(fitted.to_str().encode()).hexdigest())
"""


def test_the_fit_depends_on_the_texts_alone() -> None:
    here = [sentencepiece.fit(TEXTS, kind=kind, vocabulary=SMALLEST + 250) for kind in KINDS]  # type: ignore[arg-type]
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", FIT, str(Path(__file__).parent)]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert there == [hashlib.sha256(tokenizer.to_str().encode()).hexdigest() for tokenizer in here]


@pytest.mark.parametrize("kind", KINDS)
def test_digits_are_cut_as_asked(kind: sentencepiece.Kind) -> None:
    for split, fewest in ((True, 4), (False, 1)):
        settings = PieceSettings(split_digits=split)
        tokenizer = sentencepiece.fit(["2001 2002 2001\n" * 30], kind=kind, vocabulary=SMALLEST + 40, settings=settings)
        assert len(ids(tokenizer, "2001")) == fewest


def test_normalization_is_unicodes_own() -> None:
    """Decomposed Korean is composed whole; nmt_nfkc also makes plain spaces of all others and drops control characters."""
    decomposed = "\u1112\u1161\u11ab\u1100\u116e\u11a8"
    for kind in KINDS:
        fitted = {
            name: sentencepiece.fit(
                TEXTS, kind=kind, vocabulary=SMALLEST + 200, settings=PieceSettings(normalization=name)  # type: ignore[arg-type]
            )
            for name in ("identity", "nfkc", "nmt_nfkc")
        }  # fmt: skip
        assert fitted["identity"].decode(ids(fitted["identity"], decomposed)) == decomposed
        assert fitted["nfkc"].decode(ids(fitted["nfkc"], decomposed + "ＡＢ")) == "한국AB"
        assert fitted["nmt_nfkc"].decode(ids(fitted["nmt_nfkc"], "a\u200bb\x01\u3000ｃ")) == "a b c"


def test_a_long_line_is_read_to_its_end() -> None:
    """sentencepiece leaves out sentences beyond its limit without a word."""
    line = "word " * 2000 + "zebrafish " * 3000
    tokenizer = sentencepiece.fit([line], kind="bpe", vocabulary=SMALLEST + 30)
    assert len(ids(tokenizer, " zebrafish")) == 1


def test_what_the_trainer_keeps_for_itself_spoils_no_text() -> None:
    text = "NUL \x00 tab\there \u2585 \u2581 and words\n" * 20
    for kind in KINDS:
        tokenizer = sentencepiece.fit([text], kind=kind, vocabulary=SMALLEST + 30)  # type: ignore[arg-type]
        assert tokenizer.decode(ids(tokenizer, text)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_fitted_is_refused_in_a_sentence(kind: sentencepiece.Kind) -> None:
    many = ["".join(chr(code) for code in range(0xAC00, 0xAC00 + 2000))]
    for texts, vocabulary in ((TEXTS, 100), (many, 1000)):
        with pytest.raises(
            ValueError, match=rf"^vocabulary: {vocabulary} is too small for .* lower character_coverage$"
        ):
            sentencepiece.fit(texts, kind=kind, vocabulary=vocabulary)
    for texts in ([], ["", "\n \n"]):
        with pytest.raises(ValueError, match=r"^there is no text to fit a tokenizer on$"):
            sentencepiece.fit(texts, kind=kind, vocabulary=1000)
    with pytest.raises(ValueError, match=r"character_coverage is 1.5; it is a share from 0.9 to 1"):
        PieceSettings(character_coverage=1.5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_while_texts_are_read_is_not_hidden(kind: sentencepiece.Kind) -> None:
    def broken() -> Iterator[str]:
        yield "a text"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        sentencepiece.fit(broken(), kind=kind, vocabulary=1000)


def test_a_short_text_gives_fewer_tokens_than_asked() -> None:
    for kind in KINDS:
        assert sentencepiece.fit(["ab ab"], kind=kind, vocabulary=4096).get_vocab_size() < SMALLEST + 10  # type: ignore[arg-type]
