"""CSV and TSV as sources: the column that is named or clear, and a sentence where neither is."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.corpus.corpora import add_source, added_columns
from tasks.corpus.sources import Refusal
from tasks.corpus.tables import named_cells

REVIEWS = 'id,review,label\n1,"It is long, and good.",pos\n2,"Two lines\nof one.",neg\n3,"",pos\n'
LONG = "a line of a book\n" * 20_000
READ = {
    "the only column with text": ("reviews.csv", REVIEWS, "", "review", ["It is long, and good.", "Two lines\nof one.", ""]),
    "a named column": ("reviews.csv", REVIEWS, "label", "label", ["pos", "neg", "pos"]),
    "a usual name": ("rows.tsv", 'id\tdocument\tnote\n7\tsays "so"\ta note of words\n', "", "document", ['says "so"']),
    "semicolons and a mark": ("rows.csv", "\ufeffnr;Text;x\n1;ein, zwei und drei;0\n", "", "Text", ["ein, zwei und drei"]),
    "a book in a cell": ("rows.csv", f'text\n"{LONG}"\nand a row\n', "", "text", [LONG, "and a row"]),
    "Windows line ends": ("rows.csv", "a,text\r\n1,one of them\r\n", "", "text", ["one of them"]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data", "wanted", "column", "texts"), READ.values(), ids=READ)
def test_the_text_of_a_table_is_the_column_that_is_meant(
    name: str, data: str, wanted: str, column: str, texts: list[str], checkout: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(data, encoding="utf-8", newline="")
    assert added_columns(str(tmp_path / name), wanted) == {name: column}
    sources = [{"path": str(tmp_path / name), "name": "own", "text_field": wanted}]
    own = checkout(sources=sources).run("inventory", "ingest")
    assert own.texts() == texts
    assert own.counts("ingest")["refused"] == {}


WRONG = {
    "no such column": (REVIEWS, "reviw", r"line 1: there is no column reviw; .* id, review, label; did you mean review\?"),
    "two of text": ("q,a\nwhy is that so,it is that way\n", "", "line 1: the columns are q, a, and q, a hold text; name"),
    "none of text": ("a,b\n1,2\n", "", "the columns are a, b, and none of them holds text; name"),
    "one twice": ("a,a\n1,2\n", "", "two columns are called a; give each a name of its own"),
    "nothing in it": ("", "", "the columns are none"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "wanted", "message"), WRONG.values(), ids=WRONG)
def test_an_unclear_column_is_asked_for_and_at_ingest_refuses_the_file(
    data: str, wanted: str, message: str, checkout: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(data, encoding="utf-8")
    (tmp_path / "params.yaml").write_text("corpora: {default: {sources: [{kind: python}]}}\n")
    home = tmp_path / "home"
    with pytest.raises(ValueError, match=message):
        add_source(home, str(path), corpus="default", replace=False, checkout=tmp_path, column=wanted)
    assert not home.exists()
    (tmp_path / "good.txt").write_text("good\n")
    sources = [
        {"path": str(path), "name": "own", "text_field": wanted},
        {"path": str(tmp_path / "good.txt"), "name": "good"},
    ]
    own = checkout(sources=sources).run("inventory", "ingest")
    assert own.counts("ingest") == {"input": 2, "kept": 1, "refused": {"no text column": 1}}


def test_what_follows_in_a_cell_without_an_end_is_not_taken_for_rows() -> None:
    before = csv.field_size_limit(100)
    try:
        rows = list(named_cells("rows.csv", ['"' + "a line\n", *["a line\n"] * 50], ",", ["text"]))
    finally:
        csv.field_size_limit(before)
    assert [(place, type(row)) for place, row in rows] == [("line 2 to 16", Refusal)]


def test_a_table_in_another_encoding_is_a_sentence(tmp_path: Path) -> None:
    for encoding in ("cp949", "utf-16"):
        (tmp_path / "rows.csv").write_bytes("번호,글\n1,안녕하세요 여러분 반갑습니다\n".encode(encoding))
        with pytest.raises(
            ValueError, match="line 1: the names of the columns are not in its encoding; save the table"
        ):
            added_columns(str(tmp_path / "rows.csv"))


def test_a_broken_line_is_refused_alone(checkout: Callable[..., Any], tmp_path: Path) -> None:
    data = b'id,text\n1,a good line of it\n2,one,two\n3,caf\xe9 in Latin-1\n4,"as it "is" here"\n5,another good line\n'
    (tmp_path / "rows.csv").write_bytes(data)
    own = checkout(tmp_path / "rows.csv").run("inventory", "ingest")
    assert own.texts() == ["a good line of it", "another good line"]
    assert own.counts("ingest")["refused"] == {"a broken line of the table": 2, "lone surrogate": 1}
