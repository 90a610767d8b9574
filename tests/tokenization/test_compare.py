"""Tokenizers side by side: which texts are read, what is held out of a fit, and the figure."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from models.tokenizers import bpe, wordpiece
from tasks.tokenization import plots
from tasks.tokenization.compare import Row, compare, divided, open_tokenizer, read_texts, to_fit

ENGLISH = "The quick brown fox jumps over the lazy dog.\n" * 40
KOREAN = "모든 국민은 법 앞에 평등하다.\n" * 40


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "eng.txt").write_text(ENGLISH, encoding="utf-8")
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("more/kor.txt", KOREAN)
        archive.writestr("more/tha.txt", "มนุษย์ทั้งหลายเกิดมามีอิสระ\n" * 40)
    return folder


def test_a_path_is_one_text_or_one_for_each_of_its_files(texts: Path) -> None:
    whole = read_texts([str(texts / "eng.txt"), str(texts / "more.zip")])
    assert {name: "".join(parts)[:5] for name, parts in whole.items()} == {"eng": "The q", "more": "모든 국민"}
    assert list(read_texts([str(texts)], each=True)) == ["eng", "kor", "tha"]
    only = read_texts([str(texts)], only=["tha", "eng"])
    assert (list(only), "".join(only["eng"])) == (["tha", "eng"], ENGLISH)


def test_texts_that_are_not_there_are_named(texts: Path) -> None:
    with pytest.raises(ValueError, match=r"--only korr: there is no such file in .*; did you mean kor\?"):
        read_texts([str(texts)], only=["korr"])
    (texts / "empty.txt").write_text("\n \n")
    with pytest.raises(ValueError, match=r"empty\.txt: there is no text in it"):
        read_texts([str(texts / "eng.txt"), str(texts / "empty.txt")])
    with pytest.raises(ValueError, match=r"no file at .*nothing"):
        read_texts([str(texts / "nothing")])


def test_every_tenth_line_is_held_out_of_the_fit() -> None:
    lines = [f"line {number}\n" for number in range(25)]
    fitted, measured = divided({"a": ["".join(lines[:12]), "".join(lines[12:])], "b": ["x\n" * 10]})
    assert measured == {"a": ["line 9\n", "line 19\n"], "b": ["x\n"]}
    assert fitted == [*(line for line in lines if line not in measured["a"]), *["x\n"] * 9]
    with pytest.raises(ValueError, match="short: 3 lines are too few to fit on most and measure on every tenth"):
        divided({"short": ["a\nb\nc\n"]})


def test_each_tokenizer_has_a_row_for_each_text() -> None:
    texts = {"eng": [ENGLISH], "kor": [KOREAN]}
    steps: list[tuple[int, int]] = []
    fits = {name: to_fit(name) for name in ("bpe:400", "unigram:400", "sentencepiece_bpe:400", "wordpiece:150")}
    rows = compare(texts, {"bytes": bpe.fit([], vocabulary=261)}, fits, lambda *step: steps.append(step))
    assert [(row.tokenizer, row.text) for row in rows] == [
        (name, text) for name in ("bytes", *fits) for text in ("eng", "kor")
    ]
    assert all(row.bytes == len("".join(texts[row.text]).encode()) / 10 for row in rows)
    assert {row.text: row.bytes_per_token for row in rows if row.tokenizer == "bytes"} == {"eng": 1.0, "kor": 1.0}
    assert all(row.bytes_per_token > 4 for row in rows if row.tokenizer not in ("bytes", "unigram:400"))
    assert steps == [(done, 50) for done in (0, 10, 20, 30, *range(40, 50))]


def test_tokenizers_are_opened_in_the_ways_they_are_kept(test_data: Path, tmp_path: Path) -> None:
    bpe.save(bpe.fit([ENGLISH], vocabulary=270), tmp_path)
    assert (
        open_tokenizer(tmp_path).get_vocab_size() == open_tokenizer(tmp_path / "tokenizer.json").get_vocab_size() == 270
    )
    files = test_data / "tokenizer_files"
    for name in ("GPT2.vocab.bpe", "GPT2.encoder.json"):
        assert open_tokenizer(files / name).encode("hello world").ids == [31373, 995]
    assert open_tokenizer(files).get_vocab_size() == 50257
    assert open_tokenizer(files / "koelectra_wordpiece_vocab.txt").get_vocab_size() == 32200
    other = tmp_path / "bert"
    other.mkdir()
    (other / "vocab.txt").write_text("\n".join([*wordpiece.BERT_TOKENS, "dog"]))
    assert open_tokenizer(other).encode("dog", add_special_tokens=False).tokens == ["dog"]
    for path in (files / "botchan.txt", tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=r"no tokenizer; name tokenizer\.json, vocab\.json"):
            open_tokenizer(path)
    (other / "vocab.txt").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match="not a vocabulary of WordPiece"):
        open_tokenizer(other)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("unigram", "--fit unigram: expected KIND:VOCABULARY, for example unigram:8000; kinds: bpe, unigram, "),
        ("unigram:many", "--fit unigram:many: expected KIND:VOCABULARY"),
        ("wordpeace:8000", "kind wordpeace: there is no such tokenizer; did you mean wordpiece?"),
    ],
)
def test_a_fit_that_is_not_understood_is_refused(wanted: str, sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        to_fit(wanted)
    assert sentence in str(refused.value)


ROW = Row(
    tokenizer="bpe:400", vocabulary=400, text="kor", bytes=900, words=100, tokens=300, bytes_per_token=3.0,
    fertility=3.0, split_word_share=0.9, unknown_share=0.0, megabytes_per_second=1.0,
)  # fmt: skip


def test_the_figure_is_drawn_whatever_the_names_are(tmp_path: Path) -> None:
    """Warnings are errors here: a letter that the font lacks would be one."""
    rows = [replace(ROW, text=text, tokenizer=name) for text in ("한국어", "a$b", "日本 x") for name in ("bpe:1", "한")]
    rows += [replace(ROW, text="tha", fertility=None), replace(ROW, text="emoji", unknown_share=0.5)]
    plots.draw(rows, tmp_path / "a.png")
    plots.draw(rows, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_more_than_a_figure_can_show_is_refused() -> None:
    with pytest.raises(
        ValueError, match="--plot shows at most 80 texts and 8 tokenizers, and these are 388 and 2; name"
    ):
        plots.check(388, 2)
