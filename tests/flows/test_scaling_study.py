"""`espalier scaling study`: a ladder in worker processes, each training a tracked run, a law of it, nothing repeated."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from flows.scaling_study import is_within
from flows.study_tables import study_tables

BUDGETS = (2.4e10, 4.8e10, 9.6e10)  # decoders of 16,000 to 160,000 parameters, a token or two for each: seconds
ARGUMENTS = (
    "scaling", "study", "--corpus", "tiny", "--budgets", ",".join(map(str, BUDGETS)), "--sizes", "4",
    "--tokens-per-parameter", "1.5",
)  # fmt: skip


def test_a_ladder_from_the_command_line_and_the_same_again(espalier: Any, workspace: Path) -> None:
    first = espalier(*ARGUMENTS, "--json")
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert len(found["runs"]) == 12
    for budget in BUDGETS:
        assert len([run for run in found["runs"] if run["budget"] == budget]) == 4
    assert found["fit"]["approach_3"]["rows_used"] == 12
    assert found["held_out"]["rows_held_out"] == 4
    assert all(Path(path).stat().st_size > 10_000 for path in found["plots"])
    client = MlflowClient(f"sqlite:///{workspace / '.espalier' / 'mlflow.db'}")
    tracked = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len(tracked) == 13
    assert {run.info.status for run in tracked} == {"FINISHED"}
    curve = client.get_metric_history(tracked[0].info.run_id, "loss")
    assert len(curve) > 5
    records = sorted((workspace / ".espalier" / "scaling").glob("*/*/run.json"))
    before = [path.stat().st_mtime_ns for path in records]
    again = json.loads(espalier(*ARGUMENTS, "--json").stdout)
    assert again["runs"] == found["runs"]
    assert [path.stat().st_mtime_ns for path in records] == before
    planned = espalier("scaling", "plan", "--fit", found["fit_file"], "--flops", "1e12", "--json")
    assert json.loads(planned.stdout)["law"] == found["fit_file"]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(study_tables(found, width=80))
    assert "times read" in capture.get()


def test_wrong_ladders_are_refused_before_anything_starts(espalier: Any) -> None:
    for wrong, said in (
        (("--budgets", "1e12,much"), "expected FLOPs separated by commas"),
        (("--budgets", "1e12,1e12,3e12"), "the same budget twice"),
        (("--budgets", "1e12,nan,3e12"), "must be numbers above 0"),
        (("--sizes", "0"), "at least 3 budgets and 4 sizes of each; found 3 and 0"),
        (("--count", "0"), "found 0 and 5"),
        (("--minutes", "0"), "--minutes must be above 0"),
        (("--corpus", "defalt"), "default"),
    ):
        refused = espalier("scaling", "study", *wrong)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


@pytest.mark.parametrize(
    ("inside", "half_width", "passed"), [(True, 0.02, True), (True, 0.06, False), (False, 0.02, False)]
)
def test_a_forecast_must_hold_and_be_narrow(inside: bool, half_width: float, passed: bool) -> None:
    best = {"loss": 4.0, "predicted": 4.1, "interval": [3.9, 4.2], "inside": inside, "half_width": half_width}
    assert is_within({"best": best})[0] is passed
