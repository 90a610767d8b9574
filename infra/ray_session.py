"""One local Ray session and Ray Train on it. Imported only in the child process; its main thread must call all of this.

Start-up of a fit is CPU time: each Ray process imports Ray Train (1.6 s), with torch 1.7 s more. So one worker runs in
the plain data-parallel trainer (its controller then needs no torch), three actors that serve Ray Data and clusters are
left out, and Ray starts no spare workers.
"""

import itertools
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.execution.scaling_policy.fixed import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from infra import attempts
from infra.attempts import WorkerLost
from infra.processes import LONGEST_FOLDER, may_interrupt, start_time
from infra.spool import SpoolWriter
from infra.storage import write_json
from infra.worker_process import LOG_FORMAT, describe, named_function
from infra.workers import RESULT_FILE, WORKER_FILE

logger = logging.getLogger(__name__)

MOST_RESTARTS = 1000  # Ray's own count; what ends a training that is lost again and again is infra/attempts.py
MOST_STARTS_LOST = 10  # while workers are being started: nothing of ours has run yet
GRACE_SECONDS = 60.0  # a process group waits longer than the watchdogs, so that every rank's stacks are kept
OBJECT_STORE_BYTES = 80 * 2**20  # Ray's minimum is 75 MiB; only small JSON passes through it
UNUSED_CALLBACKS = ("PlacementGroupCleanerCallback", "DatasetsCallback")

# In a training worker: set by SIGTERM, read by the training thread at every step.
_stop = threading.Event()


class RaySession:
    """A Ray of our own on the loopback address, with token authentication and all its files in `temporary`."""

    def __init__(self, temporary: Path, log: Path, cores: int) -> None:
        folder = temporary / "ray"
        if len(str(folder)) > LONGEST_FOLDER:
            raise ValueError(
                f"{folder}: too long for Ray's sockets, at most {LONGEST_FOLDER} characters; set a short TMPDIR"
            )
        self._log = log
        self._cores = cores
        self._results = temporary / "fits"
        self._fits = itertools.count(1)
        ray.init(
            address="local",
            num_cpus=max(cores, 16),  # logical: a worker asks for one and uses all cores, nothing waits for another
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
        )
        node = ray._private.worker._global_node
        node.kill_log_monitor()  # it reads files for a driver that wants to see none
        node.kill_monitor()  # it adds and removes machines: there is one
        node.kill_dashboard()  # its pages are switched off; what is left of it wakes 30 times a second

    def fit(self, function: str, job: dict[str, Any], num_workers: int) -> dict[str, Any]:
        """{"result": what `function` returned on rank 0} or {"error": ...}. A killed worker is started again."""
        threads = os.environ.get("OMP_NUM_THREADS", str(self._cores))
        if num_workers > 1:
            threads = str(max(1, self._cores // num_workers))
        name = f"{next(self._fits)}-{Path(job['folder']).name}"  # never used twice: Ray would resume its own record
        on_gpus = each_on_a_gpu(job.get("runtime", {}), num_workers, int(ray.cluster_resources().get("GPU", 0)))
        trainer = _Trainer(
            train_loop,
            train_loop_config={"function": function, "job": job},
            # what asks Ray for no GPU sees none
            scaling_config=ScalingConfig(
                num_workers=num_workers,
                use_gpu=on_gpus,
                resources_per_worker={"CPU": 1, "GPU": 1} if on_gpus else {"CPU": 1},
            ),
            run_config=RunConfig(
                name=name,
                storage_path=str(self._results),
                failure_config=FailureConfig(
                    max_failures=MOST_RESTARTS,
                    controller_failure_limit=MOST_STARTS_LOST,
                    max_preemption_failures=MOST_RESTARTS,
                ),
                worker_runtime_env={"env_vars": {"OMP_NUM_THREADS": threads}},
            ),
            backend_config=self._backend(num_workers, job, on_gpus),
        )
        attempts.forget(Path(job["folder"]))
        try:
            outcome: dict[str, Any] = trainer.fit().return_value
        except TrainingFailedError as error:
            logger.exception("Ray Train gave up")
            reason = next(
                (line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "no reason given"
            )
            raise WorkerLost(f"the training workers were lost, at last by: {reason[:300]}") from error
        return outcome

    def _backend(self, num_workers: int, job: dict[str, Any], on_gpus: bool) -> BackendConfig:
        if num_workers == 1:
            return PlainConfig(str(self._log))
        from infra.ray_group import GroupConfig

        patience = float(job.get("runtime", {}).get("hang_seconds") or attempts.HANG_SECONDS)
        backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
        return GroupConfig(backend=backend, timeout_s=int(patience + GRACE_SECONDS), log=str(self._log))

    def close(self) -> None:
        ray.shutdown()


def each_on_a_gpu(runtime: Mapping[str, Any], num_workers: int, found: int) -> bool:
    """Whether every worker gets a GPU of its own: where there are some, and `runtime.device` does not rule them out.

    ValueError when there are some and too few: two workers on one GPU would share its memory unasked.
    """
    if found == 0 or runtime.get("device") == "cpu":
        return False
    if found < num_workers:
        raise ValueError(
            f"runtime: {num_workers} workers want a GPU each and this machine has {found}; set runtime.workers to "
            f"{found}, or runtime.device to cpu"
        )
    return True


class _Trainer(DataParallelTrainer):  # type: ignore[misc]
    """Without the actors for Ray Data and for placement groups of a dead controller: our session ends with a run."""

    def _create_default_callbacks(self) -> list[Any]:
        return [one for one in super()._create_default_callbacks() if type(one).__name__ not in UNUSED_CALLBACKS]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        return super()._initialize_and_run_controller(**{**arguments, "scaling_policy": _Fixed(self.scaling_config)})


class _Fixed(FixedScalingPolicy):  # type: ignore[misc]
    """Asks no autoscaler: there is none on one machine, and the actor that speaks to it imports Ray Data first."""

    def after_controller_start(self, train_run_context: Any) -> None:
        del train_run_context

    def _maybe_send_resource_request(self) -> None:
        pass


def train_loop(config: dict[str, Any]) -> dict[str, Any]:
    """Runs in the Ray worker, on a thread. An exception is an outcome: trying again would not mend it."""
    may_interrupt(True)
    job = config["job"]
    folder = Path(job["folder"])
    rank = ray.train.get_context().get_world_rank()
    if rank == 0:
        write_json(folder / WORKER_FILE, {"pid": os.getpid(), "started": start_time(os.getpid())})
    spool = SpoolWriter(folder, stopped=_stop.is_set) if rank == 0 else None
    try:
        outcome = attempts.told(folder)
        if rank == 0 and outcome is None:
            attempts.count(folder)
        outcome = outcome or {"result": named_function(config["function"])(job, [spool] if spool is not None else [])}
    except Exception as error:
        logger.exception("%s failed", config["function"])
        if attempts.is_of_the_group(error):
            raise  # another rank is gone: Ray starts all of them again
        outcome = {"error": describe(error)}
        if outcome["error"]["exit_status"] is None:
            attempts.tell(folder, rank, outcome)
            if rank != 0:
                raise  # the others may wait in a collective; started again, they say what was wrong here
    finally:
        if spool is not None:
            spool.close()
    if rank == 0:
        write_json(folder / RESULT_FILE, outcome)
    return outcome


def prepare_worker(log: str) -> None:
    """On the worker's main thread, the only one that may set signal handlers; its output goes to our log."""
    _stop.clear()
    signal.signal(signal.SIGTERM, lambda *_: _stop.set())
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    handler = logging.FileHandler(log)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]  # Ray's own write to files that go with the temporary folder
    root.setLevel(logging.INFO)


class PlainBackend(Backend):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: "PlainConfig") -> None:
        worker_group.execute(prepare_worker, backend_config.log)
        ray.kill(worker_group.get_worker_group_state().sync_actor)  # where ranks meet: there is one


class PlainConfig(BackendConfig):  # type: ignore[misc]
    """No process group: one worker needs none, and Ray's controller then does not import torch."""

    def __init__(self, log: str) -> None:
        self.log = log

    @property
    def backend_cls(self) -> type[Backend]:
        return PlainBackend
