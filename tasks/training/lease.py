"""One writer per training folder: a run that starts ends the process that held the folder before, and outlives it.

A lease names a process (id and start time) and an epoch that rises with every holder. A process that was paused and wakes
up late finds a higher epoch and may write nothing.
"""

import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

LEASE_FILE = "lease.json"
PATIENCE_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class Holder:
    """`started` is what the system says of the process's start, "" where it says nothing."""

    pid: int
    started: str
    epoch: int


class Lease:
    """This process's right to write into `folder`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEASE_FILE
        folder.mkdir(parents=True, exist_ok=True)
        before = _read(self._path)
        if before is not None and before.pid != os.getpid():
            end_process(before.pid, before.started)
        epoch = 1 if before is None else before.epoch + 1
        self._own = Holder(pid=os.getpid(), started=start_mark(os.getpid()), epoch=epoch)
        temporary = self._path.with_name(f"{LEASE_FILE}.{os.getpid()}")
        temporary.write_text(json.dumps(asdict(self._own)), encoding="utf-8")
        os.replace(temporary, self._path)

    @property
    def epoch(self) -> int:
        return self._own.epoch

    def check(self) -> None:
        """ValueError when another process has taken the folder over."""
        now = _read(self._path)
        if now != self._own:
            holder = "nobody" if now is None else f"process {now.pid}"
            raise ValueError(f"{self._path.parent}: {holder} holds this training now; a stale process must not write")


def end_process(pid: int, started: str) -> None:
    """Kill that very process if it still runs, and wait until it is gone."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while started and start_mark(pid) == started:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise ValueError(f"process {pid} of another user holds this training; end it first") from error
        if time.monotonic() > deadline:
            raise ValueError(f"process {pid} holds this training and does not end; end it first")
        time.sleep(0.05)


def start_mark(pid: int) -> str:
    """What tells this process from a later one with its id; "" when it is gone, a zombie, or the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    state, start = fields[0], fields[19]
    return "" if state in "ZX" else start


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
