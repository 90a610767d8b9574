"""WordPiece: BERT's cutting of words, Korean left whole, and a vocabulary that depends on the texts alone."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.tokenizers import wordpiece
from models.tokenizers.special import SPECIAL_TOKENS
from models.tokenizers.wordpiece import BERT_TOKENS, WordSettings

CHECKOUT = Path(__file__).resolve().parents[3]
TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on; the foxes do not.\n" * 5,
    "모든 국민은 법 앞에 평등하다. 모든 국민은 신체의 자유를 가진다.\n" * 5,
    "Un café noir à côté, s'il vous plaît: 漢字 and 2001.\n" * 5,
]


def pieces(tokenizer: Any, text: str) -> list[str]:
    found: list[str] = tokenizer.encode(text, add_special_tokens=False).tokens
    return found


@pytest.fixture(scope="module")
def fitted() -> Any:
    return wordpiece.fit(TEXTS, vocabulary=400)


def test_a_word_is_cut_into_the_longest_pieces_from_the_left() -> None:
    """BERT's own example: un ##aff ##able (Devlin et al., tokenization.py)."""
    tokenizer = wordpiece.of_vocabulary([*BERT_TOKENS, "un", "##aff", "##able", "runn", "##ing", "##i", "want", "un1"])
    assert pieces(tokenizer, "unaffable running unaffableX") == ["un", "##aff", "##able", "runn", "##ing", "[UNK]"]
    assert tokenizer.decode(tokenizer.encode("unaffable running").ids) == "unaffable running"


def test_merges_are_the_most_frequent_pairs() -> None:
    """Worked by hand: five words begin with a, then three go on with b and two with c; d+a stands once."""
    tokenizer = wordpiece.fit(["ab ab ab ac ac da"], vocabulary=400)
    known = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    assert known[:8] == [*SPECIAL_TOKENS, *BERT_TOKENS]
    assert known[8:] == ["a", "b", "c", "d", "##a", "##b", "##c", "##d", "ab", "ac"]
    assert pieces(tokenizer, "ab acb dab") == ["ab", "ac", "##b", "d", "##a", "##b"]


def test_korean_words_are_cut_at_spaces_and_signs_and_never_into_letters(fitted: Any) -> None:
    cut = [
        word for word, _ in fitted.pre_tokenizer.pre_tokenize_str(fitted.normalizer.normalize_str("국민은, 법 앞에"))
    ]
    assert cut == ["국민은", ",", "법", "앞에"]
    for settings in (WordSettings(), WordSettings(lower_case=True)):
        tokenizer = wordpiece.fit(TEXTS, vocabulary=400, settings=settings)
        assert "".join(pieces(tokenizer, "국민은")).replace("##", "") == "국민은"
    taken_apart = wordpiece.fit(TEXTS, vocabulary=400, settings=WordSettings(strip_accents=True))
    assert "국" not in taken_apart.get_vocab()


def test_case_and_accents_go_as_asked(fitted: Any) -> None:
    lower = wordpiece.fit(TEXTS, vocabulary=400, settings=WordSettings(lower_case=True))
    assert pieces(lower, "THE Café") == pieces(lower, "the café") != pieces(lower, "the cafe")
    assert pieces(fitted, "the") != pieces(fitted, "The")
    bare = wordpiece.fit(TEXTS, vocabulary=400, settings=WordSettings(lower_case=True, strip_accents=True))
    assert pieces(bare, "CAFÉ") == pieces(bare, "cafe")


def test_special_tokens_are_the_first_ids_and_no_text_becomes_one(fitted: Any) -> None:
    specials = (*SPECIAL_TOKENS, *BERT_TOKENS)
    assert [fitted.token_to_id(token) for token in specials] == list(range(len(specials)))
    text = " ".join(specials) + "".join(specials)
    unknown = fitted.token_to_id("[UNK]")
    assert {number for number in fitted.encode(text, add_special_tokens=False).ids if number < len(specials)} <= {
        unknown
    }
    assert pieces(fitted, "the 😀 dog") == ["the", "[UNK]", "dog"]
    assert fitted.encode("the dog").tokens == ["[CLS]", "the", "dog", "[SEP]"]


FIT = """
import hashlib, sys
from models.tokenizers import wordpiece
sys.path.insert(0, sys.argv[1])
from test_wordpiece import TEXTS
print(hashlib.sha256(wordpiece.fit(TEXTS, vocabulary=400).to_str().encode()).hexdigest())
"""


def test_the_fit_depends_on_the_texts_alone(fitted: Any) -> None:
    """Not on their order, the threads or the process, as the library's own trainer of WordPiece does."""
    assert wordpiece.fit(reversed(TEXTS), vocabulary=400).to_str() == fitted.to_str()
    digests = {hashlib.sha256(fitted.to_str().encode()).hexdigest()}
    for threads in ("1", "3"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONPATH": str(CHECKOUT)}
        command = [sys.executable, "-c", FIT, str(Path(__file__).parent)]
        digests.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert len(digests) == 1


def test_rare_characters_are_unknown_and_take_no_room() -> None:
    texts = ["the dog and the fox " * 100 + "ж"]
    whole = wordpiece.fit(texts, vocabulary=100, settings=WordSettings(character_coverage=1.0))
    most = wordpiece.fit(texts, vocabulary=100, settings=WordSettings(character_coverage=0.999))
    assert "ж" in whole.get_vocab()
    assert not [piece for piece in most.get_vocab() if "ж" in piece]


def test_what_cannot_be_fitted_is_refused_in_a_sentence() -> None:
    with pytest.raises(
        ValueError, match=r"^vocabulary: 12 is too small; 16 hold the special tokens and the text's 4 char"
    ):
        wordpiece.fit(["abcd"], vocabulary=12)
    for texts in ([], ["", " \n"]):
        with pytest.raises(ValueError, match=r"^there is no text to fit a tokenizer on$"):
            wordpiece.fit(texts, vocabulary=400)
    with pytest.raises(ValueError, match=r"^not a vocabulary of WordPiece: it has no \[MASK\]"):
        wordpiece.of_vocabulary(["[UNK]", "[CLS]", "[SEP]", "a"])
    with pytest.raises(ValueError, match=r"character_coverage is 0\.5"):
        WordSettings(character_coverage=0.5)


def test_a_published_korean_vocabulary_gives_its_own_pieces(test_data: Path) -> None:
    """The example of KoELECTRA's README, with its ids."""
    path = test_data / "tokenizer_files" / "koelectra_wordpiece_vocab.txt"
    encoded = wordpiece.of_vocabulary(path.read_text(encoding="utf-8").splitlines()).encode(
        "한국어 ELECTRA를 공유합니다."
    )
    assert encoded.tokens == [
        "[CLS]",
        "한국어",
        "E",
        "##L",
        "##EC",
        "##T",
        "##RA",
        "##를",
        "공유",
        "##합니다",
        ".",
        "[SEP]",
    ]
    assert encoded.ids == [2, 18429, 41, 6240, 15229, 6204, 20894, 5689, 12622, 10690, 18, 3]
