"""`espalier evaluate MODEL`: its document, its table at 80 columns, and its sentences."""

import json
import re
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cli import main
from flows.evaluate_tables import evaluation_report
from flows.evaluate_together import evaluations_report
from models.catalogue import save_model
from models.llama import LlamaShape
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from tests.decoders import small_decoder

SHAPE = LlamaShape(layers=1, width=16, heads=2, kv_heads=2, feed_forward=16, context=512)
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def espalier_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """With a home of its own, whose MLflow is down: test_evaluation_record.py has a store, which takes seconds to make."""
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "mlflow.db").mkdir(parents=True)
    monkeypatch.setattr("flows.evaluation_record.apply_environment", lambda _: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["evaluate", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tokenizer = ChatTokenizer.ours(bpe.fit([], vocabulary=261))
    save_model(tmp_path / "model", small_decoder(tokenizer, shape=SHAPE), tokenizer)
    return tmp_path / "model"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.jsonl"
    rows = [{"document": word, "label": len(word) % 2} for word in ("fine", "bad", "good", "so", "well")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_document_is_kept_and_a_second_run_says_that_it_reused_all(
    espalier_said: Said, model: Path, reviews: Path, tmp_path: Path
) -> None:
    arguments = (model, "--data", reviews, "--shots", "0,1", "--samples", 0, "--limit", 2, "--json")
    status, said, error = espalier_said(*arguments)
    document = json.loads(said)
    assert status == 0, error
    assert set(document) == {"identity", "model", "suite", "rows", "made", "contamination"}
    kept = tmp_path / "home" / "evaluations" / document["identity"][:16]
    assert json.loads((kept / "document.json").read_text(encoding="utf-8")) == document
    assert (kept / "examples.jsonl").is_file()
    assert "0 of 7 cells reused, 7 asked" in error
    assert "nsmc: 5 questions read as nsmc" in error
    _, again, error = espalier_said(*arguments)
    assert json.loads(again) == document
    assert "7 of 7 cells reused, 0 asked" in error
    _, _, error = espalier_said(*arguments[:-1], "--json", "--shots", "0,2")
    assert "3 of 8 cells reused, 5 asked" in error


def test_several_models_stand_beside_one_another_and_what_one_was_asked_is_not_asked_again(
    espalier_said: Said, model: Path, reviews: Path, tmp_path: Path
) -> None:
    tokenizer = ChatTokenizer.load(model)
    save_model(tmp_path / "other", small_decoder(tokenizer, shape=SHAPE, spread=2.0), tokenizer)
    options = ("--data", reviews, "--shots", "0,1", "--samples", 0, "--limit", 2)
    status, first, error = espalier_said(model, *options, "--json")
    assert status == 0, error
    status, said, error = espalier_said(model, tmp_path / "other", *options, "--json")
    assert status == 0, error
    both = json.loads(said)["evaluations"]
    assert [each["model"]["name"] for each in both] == ["model", "other"]
    assert both[0] == json.loads(first)
    assert re.findall(r"(\d+) of \d+ cells reused", error)[0] != "0"
    status, table, error = espalier_said(model, tmp_path / "other", *options)
    assert (status, re.findall(r", (\d+) asked", error)) == (0, ["0", "0"])
    headings, *lines = [line.split() for line in table.splitlines() if line.strip()][1:]
    assert headings == ["model", "other"]
    for place, document in enumerate(both):
        row = next(row for row in document["rows"] if (row["shots"], row["metric"]) == (1, "acc"))
        (line,) = [line for line in lines if line[:2] == ["1-shot", "acc"]]
        assert line[2 + 2 * place] == f"{row['value']:.2f}"


def test_a_model_under_another_name_stands_under_that_name(
    espalier_said: Said, model: Path, reviews: Path, tmp_path: Path
) -> None:
    shutil.copytree(model, tmp_path / "copy")
    options = ("--data", reviews, "--shots", "0", "--samples", 0, "--limit", 2)
    status, said, error = espalier_said(model, tmp_path / "copy", *options, "--json")
    assert status == 0, error
    first, second = json.loads(said)["evaluations"]
    assert first["identity"] == second["identity"]
    assert [each["model"]["name"] for each in (first, second)] == ["model", "copy"]


def test_a_wrong_model_is_told_before_another_is_asked(espalier_said: Said, model: Path, reviews: Path) -> None:
    status, out, error = espalier_said(model, model.parent / "nowhere", "--data", reviews)
    assert (status, out) == (2, "")
    assert "cells reused" not in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either a MODEL to ask, or --replay FILE.jsonl"),
        (("model", "--replay", "x.jsonl"), "give either a MODEL to ask, or --replay FILE.jsonl"),
        (("--replay", "x.jsonl", "--skip-long"), "--skip-long: is about asking a model"),
        (("{model}", "--run-code"), "--run-code: is about the programs of a recording"),
        (("{model}", "--suite", "promptin"), "no such suite; did you mean prompting?"),
        (("{model}", "--shots", "0,x"), "--shots 0,x: expected numbers"),
        (("{model}", "--temperature", "0"), "--temperature 0.0: expected more than 0"),
        (("{model}", "--limit", "0"), "--limit from 1 on"),
        (("{model}", "--limit", "99999999999"), "--limit 99999999999: at most 1,000,000 questions"),
        (("{model}", "--shots", "99999999999"), "--shots 99999999999: at most 1,000,000 questions"),
        (("{model}", "--suite", "xyz"), "no such suite; give one of prompting, safety"),
        (
            ("{model}", "--suite", "safety", "--shots", "3"),
            "--shots: changes nothing in the suite safety; leave it out",
        ),
        (("{model}", "--suite", "harness:x", "--skip-long"), "--skip-long: changes nothing in the suite harness:x"),
        (("nowhere/at-all",), "there is no such folder"),
        (("{model}", "--data", "{empty}"), "there is no question in it"),
        (("{model}", "--data", "nowhere.jsonl"), "there is no such file"),
        (("{model}", "--data", "{data}", "--shots", "9"), "give fewer shots or more data"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(
    espalier_said: Said, model: Path, reviews: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "empty.jsonl").touch()
    places = {"model": model, "data": reviews, "empty": tmp_path / "empty.jsonl"}
    status, out, error = espalier_said(*(each.format(**places) for each in arguments))
    assert (status, out) == (2, "")
    assert said in error
    assert error.count("\n") == 1


def row(benchmark: str, shots: int, mode: str, metric: str = "exact_match", **more: Any) -> dict[str, Any]:
    figures = {"value": 0.54, "low": 0.404, "high": 0.67, "n": 50, "unparsed": 8, "unparsed_share": 0.16}
    return {"benchmark": benchmark, "shots": shots, "mode": mode, "metric": metric, **figures, **more}


def test_the_matrix_fits_in_80_columns_whatever_the_names_are() -> None:
    long = "natural_instructions/task073_commonsenseqa_answer_generation"
    cells = product(((long, 2), ("arithmetic", 4)), (0, 1, None), ("direct", "cot-sc5"))
    rows = [row(name, few if shots is None else shots, mode) for (name, few), shots, mode in cells]
    rows += [
        row("arithmetic", 4, "direct", "order_range", ways=4),
        row("arithmetic", 0, "likelihood", "acc", unparsed=0),
    ]
    console = Console(width=80, record=True, highlight=False)
    document = {"model": {"name": "m"}, "suite": "prompting", "identity": "0" * 64, "rows": rows}
    console.print(evaluation_report(document))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert shown.count("0.54 .40–.67 ?.16") == 12
    lines = [line.strip() for line in shown.splitlines()]
    assert {long + "  few: 2", "arithmetic  few: 4"} < set(lines)
    assert next(line for line in lines if line.startswith("acc")).split() == ["acc", "0.54", ".40–.67", "–", "–"]


def test_more_numbers_of_examples_than_fit_side_by_side_follow_below() -> None:
    rows = [row("arithmetic", shots, "direct") for shots in range(7)] + [row("arithmetic", 0, "cot-sc5")]
    rows += [row("nsmc", 0, "direct"), row("nsmc", 0, "direct", "f1"), row("nsmc", 0, "cot", "f1")]
    console = Console(width=80, record=True, highlight=False)
    console.print(evaluation_report({"model": {"name": "m"}, "suite": "prompting", "identity": "0" * 64, "rows": rows}))
    shown = console.export_text()
    assert "…" not in shown
    assert shown.count("0.54 .40–.67 ?.16") == 9
    assert [line.split() for line in shown.splitlines() if line.strip().startswith("cot-sc5")] == [
        ["cot-sc5", "0.54", ".40–.67", "?.16", "–", "–"]
    ]
    assert [line.split()[:4] for line in shown.splitlines() if " f1 " in line] == [
        ["nsmc", "f1", "0-shot", "direct"],
        ["nsmc", "f1", "0-shot", "cot"],
    ]


def test_items_that_were_seen_in_training_are_a_table_of_their_own_and_in_no_other() -> None:
    rows = [row("commonsense", 0, "direct"), row("commonsense", 0, "direct", "f1"), row("arithmetic", 0, "direct")]
    rows += [
        row("commonsense", 0, "direct", metric, subset=subset, value=value, n=n)
        for metric in ("exact_match", "f1")
        for subset, value, n in (("clean", 0.25, 8), ("dirty", 0.69, 29))
    ]
    found = [
        {"benchmark": "commonsense", "dirty": 29, "checked": 37},
        {"benchmark": "arithmetic", "dirty": 0, "checked": 0},
    ]
    console = Console(width=80, record=True, highlight=False)
    document = {"model": {"name": "m"}, "suite": "prompting", "identity": "0" * 64, "rows": rows}
    console.print(evaluation_report({**document, "contamination": {"benchmarks": found}}))
    lines = console.export_text().splitlines()
    assert sum("0.25" in line for line in lines) == sum("0.69" in line for line in lines) == 1
    (line,) = [line.split("  ") for line in lines if "29 of 37" in line]
    assert [cell.strip() for cell in line if cell.strip()] == [
        "commonsense", "29 of 37", "0-shot direct", "0.25 of 8", "0.69 of 29"
    ]  # fmt: skip
    console.print(evaluation_report(document))
    assert "seen in training" not in console.export_text()


def test_more_models_than_fit_side_by_side_follow_below_and_another_way_of_asking_is_said() -> None:
    def document(name: str, template: str) -> dict[str, Any]:
        how = {"identity": {"template": template}}
        rows = [row("nsmc", 0, "direct", **how), row("nsmc", 0, "likelihood", "acc", unparsed=0, **how)]
        return {"model": {"name": name}, "suite": "prompting", "identity": "0" * 64, "rows": rows}

    names = ("default-pretrained:1", "default-instruct:1", "default-aligned:1", "mine:1")
    documents = [document(name, "plain" if name == names[0] else "turns") for name in names]
    console = Console(width=80, record=True, highlight=False)
    console.print(evaluations_report(documents))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert shown.count("0.54 .40–.67 ?.16") == 4
    lines = [line.split() for line in shown.splitlines()]
    assert ["default-", "default-", "default-aligned:1"] in lines
    assert ["mine:1"] in lines
    told = " ".join(shown.split())
    assert (
        'mine:1 (B) was not asked as default-pretrained:1 (A) was: template differs: "plain" in A, "turns" in B' in told
    )
