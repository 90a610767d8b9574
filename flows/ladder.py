"""A ladder of small trainings, each in a process of its own and a tracked run; what is finished is not trained again."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import active_children, connection, get_context, parent_process
from pathlib import Path
from typing import Any, Protocol, TypeVar

from prefect import flow

from flows.display import Display
from flows.main_job import EXIT_INTERRUPTED, EXIT_PREEMPTED, Terminated, terminate
from infra import processes, temporary_server, tracking
from infra.settings import Settings
from infra.spool import SPOOL_FILE, SpoolReader, SpoolWriter
from infra.worker_process import available_cores

LOOKED_EVERY_SECONDS = 1.0
TRACKED = "tracked"  # a file in a training's folder: its MLflow run is whole

Record = dict[str, Any]
Result = TypeVar("Result")


class Rung(Protocol):
    """One training: `weight` is what one of its `steps` costs beside those of the others."""

    @property
    def folder(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def weight(self) -> float: ...
    @property
    def identity(self) -> str: ...
    def record(self) -> Record | None: ...
    def run(self, hooks: Sequence[Any]) -> Record: ...


def carry_out(settings: Settings, display: Display, work: Callable[[], Result]) -> tuple[Result | None, int]:
    """What the work returned, and the status; one at a time in a checkout, as every run. SIGTERM ends it as those."""
    signal.signal(signal.SIGTERM, terminate)
    try:
        with processes.RunLock(settings.lock):
            tracking.close_stale(settings)
            return work(), 0
    except (KeyboardInterrupt, Terminated) as error:
        is_preempted = isinstance(error, Terminated)
        said = "preempted" if is_preempted else "interrupted"
        display.note(f"{said}; everything so far is kept: the same command goes on")
        return None, EXIT_PREEMPTED if is_preempted else EXIT_INTERRUPTED
    finally:
        display.close()


def in_flow(name: str, work: Callable[[], Result]) -> Result:
    """The work as a Prefect flow of that name, so that its page shows when it ran and how it ended."""
    temporary_server.use()
    return flow(name=name)(work)()


def places() -> tuple[int, bool]:
    """(trainings side by side, whether each has a GPU)."""
    import torch

    return (torch.cuda.device_count(), True) if torch.cuda.is_available() else (available_cores(), False)


@contextmanager
def opened(count: int, *, on_gpus: bool = False) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, each with a GPU of its own or with one thread of the CPU: for products this small that is faster
    than all cores on one training. What ends a ladder early ends them at once: a pool would else wait for all trainings.
    """
    context = get_context("spawn")
    gpus = context.Queue()
    for number in range(count if on_gpus else 0):
        gpus.put(number)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(gpus, on_gpus))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in active_children():
            worker.terminate()
        raise
    pool.shutdown()


def _begin(gpus: Any, on_gpus: bool) -> None:
    """A worker whose parent was killed ends too: what it had trained lies in its checkpoints."""
    if on_gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpus.get())
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def climb(
    pool: ProcessPoolExecutor,
    rungs: Sequence[Rung],
    *,
    stage: str,
    display: Display,
    done: Callable[[Rung, Record], None],
) -> list[Record]:
    """The record of every rung, in their order; `done` hears of each that is finished, also of those from before."""
    found = [rung.record() for rung in rungs]
    futures: dict[Future[Record], int] = {
        pool.submit(_train, rung): place for place, rung in enumerate(rungs) if found[place] is None
    }
    for rung, record in zip(rungs, found, strict=True):
        if record is not None:
            done(rung, record)
    progress = _Progress(rungs)
    pending = set(futures)
    while pending:
        finished, pending = wait(pending, timeout=LOOKED_EVERY_SECONDS, return_when=FIRST_COMPLETED)
        for future in finished:
            place, record = futures[future], future.result()
            found[place] = record
            done(rungs[place], record)
        made, whole = progress.made(found)
        if made < whole:
            display.progress(stage, made, whole)
    return [record for record in found if record is not None]


def finished(rungs: Sequence[Rung]) -> list[Record] | None:
    """Every record, where all are there and tracked: nothing has to start then."""
    found = [rung.record() for rung in rungs if (rung.folder / TRACKED).exists()]
    records = [record for record in found if record is not None]
    return records if len(records) == len(rungs) else None


def _train(rung: Rung) -> Record:
    spool = SpoolWriter(rung.folder)
    try:
        return rung.run([spool])
    finally:
        spool.close()


class _Progress:
    """Steps made and to be made, weighed by what they cost, in thousandths of the whole."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self._rungs = rungs
        self._readers = [SpoolReader(rung.folder / SPOOL_FILE) for rung in rungs]
        self._steps = [0] * len(rungs)

    def made(self, found: Sequence[Record | None]) -> tuple[int, int]:
        for place, reader in enumerate(self._readers):
            if found[place] is not None:
                self._steps[place] = self._rungs[place].steps
            elif lines := reader.read():
                self._steps[place] = int(lines[-1]["step"])
        whole = sum(rung.weight * rung.steps for rung in self._rungs)
        made = sum(rung.weight * steps for rung, steps in zip(self._rungs, self._steps, strict=True))
        return int(1000 * made / whole), 1000


def track(settings: Settings, parent: str, rung: Rung, values: Mapping[str, Any], figures: Mapping[str, float]) -> None:
    """The rung as an MLflow run below `parent`: what it was, its curve, what it measured. Once."""
    if (rung.folder / TRACKED).exists():
        return
    run = tracking.stage_run(settings, parent=parent, stage=rung.name, run_key=rung.identity[:16])
    with tracking.tracked(settings, run):
        tracking.log_parameters(settings, run, values)
        tracking.replay_spool(settings, run, SpoolReader(rung.folder / SPOOL_FILE))
        tracking.log_metrics(settings, run, figures)
    (rung.folder / TRACKED).touch()
