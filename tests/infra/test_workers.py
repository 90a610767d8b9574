"""The worker process: real Ray, once for the module; a worker killed, stopped and wrong; a parent that dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.processes import private_folder
from infra.settings import Settings, child_environment, load_settings, prepare
from infra.workers import WORKER_FILE, Preempted, WorkerFailed, Workers

CHECKOUT = Path(__file__).resolve().parent.parent.parent
RUN = "tests.infra.counting:run"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = load_settings(CHECKOUT, tmp_path_factory.mktemp("home"))
    prepare(settings)
    return settings


@pytest.fixture(scope="module")
def workers(settings: Settings) -> Iterator[Workers]:
    with private_folder() as temporary, Workers(settings, temporary) as workers:
        workers.warm()
        yield workers


def _wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {seconds} s")


def _lines(folder: Path) -> list[dict[str, Any]]:
    spool = folder / "metrics.jsonl"
    return [json.loads(line) for line in spool.read_text().splitlines()] if spool.exists() else []


def _listening(process: psutil.Process) -> list[str]:
    try:
        return [one.laddr.ip for one in process.net_connections() if one.status == psutil.CONN_LISTEN]
    except psutil.NoSuchProcess:  # the last training's worker has just ended
        return []


def test_training_runs_in_a_ray_worker_of_its_own_and_reports_every_step(workers: Workers, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    result = workers.train(RUN, {"folder": str(tmp_path), "steps": 5}, on_metrics=seen.append)
    assert result["total"] == 15.0
    assert result["pid"] not in (os.getpid(), workers.pid)
    assert result["threads"] == str(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    if hasattr(os, "sched_getscheduler"):  # the training computes, and what looks after it does not interrupt it
        assert (result["policy"], os.sched_getscheduler(workers.pid)) == (os.SCHED_OTHER, os.SCHED_BATCH)
    assert [record["step"] for record in seen] == [1, 2, 3, 4, 5]
    assert seen[1]["loss"] == 0.5
    assert seen[1]["steps"] == 5


def test_killed_worker_is_started_again_and_goes_on_from_its_checkpoint(workers: Workers, tmp_path: Path) -> None:
    def kill() -> None:
        _wait_for(lambda: len(_lines(tmp_path)) >= 2)
        os.kill(json.loads((tmp_path / WORKER_FILE).read_text())["pid"], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    result = workers.train(RUN, {"folder": str(tmp_path), "steps": 8, "seconds": 0.2})
    killer.join()
    assert result["total"] == 36.0
    assert result["started_at_step"] >= 2
    assert {record["step"] for record in _lines(tmp_path)} == set(range(1, 9))


def test_preempted_training_ends_at_a_checkpoint_and_is_not_tried_again(workers: Workers, tmp_path: Path) -> None:
    def preempt() -> None:
        _wait_for(lambda: len(_lines(tmp_path)) >= 2)
        # The signal alone, as an operator's `kill` sends it; `preempt` also leaves a file for a worker still starting.
        os.kill(json.loads((tmp_path / WORKER_FILE).read_text())["pid"], signal.SIGTERM)

    stopper = threading.Thread(target=preempt)
    stopper.start()
    with pytest.raises(Preempted, match="stopped after step"):
        workers.train(RUN, {"folder": str(tmp_path), "steps": 1000, "seconds": 0.1})
    stopper.join()
    step = json.loads((tmp_path / "checkpoint.json").read_text())["step"]
    assert 2 <= step < 1000


def test_preempt_reaches_a_worker_that_has_not_started_yet(workers: Workers, tmp_path: Path) -> None:
    assert not workers.preempt()
    timer = threading.Timer(0.5, workers.preempt)
    timer.start()
    with pytest.raises(Preempted, match="stopped after step 1"):
        workers.train(RUN, {"folder": str(tmp_path), "steps": 1000, "seconds": 0.1})


def test_error_in_training_is_one_sentence_with_the_log(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match=r"^steps must be positive, found 0 \(log: .*workers\.log\)$") as caught:
        workers.train("tests.infra.counting:wrong", {"folder": str(tmp_path), "steps": 0})
    assert caught.value.kind == "ValueError"
    log = caught.value.log.read_text()
    assert log.count("ValueError: steps must be positive, found 0") == 1
    assert "Traceback" in log


STEPPING = "tests.infra.stepping:run"


def _both(folder: Path, **befalls: str) -> dict[str, Any]:
    steps = {name.removeprefix("at_"): what for name, what in befalls.items()}
    return {"folder": str(folder), "steps": 6, "seconds": 8.0, "runtime": {"hang_seconds": 8.0}, "befalls": steps}


def test_of_two_workers_one_killed_and_one_hung_all_start_again(workers: Workers, tmp_path: Path) -> None:
    """Killed in the third step, hung in the fifth: the stacks of both ranks are kept, and it comes to its end."""
    result = workers.train(STEPPING, _both(tmp_path, at_2="kill", at_4="hang"), num_workers=2, timeout_seconds=150)
    assert result["step"] == 6
    assert {record["step"] for record in _lines(tmp_path)} == set(range(1, 7))
    stacks = ["".join(path.read_text() for path in tmp_path.glob(f"stacks-rank{rank}-*.txt")) for rank in (0, 1)]
    assert "all_reduce" in stacks[0]
    assert "befall" in stacks[1]


def test_an_error_on_another_rank_is_told_and_not_tried_again(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match=r"^this input is wrong on one machine only") as caught:
        workers.train(STEPPING, _both(tmp_path, at_1="fail"), num_workers=2, timeout_seconds=100)
    assert caught.value.kind == "ValueError"


def test_calls_run_in_the_child_itself(workers: Workers) -> None:
    assert workers.call("tests.infra.counting:add", {"left": 2, "right": 3}) == 5
    assert workers.call("tests.infra.counting:process_id", {}) == workers.pid
    with pytest.raises(WorkerFailed, match="not JSON serializable"):
        workers.call("tests.infra.counting:unserialisable", {})
    with pytest.raises(WorkerFailed, match="has no function subtract"):
        workers.call("tests.infra.counting:subtract", {})


def test_every_socket_listens_on_the_loopback_address_only(workers: Workers) -> None:
    assert workers.pid is not None
    process = psutil.Process(workers.pid)
    addresses = [address for one in [process, *process.children(recursive=True)] for address in _listening(one)]
    assert len(addresses) > 5
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}


def test_close_leaves_no_process(workers: Workers) -> None:
    assert workers.pid is not None
    family = psutil.Process(workers.pid).children(recursive=True)
    assert len(family) > 3
    started = time.monotonic()
    workers.close()
    assert time.monotonic() - started < 10.0
    assert workers.pid is None
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    workers.close()
    workers.start()


def test_killed_child_is_reported_with_nothing_left_and_can_be_replaced(workers: Workers, tmp_path: Path) -> None:
    family: list[psutil.Process] = []

    def kill() -> None:
        _wait_for(lambda: _lines(tmp_path))
        assert workers.pid is not None
        family.extend(psutil.Process(workers.pid).children(recursive=True))
        os.kill(workers.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(WorkerFailed, match="the worker process ended with status -9"):
        workers.train(RUN, {"folder": str(tmp_path), "steps": 1000, "seconds": 0.1})
    killer.join()
    assert len(family) > 5
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    workers.start()
    assert workers.call("tests.infra.counting:add", {"left": 1, "right": 1}) == 2


PARENT = """
import sys
from pathlib import Path
from infra.processes import private_folder
from infra.settings import load_settings
from infra.workers import Workers
with private_folder() as temporary:
    workers = Workers(load_settings(Path(sys.argv[1]), Path(sys.argv[2])), temporary)
    workers.start()
    workers.train("tests.infra.counting:run", {"folder": sys.argv[3], "steps": 10000, "seconds": 0.05})
"""


def test_killed_parent_leaves_no_orphan(settings: Settings, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(CHECKOUT), str(settings.home), str(tmp_path)],
        cwd=CHECKOUT,
        env=child_environment(settings),
        start_new_session=True,
    )
    _wait_for(lambda: len(_lines(tmp_path)) >= 3)
    family = psutil.Process(parent.pid).children(recursive=True)
    assert len(family) > 5
    parent.kill()
    parent.wait()
    _wait_for(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family), 20.0)
    with private_folder():
        pass  # sweeps what the dead parent left in the temporary folder


@pytest.mark.parametrize(
    ("device", "workers_wanted", "found", "on_gpus"),
    [("auto", 1, 0, False), ("cuda", 1, 0, False), ("cpu", 1, 4, False), ("auto", 1, 1, True), ("cuda", 4, 4, True)],
)
def test_each_worker_gets_a_gpu_where_there_are_some(
    device: str, workers_wanted: int, found: int, on_gpus: bool
) -> None:
    from infra.ray_session import each_on_a_gpu  # imports Ray

    assert each_on_a_gpu({"device": device}, workers_wanted, found) == on_gpus


def test_two_workers_never_share_a_gpu_unasked() -> None:
    from infra.ray_session import each_on_a_gpu

    with pytest.raises(
        ValueError, match=r"2 workers want a GPU each and this machine has 1; set runtime\.workers to 1"
    ):
        each_on_a_gpu({}, 2, 1)
