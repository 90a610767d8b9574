"""Locks, private folders and processes that end: with real processes, killed for real."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra import processes
from infra.processes import MARK, Holder, RunLock, is_alive, private_folder, start_process, terminate_tree

CHECKOUT = Path(__file__).resolve().parent.parent.parent
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def _wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_process_is_its_id_and_its_start() -> None:
    mine = processes.start_time(os.getpid())
    assert mine is not None
    assert is_alive(os.getpid(), mine)
    assert not is_alive(os.getpid(), mine - 60.0)
    child = subprocess.Popen(SLEEP)
    started = processes.start_time(child.pid)
    assert started is not None
    child.kill()
    _wait_for(lambda: not is_alive(child.pid, started))  # a zombie is dead
    child.wait()


def test_a_process_knows_its_age_to_a_few_hundredths_of_a_second() -> None:
    started = time.time()
    told = "import time; from infra.processes import own_age; print(time.time() - own_age())"
    born = float(subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout)
    assert started - 0.05 < born < started + 2.0


def test_held_lock_names_its_holder(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from infra.processes import RunLock; "
        "RunLock(Path(sys.argv[1])).acquire(); sys.stdout.write('held'); sys.stdout.flush(); time.sleep(600)"
    )
    path = tmp_path / "home" / "run.lock"
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=CHECKOUT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.read(4) == b"held"
    with pytest.raises(ValueError, match=rf"another run holds this checkout \(process {child.pid}, since 2\d\d\d-"):
        RunLock(path).acquire()
    holder = RunLock(path).holder()
    assert holder is not None
    assert holder.pid == child.pid
    child.kill()
    child.wait()
    child.stdout.close()
    with RunLock(path) as lock:  # the dead holder's lock is broken
        assert lock.holder() == Holder.read(path)
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_two_that_see_a_dead_holder_cannot_both_take_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    for _ in range(20):
        Holder(pid=os.getpid(), started=1.0, since="long ago").write(path)
        taken: list[RunLock] = []
        refused: list[ValueError] = []
        barrier = threading.Barrier(4)

        def take(
            taken: list[RunLock] = taken,
            refused: list[ValueError] = refused,
            barrier: threading.Barrier = barrier,
        ) -> None:
            lock = RunLock(path)
            barrier.wait()
            try:
                lock.acquire()
                taken.append(lock)
            except ValueError as error:
                refused.append(error)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(taken), len(refused)) == (1, 3)
        taken[0].release()


def test_half_written_lock_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    path.write_text('{"pid": 1')
    with RunLock(path):
        assert Holder.read(path) is not None


def test_private_folder_is_private_short_and_gone_afterwards() -> None:
    before = tempfile.gettempdir()
    with private_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(str(folder / "ray")) <= processes.LONGEST_FOLDER
        assert tempfile.gettempdir() == str(folder)
        child = subprocess.Popen(SLEEP)
        assert os.environ[MARK] == str(folder)
    child.wait(timeout=5)
    assert not folder.exists()
    assert tempfile.gettempdir() == before
    assert os.environ.get(MARK) != str(folder)


def test_folder_and_processes_of_a_dead_owner_are_swept() -> None:
    code = (
        "import os, subprocess, sys; from infra.processes import private_folder\n"
        "with private_folder() as folder:\n"
        "    command = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "    child = subprocess.Popen(command, start_new_session=True, stdout=-3, stderr=-3)\n"  # DEVNULL
        "    sys.stdout.write(f'{folder} {child.pid}'); sys.stdout.flush()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    spoken = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False
    )
    folder, pid = spoken.stdout.split()
    orphan = psutil.Process(int(pid))
    assert Path(folder).exists()
    assert _runs(orphan)
    living = subprocess.Popen(SLEEP, env={**os.environ, MARK: "/tmp/esp-of-someone-else"})
    assert Path(folder) in processes.sweep_private_folders()
    assert not Path(folder).exists()
    assert not _runs(orphan)
    assert living.poll() is None
    living.kill()
    living.wait()


def test_only_own_descendants_are_ended() -> None:
    with pytest.raises(ValueError, match="was not started by this one"):
        terminate_tree(os.getppid())
    grandparent = subprocess.Popen([sys.executable, "-c", "import os, time; os.fork(); time.sleep(600)"])
    family = psutil.Process(grandparent.pid)
    _wait_for(lambda: len(family.children()) == 1)
    child = family.children()[0]
    assert terminate_tree(grandparent.pid) == 2
    grandparent.wait()
    assert not _runs(child)
    assert terminate_tree(grandparent.pid) == 0


def test_watched_process_passes_its_output_and_status() -> None:
    code = "import sys; sys.stdout.write('hello'); sys.exit(7)"
    process = start_process([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.read() == "hello"
    assert process.wait(timeout=20) == 7
    process.stdout.close()
    process.stdin.close()


@pytest.mark.parametrize("deaf", [False, True])
def test_watched_process_dies_with_its_parent(tmp_path: Path, deaf: bool) -> None:
    note = tmp_path / "pid"
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if deaf else ""
    command = f"import os, signal, time; {ignore}open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    code = (
        "import sys, time; from infra.processes import start_process; "
        "start_process([sys.executable, '-c', sys.argv[1]]); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, command], cwd=CHECKOUT)
    _wait_for(lambda: note.exists() and note.read_text() != "")
    watched = psutil.Process(int(note.read_text()))
    watcher = watched.parent()
    assert watcher is not None
    assert watcher.ppid() == parent.pid
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _wait_for(lambda: not _runs(watched) and not _runs(watcher))


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux alone has it")
def test_who_may_not_interrupt_hands_it_on_and_may_be_let_again() -> None:
    """In a thread: it is the thread's own, and what it starts has it from there."""
    found: list[int] = []

    def asked() -> None:
        found.append(os.sched_getscheduler(0))

    def stand_back() -> None:
        processes.may_interrupt(False)
        for each in (asked, lambda: processes.may_interrupt(True), asked):
            started = threading.Thread(target=each)
            started.start()
            started.join()
        processes.may_interrupt(True)
        asked()

    thread = threading.Thread(target=stand_back)
    thread.start()
    thread.join()
    asked()
    assert found == [os.SCHED_BATCH, os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_OTHER]
