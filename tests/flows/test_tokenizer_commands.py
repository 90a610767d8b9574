"""`espalier tokenizers`: the table at two widths, the document, the figure, the export, and what is refused."""

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console
from transformers import AutoTokenizer

from flows.cli import main
from flows.tokenizer_tables import tokenizers_table
from models.tokenizers import bpe

ENGLISH = "The quick brown fox jumps over the lazy dog.\n" * 40


@pytest.fixture
def corpus(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two texts, and a checkout whose default data set has a tokenizer."""
    monkeypatch.setenv("ESPALIER_CHECKOUT", str(workspace))
    made = workspace / ".espalier" / "data" / "default" / "tokenizer"
    made.mkdir(parents=True)
    bpe.save(bpe.fit([ENGLISH], vocabulary=270), made)
    (tmp_path / "english.txt").write_text(ENGLISH, encoding="utf-8")
    (tmp_path / "korean.txt").write_text("모든 국민은 법 앞에 평등하다.\n" * 40, encoding="utf-8")
    return tmp_path


@pytest.fixture
def espalier_said(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """The command in this process, which sets variables of its own: they are as before afterwards."""
    before = dict(os.environ)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(each) for each in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    yield run
    os.environ.clear()
    os.environ.update(before)


Said = Callable[..., tuple[int, str, str]]


def test_the_document_has_a_row_for_each_text_and_tokenizer(corpus: Path, espalier_said: Said) -> None:
    status, said, _ = espalier_said(
        "tokenizers", "measure", corpus / "english.txt", corpus / "korean.txt", "--tokenizer", "default",
        "--fit", "unigram:330", "--plot", corpus / "choice.png", "--json",
    )  # fmt: skip
    assert status == 0
    document = json.loads(said)
    rows = [(row["text"], row["tokenizer"], row["vocabulary"]) for row in document["rows"]]
    assert rows[:2] == [("english", "default", 270), ("korean", "default", 270)]
    assert [name for _, name, _ in rows[2:]] == ["unigram:330"] * 2
    assert all(row["unknown_share"] == 0 and row["bytes_per_token"] > 0 for row in document["rows"])
    assert "every tenth line" in document["measured"]
    assert (corpus / "choice.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_name_the_default_tokenizer_is_measured(corpus: Path, espalier_said: Said) -> None:
    status, said, _ = espalier_said("tokenizers", "measure", corpus / "english.txt")
    assert status == 0
    assert "default" in said
    assert "on the whole of each text" in said


def row(text: str, tokenizer: str, packed: float, fertility: float | None, unknown: float) -> dict[str, object]:
    return {
        "text": text, "tokenizer": tokenizer, "vocabulary": 8000, "bytes": 123_456, "words": 9, "tokens": 40_000,
        "bytes_per_token": packed, "fertility": fertility, "split_word_share": None if fertility is None else 0.25,
        "unknown_share": unknown, "megabytes_per_second": 2.5,
    }  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_what_loses_text_is_never_the_best(width: int) -> None:
    rows = [row("kor", "sentencepiece_bpe:8000", 3.21, 2.5, 0), row("kor", "wordpiece:8000", 9.87, 1.5, 0.0004)]
    rows += [row("tha", "sentencepiece_bpe:8000", 4.0, None, 0)]
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True)
    console.print(tokenizers_table(rows, width=width))
    styled = console.export_text(styles=True, clear=False)
    plain = console.export_text()
    assert max(map(len, plain.splitlines())) <= width
    assert all(len(line.split()) >= 6 for line in plain.splitlines() if ":8000" in line)
    assert re.search(r"\x1b\[1;32m *3\.21", styled)
    assert not re.search(r"\x1b\[1;32m *(9\.87|1\.50)", styled)
    assert "0.04%" in plain
    assert ("vocabulary" in plain) is (width == 120)


def test_an_exported_folder_is_what_transformers_loads(corpus: Path, workspace: Path, espalier_said: Said) -> None:
    status, said, _ = espalier_said("tokenizers", "export", "default", corpus / "out", "--json")
    assert (status, json.loads(said)) == (0, {"folder": str(corpus / "out"), "vocabulary": 270})
    ours = bpe.load(workspace / ".espalier" / "data" / "default" / "tokenizer")
    text = "The lazy 한국어 fox"
    loaded = AutoTokenizer.from_pretrained(corpus / "out")
    assert loaded.encode(text, add_special_tokens=False) == ours.encode(text).ids
    assert espalier_said("tokenizers", "export", "default", corpus / "out")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["english.txt", "--tokenizer", "other"],
            "espalier: other: no tokenizer there, and params.yaml's other has none yet",
        ),
        (
            ["english.txt", "--fit", "unigrm:500"],
            "espalier: kind unigrm: there is no such tokenizer; did you mean unigram?",
        ),
        (["english.txt", "--fit", "unigram:200"], "espalier: vocabulary: 200 is too small for the special tokens"),
        (["english.txt", "--fit", "bpe:10"], "espalier: vocabulary: 10 is too small; 260 hold the bytes"),
        (["nothing.txt"], "espalier: sources: nothing: no file at"),
        (["empty.txt"], "empty.txt: there is no text in it"),
        (["english.txt", "--plot", "no/where.png"], "espalier: --plot no/where.png: there is no such folder"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    arguments: list[str], sentence: str, corpus: Path, espalier_said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(corpus)
    (corpus / "empty.txt").write_text("\n\n")
    status, said, error = espalier_said("tokenizers", "measure", *arguments)
    assert (status, said) == (2, "")
    assert sentence in error
    assert "Traceback" not in error
