"""What is kept of an evaluation: one finished MLflow run however often, and the training sets that the ledger names."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.evaluation_record import keep_record, metrics_of, training_sets
from infra import tracking
from infra.database import lineage, sessions
from infra.settings import Settings, load_settings, prepare
from tasks.artifacts import digest_of, file_sha256, write_artifact
from tests.evaluation.stored_evaluations import matrix, write_evaluation

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home of its own; what the command puts into the environment is taken out again."""
    before = dict(os.environ)
    settings = load_settings(CHECKOUT, tmp_path_factory.mktemp("home"))
    prepare(settings)
    yield settings
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    examples = matrix(lambda *cell: "right" if cell[-1] < 6 else "wrong", 10)
    for each in examples:
        each["question"] = f"the last letters of all words of the long question that is number {each['id']} of ten"
    return write_evaluation(tmp_path, "m:1", examples)


def recorded(settings: Settings, folder: Path, question: str) -> None:
    """A chain in the ledger: the model from instructions, these from a corpus that holds the question, as do the
    conversations that a person gave; other conversations were there before.
    """
    corpus, instructions = folder / "corpus", folder / "instructions"
    for path, record in ((corpus, {"text": question}), (instructions, {"prompt": "a", "answer": "b"})):
        path.mkdir()
        (path / "train.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    given = folder / "given.jsonl"
    given.write_text(json.dumps({"messages": [{"role": "user", "content": question}]}) + "\n", encoding="utf-8")
    sums = file_sha256(given)
    with sessions.ledger(settings) as engine:
        for digest, kind, path, parents in (
            ("c" * 64, "corpus", corpus, []),
            ("i" * 64, "instructions", instructions, ["c" * 64]),
            ("t" * 64, "tokens", folder / "gone", ["c" * 64]),
            (sums, "conversations", given, []),
            ("b" * 64, "conversations", given, []),
            (digest_of("m:1"), "model", folder, ["i" * 64, "t" * 64, sums, "b" * 64]),
        ):
            lineage.record_artifact(engine, digest=digest, kind=kind, path=path, parents=parents, summary={})


def test_an_evaluation_is_one_finished_run_with_its_page(settings: Settings, evaluation: Path) -> None:
    first = keep_record(settings, evaluation)
    (evaluation / "recorded.json").unlink()  # as if the first had ended before it was all there
    assert keep_record(settings, evaluation) == first
    page = (evaluation / "report.html").stat().st_mtime_ns
    assert keep_record(settings, evaluation) == first
    assert (evaluation / "report.html").stat().st_mtime_ns == page
    client = tracking._client(settings)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    tags = {name: run.data.tags[f"espalier.{name}"] for name in ("identity", "model", "model_digest")}
    assert tags == {"identity": first["identity"], "model": "m:1", "model_digest": digest_of("m:1")}
    assert run.data.metrics["last_letters/4-shot/cot/exact_match"] == 0.6
    history = client.get_metric_history(run.info.run_id, "last_letters/4-shot/cot/exact_match/low")
    assert len(history) == 1
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"document.json", "report.html"}
    assert (evaluation / "report.html").is_file()


def test_every_training_set_behind_a_model_is_looked_through(
    settings: Settings, evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(settings, tmp_path, "the last letters of all words of the long question that is number item-3 of ten")
    found = training_sets(settings, digest_of("m:1"))
    given = f"conversations {file_sha256(tmp_path / 'given.jsonl')[:12]}"
    assert {each.name for each in found} == {"corpus cccccccccccc", "instructions iiiiiiiiiiii", given}
    assert "the conversations bbbbbbbbbbbb that the model learned from are no longer at" in capsys.readouterr().err
    contamination = keep_record(settings, evaluation)["contamination"]
    (summary,) = contamination["benchmarks"]
    assert (summary["n"], summary["dirty"], summary["by_training_set"]) == (
        10,
        1,
        {"corpus cccccccccccc": 1, given: 1},
    )


def test_data_that_was_made_again_in_its_place_is_not_what_the_model_learned(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
    first = write_artifact(folder, kind="split").digest
    with sessions.ledger(settings) as engine:
        lineage.record_artifact(engine, digest=first, kind="corpus", path=folder, parents=(), summary={})
        lineage.record_artifact(engine, digest="m" * 64, kind="model", path=tmp_path, parents=(first,), summary={})
    assert [each.path for each in training_sets(settings, "m" * 64)] == [folder / "train.jsonl"]
    (folder / "train.jsonl").write_text('{"text": "two"}\n', encoding="utf-8")
    write_artifact(folder, kind="split")
    assert training_sets(settings, "m" * 64) == []


def test_a_store_that_is_down_costs_no_figure(
    settings: Settings, evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = dataclasses.replace(settings, mlflow_db=tmp_path)  # a folder is no database
    assert keep_record(nowhere, evaluation)["rows"]
    assert "MLflow has no run of this evaluation yet" in capsys.readouterr().err
    assert (evaluation / "report.html").is_file()


def test_names_are_those_that_mlflow_takes() -> None:
    row: dict[str, Any] = {"benchmark": "a/b [x]: 한국", "shots": 0, "mode": "cot", "metric": "acc", "subset": "dirty"}
    found = metrics_of({"rows": [{**row, "value": 0.5, "low": 0.4, "high": 0.6}]})
    assert list(found) == [f"a_b _x__ 한국/0-shot/cot/acc/dirty{end}" for end in ("", "/low", "/high")]
