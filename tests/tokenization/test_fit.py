"""The tokenizer of a corpus is fitted on its training documents alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.tokenizers import bpe
from models.tokenizers.bpe import Spelling
from models.tokenizers.sentencepiece import PieceSettings
from models.tokenizers.wordpiece import WordSettings
from tasks.artifacts import read_artifact, verify
from tasks.configuration import build
from tasks.corpus.documents import halvings, in_sample
from tasks.corpus.params import load_named
from tasks.tokenization.encode import encode_corpus
from tasks.tokenization.fit import SETTINGS, TokenizerConfig, fit_tokenizer
from tasks.tokenization.shards import open_split

HELD_OUT = {"train": ["plain words of the training text\n" * 20], "valid": ["zzqx " * 500], "test": ["wwvj " * 500]}


def test_held_out_text_leaves_no_trace_in_the_vocabulary(split_of: Callable[..., Path], tmp_path: Path) -> None:
    fit_tokenizer(split_of(HELD_OUT), tmp_path / "tokenizer", TokenizerConfig(vocabulary=400))
    vocabulary = bpe.load(tmp_path / "tokenizer").get_vocab()
    assert any("training" in token for token in vocabulary)
    assert not [token for token in vocabulary if "zz" in token or "wv" in token]
    changed = split_of({**HELD_OUT, "valid": ["other text"]}, "changed")
    fit_tokenizer(changed, tmp_path / "again", TokenizerConfig(vocabulary=400))
    assert read_artifact(tmp_path / "again").digest == read_artifact(tmp_path / "tokenizer").digest


def test_the_folder_is_sealed_with_its_settings_and_parent(split_of: Callable[..., Path], tmp_path: Path) -> None:
    split = split_of()
    fit_tokenizer(split, tmp_path / "tokenizer", TokenizerConfig(vocabulary=300))
    assert verify(tmp_path / "tokenizer") == (True, "")
    artifact = read_artifact(tmp_path / "tokenizer")
    assert (artifact.kind, artifact.parents) == ("tokenizer", (read_artifact(split).digest,))
    assert artifact.recipe["vocabulary"] == 300
    assert bpe.load(tmp_path / "tokenizer").get_vocab_size() == 300


def test_of_a_long_text_half_the_documents_are_read_and_always_the_same(
    split_of: Callable[..., Path], tmp_path: Path
) -> None:
    texts = [f"{name} " * 60 for name in ("alpha", "bravo", "carol", "delta", "echoe", "frank", "grace", "henry") * 4]
    split = split_of({"train": texts})
    size = (split / "train.jsonl").stat().st_size
    fit_tokenizer(split, tmp_path / "whole", TokenizerConfig(max_text_bytes=size))
    fit_tokenizer(split, tmp_path / "half", TokenizerConfig(max_text_bytes=size - 1))
    read = [text for number, text in enumerate(texts) if in_sample(f"train/{number}", 1)]
    assert 0 < len(read) < len(texts)
    assert bpe.load(tmp_path / "half").to_str() == bpe.fit(read, vocabulary=4096).to_str()
    assert bpe.load(tmp_path / "whole").to_str() == bpe.fit(texts, vocabulary=4096).to_str()


def test_halving_goes_on_until_the_text_fits() -> None:
    assert [halvings(size, 250) for size in (0, 250, 251, 500, 501, 900)] == [0, 0, 1, 1, 2, 2]
    kept = [[id for id in map(str, range(4000)) if in_sample(id, count)] for count in range(3)]
    assert [len(ids) / 4000 for ids in kept] == pytest.approx([1, 0.5, 0.25], abs=0.03)
    assert set(kept[2]) < set(kept[1])


def test_settings_out_of_range_are_refused(split_of: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_text_bytes must be at least 1"):
        TokenizerConfig(max_text_bytes=0)
    with pytest.raises(ValueError, match="vocabulary: 100 is too small"):
        fit_tokenizer(split_of(), tmp_path / "tokenizer", TokenizerConfig(vocabulary=100))
    assert not (tmp_path / "tokenizer").exists()


def test_the_recipe_of_byte_level_bpe_is_what_it_always_was() -> None:
    """Its digest is the identity of every tokenizer, and of every model trained on one, that was made before."""
    spelling = {"digits": "single", "normalization": "none"}
    assert TokenizerConfig(vocabulary=400).recipe == {
        "vocabulary": 400, "spelling": spelling, "max_text_bytes": 50_000_000,
    }  # fmt: skip
    words = {"lower_case": True, "strip_accents": False, "character_coverage": 0.9995}
    assert TokenizerConfig(kind="wordpiece", words=WordSettings(lower_case=True)).recipe == {
        "kind": "wordpiece", "vocabulary": 4096, "words": words, "max_text_bytes": 50_000_000,
    }  # fmt: skip


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_kind_is_fitted_sealed_and_encodes_the_corpus(
    kind: str, split_of: Callable[..., Path], tmp_path: Path
) -> None:
    split = split_of()
    fit_tokenizer(split, tmp_path / "tokenizer", TokenizerConfig(kind=kind, vocabulary=330))
    artifact = read_artifact(tmp_path / "tokenizer")
    assert artifact.recipe.get("kind", "bpe") == kind
    tokenizer = bpe.load(tmp_path / "tokenizer")
    encode_corpus(split, tmp_path / "tokenizer", tmp_path / "tokens")
    said = open_split(tmp_path / "tokens", "train").document(2)
    assert said[-1] == tokenizer.token_to_id("<|endoftext|>")
    assert list(said).count(said[-1]) == 1
    text = "A document that says <|endoftext|> in the middle.\n"
    if kind == "wordpiece":
        assert artifact.recipe["words"] == {"lower_case": False, "strip_accents": False, "character_coverage": 0.9995}
    else:
        assert tokenizer.decode(list(said[:-1])) == text


def test_params_name_the_kind_and_its_settings(tmp_path: Path) -> None:
    lines = ["  a: {vocabulary: 300}", "  b: {kind: unigram, vocabulary: 8000, pieces: {normalization: nfkc}}"]
    (tmp_path / "params.yaml").write_text("\n".join(["tokenizers:", *lines]) + "\n")
    assert load_named(TokenizerConfig, tmp_path, "tokenizers", "a") == TokenizerConfig(vocabulary=300)
    pieces = PieceSettings(normalization="nfkc")
    assert load_named(TokenizerConfig, tmp_path, "tokenizers", "b") == TokenizerConfig(
        kind="unigram", vocabulary=8000, pieces=pieces
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "unigramm"}, "kind unigramm: there is no such tokenizer; did you mean unigram?"),
        ({"kind": "sentencepiece"}, "kind sentencepiece: there is no such tokenizer; did you mean sentencepiece_bpe?"),
        ({"kind": "7"}, "there is no such tokenizer; kinds: bpe, unigram, sentencepiece_bpe, wordpiece"),
        ({"kind": "unigram", "spelling": {"digits": "runs"}}, "spelling: kind unigram has no such settings, bpe has"),
        (
            {"pieces": {"split_digits": False}},
            "pieces: kind bpe has no such settings, unigram or sentencepiece_bpe has",
        ),
        ({"kind": "wordpiece", "words": {"lowercase": True}}, "words.lowercase: unknown key; did you mean lower_case?"),
    ],
)
def test_a_wrong_kind_or_setting_is_named_with_the_mend(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        build(TokenizerConfig, values, where="params.yaml: tokenizers.default")
    assert sentence in str(refused.value)
    assert Spelling() == TokenizerConfig().spelling
