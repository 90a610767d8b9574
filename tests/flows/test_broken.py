"""Broken off at every stage, in every way, the run goes on where it was, and ends with the very bytes of an unbroken one."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.flows.runs import Finished, python

pytestmark = pytest.mark.end_to_end

PATIENCE_SECONDS = 120.0
ORPHAN_SECONDS = 60.0


class Victim:
    """A run in a checkout without git, that is broken off once a stage has passed a checkpoint."""

    def __init__(self, command: Any, home: Path) -> None:
        self.command, self.home = command, home
        self.process: subprocess.Popen[str] | None = None

    def start(self, *further: str) -> None:
        self.process = self.command.start("run", "--recipe", "tiny", "--json", *further)

    def wait_for_step(self, stage: str, step: int) -> Path:
        """The folder of the training, once it has logged `step` and not ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"ended before {stage} reached step {step}: {self.process.communicate()}")
            for folder in (self.home / "runs").glob(f"{stage}-*"):
                if last_step(folder) >= step:
                    assert list(folder.glob("checkpoints/step-*")), "it has passed no checkpoint yet"
                    assert not (folder / "result.json").exists(), "it has ended already"
                    return folder
            time.sleep(0.02)
        raise AssertionError(f"{stage} did not reach step {step}")

    def ended(self) -> tuple[int, str, str]:
        assert self.process is not None
        output, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, output, errors


def last_step(folder: Path) -> int:
    spool = folder / "metrics.jsonl"
    lines = spool.read_text().splitlines() if spool.exists() else []
    whole = [line for line in lines if line.endswith("}")]
    return int(json.loads(whole[-1])["step"]) if whole else 0


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.2)


def family_of(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def broken(
    tmp_path_factory: pytest.TempPathFactory, workspace_at: Callable[[Path], Path], command_in: Callable[..., Any]
) -> dict[str, Any]:
    """Four breaks in four stages, the lock file changed after one of them, and what was seen at each."""
    folder = tmp_path_factory.mktemp("broken")
    workspace, user = workspace_at(folder / "workspace"), folder / "user"
    user.mkdir()
    victim = Victim(command_in(workspace, user), workspace / ".espalier")
    seen: dict[str, Any] = {"command": victim.command, "home": victim.home}

    victim.start()
    training = victim.wait_for_step("pretrain", 25)
    os.kill(json.loads((training / "worker.json").read_text())["pid"], signal.SIGKILL)
    victim.wait_for_step("instruct", 25)
    assert victim.process is not None
    family = family_of(victim.process.pid)
    victim.process.kill()
    victim.ended()
    wait_until(lambda: not alive(family), ORPHAN_SECONDS)

    victim.start()
    victim.wait_for_step("reward", 12)
    victim.process.terminate()
    seen["terminated"] = victim.ended()

    with (workspace / "constraints.txt").open("a", encoding="utf-8") as lock:
        lock.write("# another day\n")
    victim.start()
    seen["changed"] = victim.ended()

    victim.start("--allow-env-change")
    victim.wait_for_step("align", 9)
    driver = next(one for one in family_of(victim.process.pid)[1:] if "infra.workers" in " ".join(one.cmdline()))
    driver.kill()
    victim.wait_for_step("align", 17)
    victim.process.send_signal(signal.SIGINT)
    seen["interrupted"] = victim.ended()

    victim.start()
    seen["finished"] = victim.ended()
    return seen


def test_the_weights_are_those_of_the_unbroken_run(broken: dict[str, Any], unbroken: Finished) -> None:
    status, output, errors = broken["finished"]
    assert status == 0, errors
    found = {stage["stage"]: stage["digest"] for stage in json.loads(output)["stages"]}
    expected = {stage["stage"]: stage["digest"] for stage in unbroken.document["stages"]}
    assert found == expected


def test_it_was_one_run_all_along_and_each_stage_went_on_above_step_0(broken: dict[str, Any]) -> None:
    from infra.database import runs, sessions
    from infra.settings import load_settings

    settings = load_settings(broken["home"].parent, broken["home"])
    with sessions.ledger(settings) as engine:
        found = runs.list_runs(engine)
        assert [run["state"] for run in found] == ["done"]
        record = found[0]["record"]
    assert record["run"]["id"] == found[0]["run_id"]
    outcomes = {stage["stage"]: stage for stage in record["stages"]}
    assert {outcome["state"] for outcome in outcomes.values()} <= {"trained", "done"}
    for stage in ("pretrain", "instruct", "reward", "align"):
        assert resumed_at(broken["home"], stage) > 0, stage


def resumed_at(home: Path, stage: str) -> int:
    """The step that the last process of a training began from."""
    (folder,) = (home / "runs").glob(f"{stage}-*")
    return int(json.loads((folder / "result.json").read_text())["result"]["resumed_at"])


def test_ctrl_c_and_sigterm_have_their_status_and_name_the_command_that_goes_on(broken: dict[str, Any]) -> None:
    status, _, errors = broken["interrupted"]
    assert status == 130
    assert "espalier run --recipe tiny" in errors
    status, _, errors = broken["terminated"]
    assert status == 75
    assert "espalier run --recipe tiny" in errors


def test_a_changed_lock_file_is_refused_until_it_is_allowed(broken: dict[str, Any]) -> None:
    status, _, errors = broken["changed"]
    assert status == 2
    assert "was written with other packages (constraints.txt " in errors
    assert "--allow-env-change" in errors
    (folder,) = (broken["home"] / "runs").glob("reward-*")
    result = json.loads((folder / "result.json").read_text())["result"]
    assert result["note"].startswith("continued, not byte-equal to an unbroken run: constraints.txt ")


def test_mlflow_has_one_run_per_stage_with_every_step_once_and_an_honest_end(broken: dict[str, Any]) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{broken['home'] / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("espalier")
    runs = client.search_runs([experiment.experiment_id])
    stages = [run.data.tags["espalier.stage"] for run in runs]
    assert sorted(stages) == ["align", "instruct", "lifecycle", "pretrain", "reward"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        stage = run.data.tags["espalier.stage"]
        if stage != "lifecycle":
            steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
            assert sorted(steps) == sorted(set(steps)) == list(range(1, max(steps) + 1)), stage


def test_prefect_calls_nothing_running_any_more(broken: dict[str, Any]) -> None:
    runs = python(broken["command"], broken["home"].parent, Path(__file__).with_name("ask_prefect.py"))
    states = [run["state"] for run in runs if run["flow"] == "lifecycle"]
    assert sorted(states) == sorted(["CRASHED", "CRASHED", "CRASHED", "FAILED", "COMPLETED"]), states
    assert not {run["state"] for run in runs} & {"RUNNING", "PENDING", "SCHEDULED"}
