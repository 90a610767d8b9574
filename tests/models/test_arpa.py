"""ARPA files written by hand and read, and models written and read again."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from models.arpa import read_arpa, write_arpa
from models.ngram import NgramModel
from models.ngram_smoothing import NgramConfig
from models.ngram_vocabulary import Vocabulary

# Blanks for tabs, a comment, back-offs left out, `<s>` in the middle, n-grams in no order, "the cat" without its suffix
# among them: what other programs write. The <unk> of "cat <unk>" is a word like any other.
BY_HAND = """made by hand

\\data\\
ngram 1=6
ngram 2=5
ngram 3=2

\\1-grams:
-1.5\tthe\t-0.5
-99\t<s>\t-0.25
-2\tcat\t-0.125
-1\t</s>
-3\t<unk>\t-4
-2.5 cafe\u00a0noir -0

\\2-grams:
-0.75\tthe cat\t-0.0625
-0.5\t<s> the\t-1
-0.625\tcat <unk>
-0.375\tcat </s>
-0.875\tthe cafe\u00a0noir

\\3-grams:
-0.2\tthe cat </s>
-0.1\t<s> the cat

\\end\\
"""


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    path = tmp_path / "by_hand.arpa"
    path.write_text(BY_HAND, encoding="utf-8")
    return path


def small_model(
    *, start_mark: bool = True, order: int = 3
) -> tuple[NgramModel, Vocabulary[str], np.ndarray, np.ndarray]:
    documents = [["a", "a", "b", "a"], ["b", "a", "a", "b"]]
    vocabulary = Vocabulary.of(documents, unknown="<unk>", end="</s>" if start_mark else None)
    ids, starts = vocabulary.encode(documents, end="</s>" if start_mark else None)
    config = NgramConfig(order=order, fallback_discounts=(0.5, 1.0, 1.5), start_mark=start_mark)
    model = NgramModel.fit(ids, vocabulary_size=len(vocabulary), config=config, starts=starts)
    return model, vocabulary, ids, starts


def log10_scores(path: Path, *sentences: str) -> list[float]:
    model, vocabulary = read_arpa(path)
    ids, starts = vocabulary.encode([sentence.split(" ") for sentence in sentences], end="</s>")
    return (model.log_probabilities(ids, starts) / np.log(10)).tolist()


def test_scores_of_a_file_written_by_hand(by_hand: Path) -> None:
    assert log10_scores(by_hand, "the cat") == pytest.approx([-0.5, -0.1, -0.2])
    # cat after <s>: back-off of <s>; an unknown word: listed after cat; </s> after it: cat <unk> 0, <unk> -4
    assert log10_scores(by_hand, "cat dog") == pytest.approx([-0.25 - 2, -0.625, -4 - 1])
    # after <s> the: no trigram, back-off -1, then the bigram; </s> after "the cafe": 0, after "cafe": -0
    assert log10_scores(by_hand, "the cafe\u00a0noir") == pytest.approx([-0.5, -1 - 0.875, -1])
    # two sentences do not see each other; the the: -1 of "<s> the", -0.5 of "the"
    assert log10_scores(by_hand, "the the", "the") == pytest.approx(
        [-0.5, -1 - 0.5 - 1.5, -0.5 - 1, -0.5, -1 - 0.5 - 1]
    )


def test_words_and_sizes_of_a_file_written_by_hand(by_hand: Path) -> None:
    model, vocabulary = read_arpa(by_hand)
    assert vocabulary.tokens == ("the", "cat", "</s>", "<unk>", "cafe\u00a0noir")
    assert (model.order, model.ngram_counts, model.start_mark) == (3, (6, 5, 2), True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ngram 2=5", "ngram 2=6", r"line 22: expected a probability, 2 word\(s\)"),
        ("ngram 2=5", "ngram 2=4", r"line 21: expected \\3-grams: here; does the count"),
        ("ngram 2=5", "ngram 3=5", "line 5: expected 'ngram 2=<count>'"),
        ("-0.5\t<s> the", "0.5\t<s> the", "line 18: the logarithm of a probability cannot be above 0"),
        ("-0.5\t<s> the", "half\t<s> the", "line 18: expected numbers"),
        ("-0.5\t<s> the", "nan\t<s> the", "line 18: the logarithm"),
        ("cat <unk>", "cat dog", "line 19: 'dog' is not among the 1-grams"),
        ("cat <unk>", "cat </s>", "line 21: a 2-gram is listed twice"),
        ("-2\tcat", "-2\tthe", "line 11: 'the' is listed twice"),
        ("-0.1\t<s> the cat", "-0.1\t<s> cat the", "a 3-gram begins with a 2-gram that the file does not list"),
        ("\\end\\", "", r"the file ends before"),
        ("\\data\\", "", r"the file ends before"),
    ],
)
def test_broken_files_are_refused_with_the_line(by_hand: Path, old: str, new: str, message: str) -> None:
    assert old in BY_HAND
    by_hand.write_text(BY_HAND.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as refusal:
        read_arpa(by_hand)
    assert str(by_hand) in str(refusal.value)


def test_a_file_that_is_not_utf8_is_refused_with_the_line(by_hand: Path) -> None:
    by_hand.write_bytes(BY_HAND.encode("latin-1"))
    with pytest.raises(ValueError, match=r"line 14: .* is not UTF-8"):
        read_arpa(by_hand)


def test_what_is_written_is_the_golden_text(tmp_path: Path) -> None:
    # every number is lmplz's own (toy0.arpa, order 3, fallback 0.5 1 1.5) to the digits it prints
    model, vocabulary, _, _ = small_model()
    write_arpa(tmp_path / "toy.arpa", model, vocabulary.tokens)
    lines = (tmp_path / "toy.arpa").read_text().splitlines()
    assert lines[:4] == ["\\data\\", "ngram 1=5", "ngram 2=7", "ngram 3=7"]
    entries = {tuple(line.split("\t")[1:]): float(line.split("\t")[0]) for line in lines if "\t" in line}
    assert len(entries) == 19
    backoff = "-0.301029996"  # log10 1/2
    assert entries[("<s>", backoff)] == 0
    assert entries[("<unk>", "0")] == pytest.approx(-0.90309, abs=1e-6)
    assert entries[("</s>", "0")] == pytest.approx(-0.5720968, abs=1e-6)
    assert entries[("<s> a", backoff)] == pytest.approx(-0.37712017, abs=1e-6)
    assert entries[("b a </s>",)] == pytest.approx(-0.42082912, abs=1e-6)
    assert lines[-1] == "\\end\\"


@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz"])
@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("start_mark", [True, False])
def test_written_and_read_again_it_scores_the_same(tmp_path: Path, start_mark: bool, order: int, name: str) -> None:
    model, vocabulary, ids, starts = small_model(start_mark=start_mark, order=order)
    write_arpa(tmp_path / name, model, vocabulary.tokens)
    again, words = read_arpa(tmp_path / name)
    assert words.tokens[: len(vocabulary)] == vocabulary.tokens
    assert again.start_mark == (start_mark and order > 1)  # of one order alone nothing stands after <s>
    expected = model.log_probabilities(ids, starts)
    np.testing.assert_allclose(again.log_probabilities(ids, starts), expected, rtol=1e-7)
    if name.endswith(".gz"):
        assert gzip.decompress((tmp_path / name).read_bytes()).startswith(b"\\data\\\n")
    assert "</s>" in words.tokens  # which other programs insist on


def test_tokens_that_the_format_cannot_hold_are_refused(tmp_path: Path) -> None:
    model = NgramModel.fit(
        np.array([0, 1, 0]), vocabulary_size=2, config=NgramConfig(order=2, fallback_discounts=(0.5, 1, 1.5))
    )
    path = tmp_path / "model.arpa"
    for token in ("a b", "a\tb", "\n", ""):
        with pytest.raises(ValueError, match="parts words by blanks"):
            write_arpa(path, model, ["a", token])
    with pytest.raises(ValueError, match="<s> names the start"):
        write_arpa(path, model, ["a", "<s>"])
    with pytest.raises(ValueError, match="expected 2 different tokens"):
        write_arpa(path, model, ["a", "a"])
    with pytest.raises(ValueError, match="expected 2 different tokens"):
        write_arpa(path, model, ["a"])
    assert not path.exists()


@pytest.mark.parametrize("smoothing", ["stupid_backoff", "add_k", "maximum_likelihood"])
def test_scores_that_are_no_backed_off_probabilities_are_not_written(tmp_path: Path, smoothing: str) -> None:
    config = NgramConfig(order=2, smoothing=smoothing)  # type: ignore[arg-type]
    model = NgramModel.fit(np.array([0, 1, 0]), vocabulary_size=2, config=config)
    with pytest.raises(ValueError, match="Kneser-Ney's alone"):
        write_arpa(tmp_path / "model.arpa", model, ["a", "b"])


@pytest.mark.skipif(importlib.util.find_spec("kenlm") is None, reason="kenlm is not installed")
@pytest.mark.parametrize("start_mark", [True, False])
def test_kenlm_reads_what_is_written_and_scores_it_alike(tmp_path: Path, start_mark: bool) -> None:
    import kenlm

    model, vocabulary, _, _ = small_model(start_mark=start_mark)
    path = tmp_path / "model.arpa"
    write_arpa(path, model, vocabulary.tokens)
    sentences = [["a", "a", "b", "never", "a"], ["b"], ["never", "never"], ["b", "a", "a", "b", "b", "a"]]
    ids, starts = vocabulary.encode(sentences, end="</s>" if start_mark else None)
    reader = kenlm.Model(str(path))
    entries = [
        entry
        for sentence in sentences
        for entry in reader.full_scores(" ".join(sentence), bos=start_mark, eos=start_mark)
    ]
    ours = model.log_probabilities(ids, starts) / np.log(10)
    np.testing.assert_allclose(ours, [entry[0] for entry in entries], rtol=1e-6)
    assert model.matched_orders(ids, starts).tolist() == [entry[1] for entry in entries]


@pytest.mark.skipif(importlib.util.find_spec("kenlm") is None, reason="kenlm is not installed")
def test_kenlm_and_the_reader_agree_on_a_file_written_by_hand(by_hand: Path) -> None:
    import kenlm

    strict = BY_HAND.removeprefix("made by hand\n\n").replace("-2.5 cafe\u00a0noir -0", "-2.5\tcafe\u00a0noir\t-0")
    by_hand.write_text(strict, encoding="utf-8")  # it takes no comments, and tabs alone
    reader = kenlm.Model(str(by_hand))
    for sentence in ("the cat", "cat dog", "the cafe\u00a0noir", "the the", "dog dog cat the cat"):
        expected = [entry[0] for entry in reader.full_scores(sentence)]
        np.testing.assert_allclose(log10_scores(by_hand, sentence), expected, rtol=1e-6)
