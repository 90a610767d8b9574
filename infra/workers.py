"""The one child process of a run in which trainings (on Ray Train) and model calls happen, one after another.

Ray kills its processes when the thread that started them ends, and Prefect runs tasks in threads: so Ray lives on the
main thread of a process of its own (infra/worker_process.py). It is spoken to in JSON lines over a socket pair, never
over standard output, which libraries print to. When this process ends, by whatever means, the socket closes and the
child ends itself and all that Ray started.
"""

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.processes import end_marked, is_alive, terminate_tree
from infra.settings import Settings, child_environment
from infra.spool import SPOOL_FILE, STOP_FILE, SpoolReader
from infra.storage import read_json

WORKER_MARK = "ESPALIER_WORKERS"
WORKER_FILE = "worker.json"
RESULT_FILE = "result.json"
POLL_SECONDS = 0.25
CLOSE_SECONDS = 15.0
PREEMPT_SECONDS = 30.0

OnMetrics = Callable[[dict[str, Any]], None]


class WorkerFailed(Exception):
    """A training or call failed in the child: one sentence, and where its log is. `kind` is the error's own class."""

    def __init__(self, message: str, log: Path, kind: str = "") -> None:
        super().__init__(f"{message} (log: {log})")
        self.message = message
        self.log = log
        self.kind = kind


class Preempted(Exception):
    """The training was asked to stop, has written a checkpoint, and goes on when it is run again."""

    exit_status = 75


class Workers:
    """One child process per run; every method may be called from any thread, and calls wait for one another."""

    def __init__(self, settings: Settings, temporary: Path) -> None:
        self.settings = settings
        self.log = settings.logs / "workers.log"
        self._temporary = temporary
        self._mark = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._unread = b""
        self._requests = 0
        self._turn = threading.Lock()
        self._folder: Path | None = None
        self.listener: OnMetrics | None = None  # who wants to hear of every step; set by whoever opened the run

    def start(self) -> None:
        """Start the child; returns at once. Called again, it replaces a child that has died."""
        if self._process is not None and self._process.poll() is None:
            return
        self._forget_child()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        start = {
            "socket": theirs.fileno(),
            "temporary": str(self._temporary),
            "log": str(self.log),
            "main_thread": threading.current_thread() is threading.main_thread(),
        }
        with self.log.open("ab") as log, theirs:
            self._process = subprocess.Popen(
                [self.settings.python, "-m", "infra.workers", json.dumps(start)],
                cwd=self.settings.checkout,
                # Ray renames its processes, and must not write over the environment that names them as ours.
                env=child_environment(self.settings, {WORKER_MARK: self._mark, "SPT_NOENV": "1"}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._socket = ours

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def warm(self) -> None:
        """Let the child start Ray and import torch and transformers meanwhile; does not wait for it."""
        with self._turn:
            self._send({"request": "warm"})

    def train(
        self,
        function: str,
        job: Mapping[str, Any],
        *,
        num_workers: int = 1,
        on_metrics: OnMetrics | None = None,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """What `module:function`(job, hooks) returned in a Ray Train worker; `job["folder"]` holds spool and result.

        A worker that is killed is started again, twice at most, and the function resumes from its own checkpoints; an
        exception is not tried again. Raises Preempted, or WorkerFailed. Interrupted (Ctrl-C, SIGTERM), it lets the worker
        write a checkpoint first.
        """
        folder = Path(job["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        for name in (STOP_FILE, WORKER_FILE, RESULT_FILE):
            (folder / name).unlink(missing_ok=True)
        spool = SpoolReader.at_end(folder / SPOOL_FILE)
        self._folder = folder
        request = {"request": "train", "function": function, "job": dict(job), "num_workers": num_workers}
        try:
            result = self._ask(request, spool=spool, on_metrics=on_metrics, timeout_seconds=timeout_seconds)
        except Exception:
            raise
        except BaseException:
            self._let_it_checkpoint()
            raise
        finally:
            self._folder = None
        if not isinstance(result, dict):
            raise WorkerFailed(f"{function} returned a {type(result).__name__}, expected a dict", self.log)
        return result

    def _let_it_checkpoint(self) -> None:
        """Ask the interrupted training to end at its next boundary, and wait for that; a second Ctrl-C does not wait."""
        self.preempt()
        deadline = time.monotonic() + PREEMPT_SECONDS
        with contextlib.suppress(WorkerFailed):
            while time.monotonic() < deadline:
                reply = self._receive(POLL_SECONDS)
                if reply is not None and reply["number"] == self._requests:
                    return

    def call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        """What `module:function`(**arguments) returned in the child's main thread, without Ray; JSON both ways."""
        return self._ask({"request": "call", "function": function, "arguments": dict(arguments)})

    def preempt(self) -> bool:
        """Ask the training that runs now to checkpoint and end: its `train` raises Preempted. False when none runs."""
        folder = self._folder
        if folder is None:
            return False
        (folder / STOP_FILE).touch()
        worker = read_json(folder / WORKER_FILE)
        if isinstance(worker, dict) and is_alive(worker["pid"], worker["started"]):
            os.kill(worker["pid"], signal.SIGTERM)
        return True

    def close(self) -> None:
        """End the child and everything that Ray started; safe to call twice."""
        if self._process is None:
            return
        if self._turn.acquire(timeout=0.5):
            try:
                self._send({"request": "close"})
                self._process.wait(CLOSE_SECONDS)
            except (WorkerFailed, subprocess.TimeoutExpired):
                pass
            finally:
                self._turn.release()
        self._forget_child()

    def __enter__(self) -> "Workers":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget_child(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            if self._process.poll() is None:
                terminate_tree(self._process.pid, grace=2.0)
            self._process.wait()
            # A child that was killed could not end what Ray had started; its agents would live on for half a minute.
            end_marked(self._mark, variable=WORKER_MARK, grace=1.0)
        self._process, self._socket, self._unread = None, None, b""

    def _ask(
        self,
        request: dict[str, Any],
        *,
        spool: SpoolReader | None = None,
        on_metrics: OnMetrics | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._turn:
            number = self._send(request)
            while True:
                reply = self._receive(POLL_SECONDS)
                if on_metrics is not None and spool is not None:
                    for record in spool.read():
                        on_metrics(record)
                if reply is not None and reply["number"] == number:
                    return self._result(reply)
                if deadline is not None and time.monotonic() > deadline:
                    self._forget_child()
                    raise WorkerFailed(f"no end after {timeout_seconds:.0f} s: stopped", self.log, kind="TimeoutError")

    def _result(self, reply: dict[str, Any]) -> Any:
        error = reply.get("error")
        if error is None:
            return reply["result"]
        if error["exit_status"] == Preempted.exit_status:
            raise Preempted(error["message"])
        raise WorkerFailed(error["message"], self.log, kind=error["kind"])

    def _send(self, request: dict[str, Any]) -> int:
        if self._socket is None:
            raise ValueError("the worker process is not started: call start() first")
        self._requests += 1
        try:
            self._socket.sendall(json.dumps({**request, "number": self._requests}).encode() + b"\n")
        except OSError as error:
            raise self._died() from error
        return self._requests

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """The next whole line, waiting at most `seconds` for it; WorkerFailed when the child has died."""
        assert self._socket is not None
        if b"\n" not in self._unread:
            readable, _, _ = select.select([self._socket], [], [], seconds)
            if not readable:
                return None
            try:
                received = self._socket.recv(1 << 20)
            except ConnectionError:
                received = b""
            if not received:
                raise self._died()
            self._unread += received
        line, separator, rest = self._unread.partition(b"\n")
        if not separator:
            return None
        self._unread = rest
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _died(self) -> WorkerFailed:
        process = self._process
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2.0)  # its sockets close a moment before its status can be read
        self._forget_child()
        status = "" if process is None else f" with status {process.returncode}"
        return WorkerFailed(f"the worker process ended{status}", self.log, kind="ProcessDied")


_open: Workers | None = None


@contextlib.contextmanager
def opened(workers: Workers) -> Iterator[Workers]:
    """Make `workers` those of this run, for whatever step asks for them; started by the first, closed at the end."""
    global _open
    _open = workers
    try:
        yield workers
    finally:
        _open = None
        workers.close()


def current() -> Workers:
    """The workers of the run that is open; ValueError outside of one."""
    if _open is None:
        raise ValueError("no run is open: stages run inside `espalier run`, `espalier stage` or a deployment")
    return _open


def main() -> None:
    from infra.processes import may_interrupt
    from infra.worker_process import serve

    may_interrupt(False)  # nor may Ray's own processes, but for a training's thread
    serve()


if __name__ == "__main__":
    main()
