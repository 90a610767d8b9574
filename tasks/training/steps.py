"""Training as a Prefect task: one call into a Ray worker, followed by MLflow from its spool."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task

from infra import tracking, workers
from infra.settings import load_settings
from infra.spool import SPOOL_FILE
from infra.workers import WorkerFailed

# A worker or child that was lost is worth another start: it goes on from its checkpoint. A wrong input is not.
LOST = ("ProcessDied", "WorkerLost", "TimeoutError")


def _was_lost(_task: Any, _run: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, WorkerFailed) and error.kind in LOST


@task(name="train", task_run_name="train {stage}", retries=1, retry_delay_seconds=1, retry_condition_fn=_was_lost)
def train(stage: str, function: str, job: dict[str, Any], mlflow_run: str, num_workers: int = 1) -> dict[str, Any]:
    """What the training returned: its artifact, steps, seconds, the worker's pid. Raises WorkerFailed or Preempted."""
    del stage  # it names the task run
    settings = load_settings()
    spool = Path(job["folder"]) / SPOOL_FILE
    open_workers = workers.current()
    open_workers.start()
    with tracking.SpoolFollower(settings, mlflow_run, spool):
        return open_workers.train(function, job, num_workers=num_workers, on_metrics=open_workers.listener)


@task(name="call", task_run_name="{what}")
def call(what: str, function: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a plain function returned in the run's child process, where torch is loaded already."""
    del what  # it names the task run
    open_workers = workers.current()
    open_workers.start()
    found: dict[str, Any] = open_workers.call(function, arguments)
    return found
