"""MLflow: one tracked run per logical run, whatever crashed; metrics come from the spools, never from training.

A run is looked up by its key (a tag) before it is created. The store is the server of `espalier up` where that answers,
else home/mlflow.db. mlflow is imported by the first call that needs it: it takes two seconds.
"""

import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from infra.processes import Holder, file_lock
from infra.settings import Settings, answering_service
from infra.spool import SpoolReader

logger = logging.getLogger(__name__)

EXPERIMENT = "espalier"
KEY_TAG, STAGE_TAG, STEP_TAG = "espalier.run_key", "espalier.stage", "espalier.last_step"
PARENT_TAG = "mlflow.parentRunId"
LARGEST_BATCH = 1000  # metrics per call: MLflow's limit
FINAL_STATUSES = ("FINISHED", "FAILED", "KILLED")
NOT_METRICS = ("step", "time", "steps", "tokens", "process_age")


def bootstrap(settings: Settings) -> None:
    """Bring the database file to this MLflow's schema, once: first uses that race each other fail."""
    address = tracking_uri(settings)
    if address.startswith("sqlite:"):
        _bootstrap_file(address, settings.home / "mlflow.guard")


@cache
def _bootstrap_file(address: str, guard: Path) -> None:
    with file_lock(guard):
        from mlflow.store.db import utils

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        engine = utils.create_sqlalchemy_engine(address)
        try:
            if not utils._all_tables_exist(engine):
                utils._initialize_tables(engine)
            elif utils._get_schema_version(engine) != utils._get_latest_schema_revision():
                utils._upgrade_db(engine)
        finally:
            engine.dispose()


def tracking_uri(settings: Settings) -> str:
    """The server's address where it answers, else the file: one owner of the database file, never both."""
    server = answering_service(settings, "mlflow")
    return str(server["url"]) if server is not None else f"sqlite:///{settings.mlflow_db}"


def lifecycle_run(settings: Settings, *, run_key: str, recipe: Mapping[str, Any] | None = None) -> str:
    """The MLflow run id of a whole `espalier run`; the same id for the same key."""
    run_id = _find_or_create(settings, run_key, stage="lifecycle", name=f"lifecycle {run_key[:8]}", parent=None)
    if recipe is not None:
        log_parameters(settings, run_id, recipe)
    return run_id


def stage_run(settings: Settings, *, parent: str, stage: str, run_key: str) -> str:
    """The MLflow run id of one stage, nested under the run `parent`; the same id for the same key."""
    return _find_or_create(settings, run_key, stage=stage, name=stage, parent=parent)


def evaluation_run(settings: Settings, *, identity: str, name: str) -> str:
    """The MLflow run id of one evaluation, a run of its own; the same id for the same identity."""
    return _find_or_create(settings, identity, stage="evaluation", name=name, parent=None)


def _find_or_create(settings: Settings, run_key: str, *, stage: str, name: str, parent: str | None) -> str:
    if not re.fullmatch(r"[\w.:/@+-]+", run_key):
        raise ValueError(f"run key {run_key!r}: expected letters, digits and . : / @ + - only")
    client = _client(settings)
    experiment = _experiment(settings)
    with file_lock(settings.home / "mlflow.guard"):
        found = client.search_runs(
            [experiment], f"tags.`{KEY_TAG}` = '{run_key}' and tags.`{STAGE_TAG}` = '{stage}'", max_results=1
        )
        if found:
            run_id = str(found[0].info.run_id)
            client.update_run(run_id, status="RUNNING")
        else:
            tags = {KEY_TAG: run_key, STAGE_TAG: stage, "mlflow.user": "espalier", "mlflow.source.name": "espalier"}
            if parent is not None:
                tags[PARENT_TAG] = parent
            run_id = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
    _mark_open(settings, run_id)
    return run_id


def log_parameters(settings: Settings, run_id: str, values: Mapping[str, Any]) -> None:
    """Nested values become dotted names; what the run already has stays (MLflow never changes a parameter)."""
    from mlflow.entities import Param

    client = _client(settings)
    known = client.get_run(run_id).data.params
    fresh = [Param(name, text[:6000]) for name, text in _flattened(values) if name not in known]
    for start in range(0, len(fresh), 100):
        client.log_batch(run_id, params=fresh[start : start + 100])


def _flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)


def set_tags(settings: Settings, run_id: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    _client(settings).log_batch(run_id, tags=[RunTag(name, str(value)) for name, value in tags.items()])


def log_metrics(settings: Settings, run_id: str, metrics: Mapping[str, float], *, step: int = 0) -> None:
    """Figures that are no curve: gates, evaluation. Curves come from spools."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    batch = [Metric(name, float(value), now, step) for name, value in metrics.items()]
    for start in range(0, len(batch), LARGEST_BATCH):
        _client(settings).log_batch(run_id, metrics=batch[start : start + LARGEST_BATCH])


def log_missing(settings: Settings, run_id: str, metrics: Mapping[str, float]) -> None:
    """Figures that the run does not have at these values yet: logged again they would become a curve."""
    known = _client(settings).get_run(run_id).data.metrics
    log_metrics(settings, run_id, {name: value for name, value in metrics.items() if known.get(name) != value})


def log_file(settings: Settings, run_id: str, path: Path, folder: str | None = None) -> None:
    _client(settings).log_artifact(run_id, str(path), folder)


def log_text(settings: Settings, run_id: str, text: str, name: str) -> None:
    _client(settings).log_text(run_id, text, name)


def log_dataset(settings: Settings, run_id: str, *, name: str, digest: str, source: str, context: str) -> None:
    """A data set as an input of the run; `digest` is DVC's md5 (at most 36 characters)."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    if len(digest) > 36:
        raise ValueError(f"{name}: digest {digest} is longer than the 36 characters that MLflow keeps; give DVC's md5")
    dataset = Dataset(name=name, digest=digest, source_type="local", source=json.dumps({"uri": source}))
    entry = DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", context)])
    _client(settings).log_inputs(run_id, datasets=[entry])


def replay_spool(settings: Settings, run_id: str, spool: SpoolReader) -> int:
    """Log what the spool holds beyond the last logged step; the number of metrics logged now.

    Exactly once per (key, step): of a step that was trained twice the first line counts (a resumed run computes the
    same values), and the last logged step is a tag of the run, written in the same call as the metrics. What could not be
    logged is read again the next time.
    """
    from mlflow.entities import RunTag

    client, begun = _client(settings), spool.offset
    try:
        with file_lock(settings.home / "spools" / f"{run_id}.guard"):
            last = int(client.get_run(run_id).data.tags.get(STEP_TAG, "-1"))
            records: dict[int, dict[str, Any]] = {}
            for record in spool.read():
                if record["step"] > last:
                    records.setdefault(record["step"], record)
            logged = 0
            for batch in _batches(records):
                step = max(metric.step for metric in batch)
                client.log_batch(run_id, metrics=batch, tags=[RunTag(STEP_TAG, str(step))])
                logged += len(batch)
    except BaseException:
        spool.offset = begun
        raise
    return logged


def _batches(records: Mapping[int, Mapping[str, Any]]) -> Iterator[list[Any]]:
    """Whole steps only, so that the last step of a batch is complete."""
    from mlflow.entities import Metric

    batch: list[Any] = []
    for step in sorted(records):
        record = records[step]
        moment = int(record["time"] * 1000)
        metrics = [
            Metric(name, float(value), moment, step) for name, value in record.items() if name not in NOT_METRICS
        ]
        if batch and len(batch) + len(metrics) > LARGEST_BATCH:
            yield batch
            batch = []
        batch += metrics
    if batch:
        yield batch


class SpoolFollower:
    """Replays a spool every few seconds beside a training. Tracking trouble is logged; training never hears of it."""

    def __init__(self, settings: Settings, run_id: str, spool: Path, every_seconds: float = 10.0) -> None:
        self._settings = settings
        self._run_id = run_id
        self._spool = SpoolReader(spool)
        self._every = every_seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"spool {run_id[:8]}", daemon=True)

    def __enter__(self) -> "SpoolFollower":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Replay the rest and end."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        self._replay()

    def _follow(self) -> None:
        while not self._end.wait(self._every):
            self._replay()

    def _replay(self) -> None:
        try:
            if self._spool.has_grown():
                replay_spool(self._settings, self._run_id, self._spool)
        except Exception as error:  # whatever the store does, it must not end a training
            logger.warning("metrics of run %s wait in %s: %s", self._run_id, self._spool.path, error)


def finish(settings: Settings, run_id: str, status: str) -> None:
    """End the run as FINISHED, FAILED or KILLED."""
    if status not in FINAL_STATUSES:
        raise ValueError(f"status {status!r}: expected one of {', '.join(FINAL_STATUSES)}")
    _client(settings).set_terminated(run_id, status)
    _open_file(settings, run_id).unlink(missing_ok=True)


@contextmanager
def tracked(settings: Settings, run_id: str) -> Iterator[None]:
    """End the run honestly: FINISHED, KILLED when interrupted or preempted, FAILED by any other exception."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt) or getattr(error, "exit_status", None) == 75
        finish(settings, run_id, "KILLED" if stopped else "FAILED")
        raise
    finish(settings, run_id, "FINISHED")


def close_stale(settings: Settings) -> list[str]:
    """End as KILLED what dead processes left RUNNING; the run ids. Imports nothing when there is nothing to close."""
    closed = []
    for path in sorted((settings.home / "open-runs").glob("*.json")):
        holder = Holder.read(path)
        if holder is not None and holder.alive:
            continue
        client = _client(settings)
        if client.get_run(path.stem).info.status == "RUNNING":
            client.set_terminated(path.stem, "KILLED")
            closed.append(path.stem)
        path.unlink(missing_ok=True)
    return closed


def run_address(settings: Settings, run_id: str) -> str | None:
    """Where a browser sees the run; None while no server of `espalier up` answers."""
    server = answering_service(settings, "mlflow")
    if server is None:
        return None
    return f"{str(server['url']).rstrip('/')}/#/experiments/{_experiment(settings)}/runs/{run_id}"


def _mark_open(settings: Settings, run_id: str) -> None:
    """Which process has the run open, in a file: the next start can tell without importing mlflow."""
    path = _open_file(settings, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    Holder.this_process().write(path)


def _open_file(settings: Settings, run_id: str) -> Path:
    return settings.home / "open-runs" / f"{run_id}.json"


def _client(settings: Settings) -> Any:
    address = tracking_uri(settings)
    bootstrap(settings)
    return _client_at(address)


@cache
def _client_at(address: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=address, registry_uri=address)


def _experiment(settings: Settings) -> str:
    """The id of our one experiment; its files lie in home/mlflow, not in the working directory."""
    client = _client(settings)
    with file_lock(settings.home / "mlflow.guard"):
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        settings.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
        return str(client.create_experiment(EXPERIMENT, artifact_location=settings.mlflow_artifacts.as_uri()))
