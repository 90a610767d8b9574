"""A text is cut alike for all models: ends of lines are pieces, what is unknown is counted, ids spell the text."""

from pathlib import Path

import numpy as np
import pytest

from tasks.generations.text import SPLITS, Text, TextConfig, cut, load, save


def made(folder: Path, level: str, *, train: str, valid: str = "a b\n", test: str = "b a\n", **changed: int) -> Text:
    folder.mkdir(exist_ok=True)
    files = {name: folder / f"{name}.txt" for name in SPLITS}
    for name, content in zip(SPLITS, (train, valid, test), strict=True):
        files[name].write_text(content, encoding="utf-8", newline="")
    return cut(files, TextConfig(level=level, **changed))  # type: ignore[arg-type]


def test_a_word_file_of_the_literature_is_closed_and_its_empty_lines_count(tmp_path: Path) -> None:
    """The word <unk> of the file is a word like any other; one that the training text lacks becomes it and is counted."""
    text = made(tmp_path, "word", train="the cat <unk>\n\nthe dog\n", test="the <unk> bird\n")
    assert text.pieces == ("</s>", "<unk>", "the", "cat", "dog")
    assert text.splits["train"].ids.tolist() == [2, 3, 1, 0, 0, 2, 4, 0]
    assert text.splits["test"].ids.tolist() == [2, 1, 1, 0]
    assert (text.splits["train"].unknown, text.splits["test"].unknown) == (0, 1)
    assert text.splits["test"].bytes == len(b"the <unk> bird\n")
    assert not text.is_lossless


def test_rare_words_become_unknown_where_the_file_has_no_such_word(tmp_path: Path) -> None:
    text = made(tmp_path, "word", train="a b a b c\n")
    assert text.pieces == ("</s>", "<unk>", "a", "b")
    assert text.splits["train"].unknown == 1
    assert text.is_lossless  # a and b spell what is scored


@pytest.mark.parametrize("level", ["subword", "char"])
def test_subwords_and_letters_spell_korean(tmp_path: Path, level: str) -> None:
    line = "한국어 문장을 학습한다, 그리고 또 학습한다"
    text = made(tmp_path, level, train=f"{line}\n" * 3, valid=f"{line}\n", test=f"{line}\n\n{line}\n", subwords=320)
    assert text.spoken(text.splits["test"].ids.tolist()) == f"{line}\n\n{line}\n"
    assert text.is_lossless
    assert text.splits["valid"].bytes == len(line.encode()) + 1


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    text = made(tmp_path, "subword", train="one two three\n" * 4, subwords=280)
    save(text, tmp_path)
    again = load(tmp_path)
    assert again.pieces == text.pieces
    for name in SPLITS:
        np.testing.assert_array_equal(again.splits[name].ids, text.splits[name].ids)
        assert (again.splits[name].bytes, again.splits[name].unknown) == (
            text.splits[name].bytes,
            text.splits[name].unknown,
        )
    assert again.spoken(again.splits["test"].ids.tolist()) == "b a\n"


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"valid\.txt: is empty; the valid text needs at least one line"):
        made(tmp_path, "word", train="a\n", valid="\n")


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": "a"}\n[]\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"train\.jsonl: line 2 is no JSON object with a \"text\""):
        cut(dict.fromkeys(SPLITS, path), TextConfig(level="word"))
