"""`espalier compare`: differences worked out by hand, and every way in which two figures are no comparison."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cli import main
from flows.compare_tables import comparison
from tasks.evaluation.comparable import comparable
from tasks.evaluation.comparison import compare
from tasks.evaluation.documents import identity_of
from tasks.evaluation.stored import find_evaluations, read_evaluation
from tests.evaluation.stored_evaluations import IDENTITY, example, matrix, write_evaluation

Said = Callable[..., tuple[int, str, str]]


def right_below(limit: int) -> Callable[..., str]:
    return lambda *cell_and_number: "right" if cell_and_number[-1] < limit else "wrong"


def row(**changed: Any) -> dict[str, Any]:
    said = {
        "benchmark": "b",
        "shots": 0,
        "mode": "direct",
        "metric": "exact_match",
        "identity": {**IDENTITY, "model": "1"},
    }
    return said | changed


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"identity": {**IDENTITY, "model": "2"}}, ""),
        ({"shots": 5}, "shots differ: 0 in A, 5 in B"),
        ({"mode": "cot"}, 'mode differs: "direct" in A, "cot" in B'),
        ({"identity": {**IDENTITY, "template": "Q {text}"}}, 'template differs: "Q: {text} A:" in A, "Q {text}" in B'),
        (
            {"identity": {**IDENTITY, "decoding": {"method": "greedy", "temperature": 0.7, "max_new_tokens": 32}}},
            "decoding differs: temperature 0.0 in A, 0.7 in B",
        ),
        ({"identity": {**IDENTITY, "data": "b" * 64}}, "data differs: aaaaaaaaaaaa in A, bbbbbbbbbbbb in B"),
        ({"identity": {**IDENTITY, "task": "x"}}, 'task differs: "last_letters: What do they spell?" in A, "x" in B'),
        ({"identity": {**IDENTITY, "shots": "4 others"}}, 'shots differ: "none" in A, "4 others" in B'),
        ({"identity": {**IDENTITY, "code": None}}, "code differs: cccccccccccc in A, nothing in B"),
        ({"identity": {**IDENTITY, "language": "ko"}}, 'language differs: nothing in A, "ko" in B'),
        ({"identity": {}}, "B does not say how it was measured (it has no identity)"),
    ],
)  # fmt: skip
def test_only_the_model_may_differ(changed: dict[str, Any], reason: str) -> None:
    assert comparable(row(), row(**changed)) == (not reason, reason)


def test_long_texts_are_shown_from_where_they_part() -> None:
    text = "word " * 100
    _, reason = comparable(
        row(identity={**IDENTITY, "template": text + "one end"}),
        row(identity={**IDENTITY, "template": text + "two ends"}),
    )
    assert "one end" in reason
    assert "two ends" in reason
    assert len(reason) < 150


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [(5, 15, "better"), (15, 5, "worse"), (10, 10, "no difference shown"), (10, 15, "no difference shown")],
)
def test_the_difference_is_paired_and_has_a_plain_word(before: int, after: int, verdict: str, tmp_path: Path) -> None:
    a = write_evaluation(tmp_path, "a", matrix(right_below(before)))
    b = write_evaluation(tmp_path, "b", matrix(right_below(after)))
    document = compare(read_evaluation(a), read_evaluation(b))
    assert document["refused"] == []
    assert len(document["rows"]) == 3
    for found in document["rows"]:
        assert (found["a"], found["b"], found["n"]) == (before / 20, after / 20, 20)
        assert found["difference"] == pytest.approx((after - before) / 20)
        assert found["low"] <= found["difference"] <= found["high"]
        assert found["low"] < found["high"], "20 items on which nothing changed do not show that nothing ever will"
        assert found["paired"] is True
        assert found["verdict"] == verdict


def test_equal_answers_to_twenty_questions_are_not_certain_of_others(tmp_path: Path) -> None:
    """Of 20 items that do not differ up to z^2 / (20 + z^2) others may, z = 1.959964."""
    a, b = (write_evaluation(tmp_path, name, matrix(right_below(10))) for name in "ab")
    for found in compare(read_evaluation(a), read_evaluation(b))["rows"]:
        assert found["difference"] == 0
        assert (found["low"], found["high"]) == pytest.approx((-3.841459 / 23.841459, 3.841459 / 23.841459))


def test_five_items_that_all_got_better_show_nothing_yet(tmp_path: Path) -> None:
    """A sign test of five: 2 x 0.5 ** 5 = .0625. A bootstrap of five equal differences would claim certainty."""
    for items, verdict in ((5, "no difference shown"), (6, "better")):
        a = write_evaluation(tmp_path / str(items), "a", matrix(right_below(0), items))
        b = write_evaluation(tmp_path / str(items), "b", matrix(right_below(99), items))
        rows = compare(read_evaluation(a), read_evaluation(b))["rows"]
        assert {found["verdict"] for found in rows} == {verdict}


@pytest.mark.parametrize(
    ("about", "verdict"),
    [
        ({"metric": "perplexity"}, "better"),
        ({"metric": "f1"}, "worse"),
        ({"metric": "wrong", "best": 0}, "better"),
        ({"metric": "correct", "best": 11}, "worse"),
        ({"metric": "stereotype_rate", "best": 8}, "lower"),  # on the other side of what is best
        ({"metric": "control", "best": None}, "lower"),
    ],
)
def test_what_is_no_mean_over_items_is_compared_by_its_intervals(
    about: dict[str, Any], verdict: str, tmp_path: Path
) -> None:
    """Newcombe 1998: -4 - hypot(10 - 9.7, 6.4 - 6) = -4.5 and -4 + hypot(10.3 - 10, 6 - 5.6) = -3.5."""
    folders = []
    for model, value, low, high in (("a", 10.0, 9.7, 10.3), ("b", 6.0, 5.6, 6.4)):
        folder = write_evaluation(tmp_path, model, matrix(right_below(3))[:20])
        document = json.loads((folder / "document.json").read_text())
        document["rows"][0] |= {**about, "value": value, "low": low, "high": high}
        document["identity"] = identity_of(document["suite"], document["rows"])
        (folder / "document.json").write_text(json.dumps(document))
        folders.append(folder)
    (found,) = compare(*map(read_evaluation, folders))["rows"]
    assert found["paired"] is False
    assert (found["low"], found["high"]) == pytest.approx((-4.5, -3.5))
    assert found["verdict"] == verdict


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    return tmp_path / "evaluations"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["compare", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_rows_that_agree_are_compared_and_the_others_listed(home: Path, said: Said) -> None:
    a = write_evaluation(home, "a", matrix(right_below(5)))
    cells = (("last_letters", 0, "direct"), ("last_letters", 5, "direct"), ("coin_flip", 0, "direct"))
    write_evaluation(home, "b", matrix(right_below(5), cells=cells))
    status, output, _ = said(a, "b", "--json")
    document = json.loads(output)
    assert status == 0
    assert [(each["benchmark"], each["shots"]) for each in document["rows"]] == [("last_letters", 0)]
    reasons = [(each["benchmark"], each["shots"], each["mode"], each["reason"]) for each in document["refused"]]
    assert reasons == [
        ("last_letters", 4, "direct", "shots differ: 4 in A, 5 in B"),
        ("last_letters", 4, "cot", "B has no such figure"),
        ("coin_flip", 0, "direct", "A has no such figure"),
    ]


def test_nothing_to_compare_is_status_2_and_says_why(home: Path, said: Said) -> None:
    write_evaluation(home, "a", matrix(right_below(5)))
    write_evaluation(home, "b", matrix(right_below(5)), template="Question: {text}")
    status, output, error = said("a", "b")
    assert status == 2
    assert 'template differs: "Q: {text} A:" in A, "Question: {text}" in B' in " ".join(output.split())
    assert error.count("\n") == 1
    assert "nothing here can be compared" in error


def test_a_model_means_its_latest_evaluation_and_an_identity_itself(home: Path) -> None:
    old = write_evaluation(home, "m:1", matrix(right_below(5)), date="2026-01-01T10:00:00")
    new = write_evaluation(home, "m:1", matrix(right_below(5)), date="2026-02-01T10:00:00", template="T {text}")
    assert find_evaluations(home, "m:1") == [new, old]
    assert find_evaluations(home, "m") == [new, old]
    assert find_evaluations(home, old.name[:8]) == [old]
    assert find_evaluations(home, str(old)) == [old]


def test_a_later_suite_of_a_model_does_not_hide_what_can_be_compared(home: Path, said: Said) -> None:
    for model, limit in (("m", 5), ("n", 7)):
        write_evaluation(home, model, matrix(right_below(limit)), date="2026-01-01T10:00:00")
    safety = [example("closed_book", 0, "direct", number, "wrong") for number in range(5)]
    write_evaluation(home, "n", safety, date="2026-02-01T10:00:00")
    status, output, error = said("m", "n")
    assert (status, error) == (0, "")
    assert "of 2026-01-01" in output
    assert "of 2026-02-01" not in output


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nobody", "nobody: no evaluation has this folder, identity or model; the latest are"),
        ("{first}", "begins the identity of 1 evaluation(s); give more characters of it"),
    ],
)
def test_what_is_not_found_is_one_sentence(name: str, sentence: str, home: Path, said: Said) -> None:
    folder = write_evaluation(home, "model", matrix(right_below(5)))
    status, output, error = said(name.format(first=folder.name[:3]), "model")
    assert (status, output) == (2, "")
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("text", ["{", '{"rows": []}'])
def test_a_broken_document_is_one_sentence(text: str, home: Path, said: Said) -> None:
    folder = write_evaluation(home, "model", matrix(right_below(5)))
    (folder / "document.json").write_text(text)
    status, _, error = said(folder, folder)
    assert status == 2
    assert f"{folder / 'document.json'}: no evaluation there" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_names_are_text(width: int, home: Path) -> None:
    cells = (("[red]x\x1b[31m", 0, "direct"), ("last_letters", 5, "cot-sc16"))
    a = write_evaluation(home, "[b]a", matrix(right_below(5), cells=cells))
    b = write_evaluation(home, "b", matrix(right_below(15), cells=cells[:1]))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(comparison(compare(read_evaluation(a), read_evaluation(b))))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= width
    for text in ("[red]x", "[b]a", "better", "+0.500", "not compared: 1", "B has no such figure"):
        assert text in shown
    assert "\x1b" not in shown
