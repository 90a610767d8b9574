"""One writer per folder: the later one holds it, and ends the earlier one if it is that very process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.training.lease import LEASE_FILE, Holder, Lease, end_process, start_mark

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEP)
    yield process
    process.kill()
    process.wait()


def write(folder: Path, holder: dict[str, object]) -> None:
    (folder / LEASE_FILE).write_text(json.dumps(holder), encoding="utf-8")


def test_epochs_rise_and_only_the_last_holder_may_write(tmp_path: Path) -> None:
    first = Lease(tmp_path / "run")
    first.check()
    second = Lease(tmp_path / "run")
    second.check()
    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(ValueError, match=f"process {os.getpid()} holds this training now; a stale process must not"):
        first.check()
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LEASE_FILE]


def test_the_process_that_held_it_is_gone_before_the_next_one_begins(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    mark = start_mark(sleeper.pid)
    if not mark:
        pytest.skip("this system does not say when a process was started")
    write(tmp_path, {"pid": sleeper.pid, "started": mark, "epoch": 7})
    assert Lease(tmp_path).epoch == 8
    assert start_mark(sleeper.pid) == ""
    assert sleeper.wait(10) == -9


@pytest.mark.parametrize("started", ["", "12345"])
def test_a_stranger_with_the_same_number_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], started: str
) -> None:
    """Numbers of processes are used again: another start is another process."""
    write(tmp_path, {"pid": sleeper.pid, "started": started, "epoch": 7})
    assert Lease(tmp_path).epoch == 8
    assert sleeper.poll() is None


def test_a_process_that_is_gone_is_nobody(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    mark = start_mark(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert start_mark(sleeper.pid) == ""
    end_process(sleeper.pid, mark)
    write(tmp_path, {"pid": sleeper.pid, "started": mark, "epoch": 1})
    assert Lease(tmp_path).epoch == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "null"])
def test_a_lease_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / LEASE_FILE).write_text(text, encoding="utf-8")
    lease = Lease(tmp_path)
    lease.check()
    assert lease.epoch == 1


def test_a_lease_that_was_taken_away_is_noticed(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    (tmp_path / LEASE_FILE).unlink()
    with pytest.raises(ValueError, match="nobody holds this training now"):
        lease.check()


def test_what_is_written_names_the_holder(tmp_path: Path) -> None:
    Lease(tmp_path)
    written = Holder(**json.loads((tmp_path / LEASE_FILE).read_text(encoding="utf-8")))
    assert written == Holder(pid=os.getpid(), started=start_mark(os.getpid()), epoch=1)
