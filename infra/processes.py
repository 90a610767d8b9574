"""Processes that end when they should: who holds a checkout, who lives, and no orphan left behind.

A process is named by its id and its start time, since ids are used again. Everything that a run starts carries the path
of its private temporary folder in its environment (`MARK`): what a crash left behind can be found, and nothing else.

As a program (`python -m infra.processes COMMAND...`) it runs COMMAND and ends it when standard input, a pipe that only
the parent holds, is closed: that works on every system and for programs that know nothing of us.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

MARK = "ESPALIER_TEMPORARY"
OWNER_FILE = "owner.json"
LONGEST_FOLDER = 40  # characters; Ray's sockets lie 67 deeper, and a unix socket's path may have 107
START_TOLERANCE = 2.0  # seconds; a clock that is set while a process runs moves its start time


def start_time(pid: int) -> float | None:
    """Seconds since the epoch at which the process started; None when it is gone or a zombie."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def own_age() -> float:
    """Seconds since this process started. Linux tells its boot time in whole seconds: `start_time` may be one too early."""
    if hasattr(time, "CLOCK_BOOTTIME") and os.path.exists("/proc/self/stat"):
        ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    started = start_time(os.getpid())
    return 0.0 if started is None else max(0.0, time.time() - started)


def is_alive(pid: int, started: float) -> bool:
    """Whether that very process (not a later one with its id) still runs."""
    now = start_time(pid)
    return now is not None and abs(now - started) <= START_TOLERANCE


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock or a folder."""

    pid: int
    started: float
    since: str

    @classmethod
    def this_process(cls) -> "Holder":
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        return cls(pid=os.getpid(), started=start_time(os.getpid()) or 0.0, since=since)

    @classmethod
    def read(cls, path: Path) -> "Holder | None":
        """What the file says; None when there is none or it is not readable (a crash while writing)."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return cls(pid=int(record["pid"]), started=float(record["started"]), since=str(record["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def alive(self) -> bool:
        return is_alive(self.pid, self.started)

    def write(self, path: Path) -> None:
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        os.replace(temporary, path)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """An exclusive lock between processes and threads; the system gives it back when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class RunLock:
    """One run per checkout. A live holder is named in the ValueError; a dead holder's lock is broken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = path.with_name(path.name + ".guard")
        self._mine: Holder | None = None

    def holder(self) -> Holder | None:
        """Who holds it now; None when free or when the holder is dead."""
        found = Holder.read(self.path)
        return found if found is not None and found.alive else None

    def acquire(self) -> None:
        # Looking and taking happen under one guard: two processes that both see a dead holder cannot both win.
        with file_lock(self._guard):
            holder = self.holder()
            if holder is not None:
                raise ValueError(
                    f"{self.path.parent}: another run holds this checkout (process {holder.pid}, "
                    f"since {holder.since}); wait for it, or end it with `kill {holder.pid}`"
                )
            self._mine = Holder.this_process()
            self._mine.write(self.path)

    def release(self) -> None:
        with file_lock(self._guard):
            if self._mine is not None and Holder.read(self.path) == self._mine:
                self.path.unlink()
            self._mine = None

    def __enter__(self) -> "RunLock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder of our own (0700, short name) that this process's temporary files go to; removed at the end.

    Folders whose owner is dead are swept first, and what their owners left running is ended. Should this process be
    killed, a small one beside it (infra/sweeper.py) ends what it had started: not all of that watches its parent.
    """
    sweep_private_folders()
    folder = Path(tempfile.mkdtemp(prefix="esp-", dir=temporary_base()))
    Holder.this_process().write(folder / OWNER_FILE)
    before = {name: os.environ.get(name) for name in (MARK, "TMPDIR")}
    os.environ.update({MARK: str(folder), "TMPDIR": str(folder)})
    tempfile.tempdir = None  # makes tempfile look at TMPDIR again
    sweeper = _start_sweeper(folder)
    try:
        yield folder
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        tempfile.tempdir = None
        end_marked(folder, besides=sweeper.pid)
        shutil.rmtree(folder, ignore_errors=True)
        assert sweeper.stdin is not None
        sweeper.stdin.close()
        sweeper.wait()


def _start_sweeper(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "infra.sweeper", str(folder)],
        env={**os.environ, "PYTHONPATH": _with_this_package(None)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def sweep_private_folders() -> list[Path]:
    """Remove the private folders that dead processes of this user left, with what still runs in them."""
    swept = []
    for folder in Path(temporary_base()).glob("esp-????????"):
        if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
            continue
        owner = Holder.read(folder / OWNER_FILE)
        if owner is None or owner.alive:
            continue
        end_marked(folder)
        shutil.rmtree(folder, ignore_errors=True)
        swept.append(folder)
    return swept


def temporary_base() -> str:
    """$TMPDIR when the caller set a short one, else /tmp: a Mac's own temporary folder is too long for sockets."""
    named = os.environ.get("TMPDIR", "")
    inside_ours = bool(os.environ.get(MARK)) and named == os.environ.get(MARK)
    if named and not inside_ours and os.access(named, os.W_OK) and len(named) + len("/esp-12345678") <= LONGEST_FOLDER:
        return named
    return "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()


def end_marked(mark: object, *, variable: str = MARK, grace: float = 2.0, besides: int | None = None) -> int:
    """End every process of this user whose environment holds variable=mark, but this one and `besides`; the number."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in (os.getpid(), besides) and process.environ().get(variable) == str(mark):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # another user's process, or one that has just ended
    return _end(found, grace)


def terminate_tree(pid: int, grace: float = 5.0) -> int:
    """End a child of this process with all its descendants, SIGTERM first; the number ended. Others' are refused."""
    import psutil

    try:
        root = psutil.Process(pid)
        if pid != os.getpid() and os.getpid() not in {parent.pid for parent in root.parents()}:
            raise ValueError(f"process {pid} was not started by this one; only own descendants are ended")
        family = [*root.children(recursive=True), *([root] if pid != os.getpid() else [])]
    except psutil.NoSuchProcess:
        return 0
    return _end(family, grace)


def _end(processes: Sequence[Any], grace: float) -> int:
    import psutil

    for process in processes:
        _send(process, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(processes, timeout=grace)
    for process in stubborn:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=5.0)
    return len(processes)


def _send(process: Any, number: int) -> None:
    import psutil

    try:
        process.send_signal(number)  # psutil compares the start time first: a reused id is never hit
    except psutil.Error:
        return


def die_with_parent(number: int = signal.SIGKILL) -> bool:
    """Ask Linux to send this process `number` when the thread that started it ends; False on other systems.

    The thread, not the process: only for processes started from a main thread.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    pr_set_pdeathsig = 1
    return bool(ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, number, 0, 0, 0) == 0)


def may_interrupt(allowed: bool) -> None:
    """Whether this thread, and what it starts from now on, interrupts who computes when it wakes (Linux; on by default).

    Who may not (SCHED_BATCH) has the same share of the cores and waits for the next tick of the clock or a free core. A
    training whose threads wait for each other at every product feels an interruption of one of them in all.
    """
    if hasattr(os, "sched_setscheduler"):
        with suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_OTHER if allowed else os.SCHED_BATCH, os.sched_param(0))


def start_process(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
) -> subprocess.Popen[str]:
    """Start a command in a session of its own that ends, with its whole process group, when this process does.

    The returned process is the watcher; its `stdin` is the pipe. SIGTERM to it ends the command's group as well.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "infra.processes", *command],
        cwd=cwd,
        env={**(os.environ if env is None else env), "PYTHONPATH": _with_this_package(env)},
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )


def _with_this_package(env: Mapping[str, str] | None) -> str:
    here = str(Path(__file__).resolve().parent.parent)
    others = (os.environ if env is None else env).get("PYTHONPATH", "")
    return here if others in ("", here) else f"{here}{os.pathsep}{others}"


def watch_over(command: Sequence[str]) -> int:
    """Run `command` until it ends, or end our whole process group when standard input is closed; its exit status."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    ending = threading.Event()

    def end_group(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the group's signal must not come back to us
        ending.set()
        os.killpg(os.getpgrp(), signal.SIGTERM)
        killer = threading.Timer(5.0, os.killpg, (os.getpgrp(), signal.SIGKILL))
        killer.daemon = True
        killer.start()

    def wait_for_parent() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, end_group)
    threading.Thread(target=wait_for_parent, daemon=True).start()
    status = child.wait()
    if ending.is_set():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    os._exit(watch_over(sys.argv[1:]))
