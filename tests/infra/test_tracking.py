"""Tracking against a real MLflow store in SQLite: one run per key, every step once, an honest end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra import tracking
from infra.processes import Holder
from infra.settings import Settings, child_environment, load_settings, prepare
from infra.spool import SpoolReader

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = load_settings(CHECKOUT, tmp_path_factory.mktemp("home"))
    prepare(settings)
    tracking.bootstrap(settings)
    return settings


@pytest.fixture
def stage(settings: Settings, request: pytest.FixtureRequest) -> str:
    parent = tracking.lifecycle_run(settings, run_key="shared")
    return tracking.stage_run(settings, parent=parent, stage="pretrain", run_key=request.node.name)


def _write(spool: Path, *steps: int, started: float = 1000.0) -> None:
    with spool.open("a") as stream:
        for step in steps:
            record = {"step": step, "time": started + step, "loss": 1.0 / (step + 1), "learning_rate": 0.1, "steps": 9}
            stream.write(json.dumps(record) + "\n")


def _history(settings: Settings, run_id: str, key: str) -> list[tuple[int, float]]:
    found = tracking._client(settings).get_metric_history(run_id, key)
    return sorted((metric.step, metric.value) for metric in found)


def _run(settings: Settings, run_id: str) -> Any:
    return tracking._client(settings).get_run(run_id)


def test_a_key_names_one_run_and_stages_are_nested(settings: Settings) -> None:
    recipe = {"name": "tiny", "pretrain": {"steps": 3, "optimizer": {"learning_rate": 0.01}}}
    lifecycle = tracking.lifecycle_run(settings, run_key="run-1", recipe=recipe)
    assert tracking.lifecycle_run(settings, run_key="run-1", recipe=recipe) == lifecycle
    first = tracking.stage_run(settings, parent=lifecycle, stage="pretrain", run_key="run-1")
    assert tracking.stage_run(settings, parent=lifecycle, stage="pretrain", run_key="run-1") == first
    assert tracking.stage_run(settings, parent=lifecycle, stage="instruct", run_key="run-1") != first
    assert _run(settings, first).data.tags["mlflow.parentRunId"] == lifecycle
    parameters = _run(settings, lifecycle).data.params
    assert parameters["pretrain.optimizer.learning_rate"] == "0.01"
    assert parameters["name"] == "tiny"
    with pytest.raises(ValueError, match="expected letters"):
        tracking.lifecycle_run(settings, run_key="x' or '1'='1")


def test_replaying_twice_adds_nothing_and_a_repeated_step_counts_once(
    settings: Settings, stage: str, tmp_path: Path
) -> None:
    spool = tmp_path / "metrics.jsonl"
    assert tracking.replay_spool(settings, stage, SpoolReader(spool)) == 0
    _write(spool, 1, 2, 3)
    assert tracking.replay_spool(settings, stage, SpoolReader(spool)) == 6
    assert tracking.replay_spool(settings, stage, SpoolReader(spool)) == 0
    with spool.open("a") as stream:
        stream.write('{"step": 4, "time": 10')  # half a line: the writer was killed here
    assert tracking.replay_spool(settings, stage, SpoolReader(spool)) == 0
    spool.write_bytes(spool.read_bytes()[: spool.read_bytes().rfind(b"\n") + 1])
    _write(spool, 2, 3, 4, 5, started=9000.0)  # resumed from step 1
    assert tracking.replay_spool(settings, stage, SpoolReader(spool)) == 4
    assert _history(settings, stage, "loss") == [(step, 1.0 / (step + 1)) for step in (1, 2, 3, 4, 5)]
    assert "steps" not in _run(settings, stage).data.metrics


def test_a_lost_cursor_adds_no_second_value(settings: Settings, stage: str, tmp_path: Path) -> None:
    spool = tmp_path / "metrics.jsonl"
    _write(spool, 1, 2, 2, 3)
    tracking.replay_spool(settings, stage, SpoolReader(spool))
    tracking.set_tags(settings, stage, {tracking.STEP_TAG: "0"})  # as if the crash fell between metrics and tag
    tracking.replay_spool(settings, stage, SpoolReader(spool))
    assert [step for step, _ in _history(settings, stage, "loss")] == [1, 2, 3]


def test_what_could_not_be_logged_is_read_again(settings: Settings, stage: str, tmp_path: Path) -> None:
    spool = SpoolReader(tmp_path / "metrics.jsonl")
    _write(spool.path, 1, 2)
    with pytest.raises(Exception, match="not found"):
        tracking.replay_spool(settings, "0" * 32, spool)
    assert tracking.replay_spool(settings, stage, spool) == 4
    assert not spool.has_grown()
    _write(spool.path, 3)
    assert spool.has_grown()
    assert tracking.replay_spool(settings, stage, spool) == 2


def test_long_spools_are_replayed_in_batches_of_whole_steps(settings: Settings, stage: str, tmp_path: Path) -> None:
    spool = tmp_path / "metrics.jsonl"
    _write(spool, *range(1, 1202))
    assert tracking.replay_spool(settings, stage, SpoolReader(spool)) == 2402
    assert len(_history(settings, stage, "loss")) == 1201
    assert _run(settings, stage).data.tags[tracking.STEP_TAG] == "1201"


def test_follower_logs_while_training_goes_on_and_survives_a_broken_store(
    settings: Settings, stage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = tmp_path / "metrics.jsonl"
    with tracking.SpoolFollower(settings, stage, spool, every_seconds=0.05):
        _write(spool, 1, 2)
        _wait_for(lambda: len(_history(settings, stage, "loss")) == 2)
        _write(spool, 3)
    assert len(_history(settings, stage, "loss")) == 3
    with tracking.SpoolFollower(settings, "0" * 32, spool, every_seconds=0.05):
        _wait_for(lambda: "wait in" in caplog.text)


def _wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_files_and_data_sets_belong_to_the_run(settings: Settings, stage: str, tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text("schema: '2.0'\n")
    tracking.log_file(settings, stage, lock)
    tracking.log_text(settings, stage, "once upon a time", "samples/first.txt")
    digest = "0123456789abcdef0123456789abcdef.dir"
    tracking.log_dataset(settings, stage, name="tokens", digest=digest, source="data/tokens", context="training")
    assert _run(settings, stage).inputs.dataset_inputs[0].dataset.digest == digest
    stored = {path.relative_to(settings.mlflow_artifacts).parts[-1] for path in settings.mlflow_artifacts.rglob("*.*")}
    assert {"dvc.lock", "first.txt"} <= stored
    with pytest.raises(ValueError, match="36 characters"):
        tracking.log_dataset(settings, stage, name="tokens", digest=digest + "0", source="x", context="training")


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_final_status_is_honest(settings: Settings, error: type[BaseException] | None, status: str) -> None:
    run_id = tracking.lifecycle_run(settings, run_key=f"status-{status}")
    assert _run(settings, run_id).info.status == "RUNNING"
    if error is None:
        with tracking.tracked(settings, run_id):
            pass
    else:
        with pytest.raises(error), tracking.tracked(settings, run_id):
            raise error
    assert _run(settings, run_id).info.status == status
    with pytest.raises(ValueError, match="RUNNING"):
        tracking.finish(settings, run_id, "RUNNING")


def test_what_a_dead_process_left_running_is_closed(settings: Settings) -> None:
    dead = tracking.lifecycle_run(settings, run_key="dead")
    living = tracking.lifecycle_run(settings, run_key="living")
    Holder(pid=os.getpid(), started=1.0, since="long ago").write(settings.home / "open-runs" / f"{dead}.json")
    assert tracking.close_stale(settings) == [dead]
    assert _run(settings, dead).info.status == "KILLED"
    assert _run(settings, living).info.status == "RUNNING"
    assert tracking.close_stale(settings) == []
    assert tracking.lifecycle_run(settings, run_key="dead") == dead
    assert _run(settings, dead).info.status == "RUNNING"


def test_two_first_uses_at_once_both_succeed(tmp_path: Path) -> None:
    settings = load_settings(CHECKOUT, tmp_path / "home")
    prepare(settings)
    code = (
        "import sys; from pathlib import Path; from infra import tracking; from infra.settings import load_settings; "
        "settings = load_settings(Path(sys.argv[1]), Path(sys.argv[2])); "
        "sys.stdout.write(tracking.lifecycle_run(settings, run_key='same'))"
    )
    command = [sys.executable, "-c", code, str(CHECKOUT), str(settings.home)]
    environment = child_environment(settings)
    both = [
        subprocess.Popen(
            command, env=environment, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    spoken = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0], spoken
    assert spoken[0][0] == spoken[1][0] != ""


def test_importing_infra_imports_nothing_heavy() -> None:
    heavy = "{'mlflow', 'ray', 'torch', 'sqlalchemy', 'dvc'}"
    code = f"import sys, infra.tracking, infra.workers, infra.data_versions; sys.exit(bool({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
