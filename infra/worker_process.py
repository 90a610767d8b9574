"""The child process of infra/workers.py: takes requests one by one on its main thread, and dies with its parent."""

import importlib
import json
import logging
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.processes import die_with_parent

logger = logging.getLogger(__name__)

LOG_FORMAT = "%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"

Request = dict[str, Any]


def serve() -> None:
    """Answer requests until one says close, or until the parent's end of the socket is gone."""
    start = json.loads(sys.argv[1])
    connection = socket.socket(fileno=start["socket"])
    if start["main_thread"]:
        die_with_parent(signal.SIGTERM)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    signal.signal(signal.SIGTERM, lambda *_: end_everything(143))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    set_threads(available_cores())
    requests: queue.Queue[Request] = queue.Queue()
    threading.Thread(target=_listen, args=(connection, requests), daemon=True).start()
    child = WorkerProcess(Path(start["temporary"]), Path(start["log"]))
    while (request := requests.get())["request"] != "close":
        reply = {"number": request["number"], **child.answer(request)}
        connection.sendall(json.dumps(reply).encode() + b"\n")
    child.close()


def _listen(connection: socket.socket, requests: "queue.Queue[Request]") -> None:
    """Runs beside the main thread, so that the parent's end is noticed in the middle of a training too."""
    try:
        with connection.makefile("rb") as lines:
            for line in lines:
                request = json.loads(line)
                requests.put(request)
                if request["request"] == "close":
                    return
    except OSError:
        logger.info("the connection to the parent broke")
    end_everything(1)


def end_everything(status: int) -> None:
    """End all that this process started and itself, at once: the parent is gone, nobody waits for an answer."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.Error:
            continue
    os._exit(status)


class WorkerProcess:
    """Answers requests; Ray is started by the first that needs it."""

    def __init__(self, temporary: Path, log: Path) -> None:
        self._temporary = temporary
        self._log = log
        self._ray: Any = None
        self._answers: dict[str, Callable[[Request], Any]] = {
            "warm": self._warm,
            "train": self._train,
            "call": self._call,
        }

    def answer(self, request: Request) -> dict[str, Any]:
        """{"result": ...} or {"error": ...}; an exception of any kind becomes one sentence, its traceback is logged."""
        try:
            outcome = self._answers[request["request"]](request)
            json.dumps(outcome)
        except Exception as error:
            logger.exception("%s %s failed", request["request"], request.get("function", ""))
            return {"error": describe(error)}
        if request["request"] == "train":
            return dict(outcome)
        return {"result": outcome}

    def close(self) -> None:
        if self._ray is not None:
            self._ray.close()

    def _session(self) -> Any:
        if self._ray is None:
            from infra.ray_session import RaySession

            self._ray = RaySession(self._temporary, self._log, cores=available_cores())
        return self._ray

    def _warm(self, _: Request) -> None:
        self._session()
        importlib.import_module("torch")
        importlib.import_module("transformers.models.llama.modeling_llama")

    def _train(self, request: Request) -> dict[str, Any]:
        fitted: dict[str, Any] = self._session().fit(request["function"], request["job"], request["num_workers"])
        return fitted

    def _call(self, request: Request) -> Any:
        try:
            return named_function(request["function"])(**request["arguments"])
        finally:
            torch = sys.modules.get("torch")
            if torch is not None:  # the next training is another process, and wants the GPU's memory for itself
                torch.cuda.empty_cache()


def named_function(name: str) -> Callable[..., Any]:
    """The function `module:function`; ValueError when there is none."""
    module, separator, function = name.partition(":")
    if not separator:
        raise ValueError(f"{name}: expected module:function")
    found = getattr(importlib.import_module(module), function, None)
    if not callable(found):
        raise ValueError(f"{name}: {module} has no function {function}")
    return found  # type: ignore[no-any-return]


def describe(error: BaseException) -> dict[str, Any]:
    """One sentence for a person; the class and the exit status for the caller."""
    kind = type(error).__name__
    text = " ".join(str(error).split())
    message = text if isinstance(error, ValueError) and text else f"{kind}: {text}" if text else kind
    return {"kind": kind, "message": message[:1000], "exit_status": getattr(error, "exit_status", None)}


def available_cores() -> int:
    """The cores this process may use; containers often allow fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(cores: int) -> None:
    """Before torch is imported. Ray would otherwise give a worker as many threads as the CPUs it asked for."""
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))
