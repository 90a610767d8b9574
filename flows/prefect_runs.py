"""Runs that Prefect still calls running though their process is gone: named in files, closed at the next start."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Crashed

from infra.processes import Holder
from infra.settings import Settings

GONE: State[None] = Crashed(message="its process is gone; the same command goes on where it was")


@contextmanager
def marked_open(settings: Settings) -> Iterator[None]:
    """Name this process as the one that works on the flow run that is open here."""
    identifier = flow_run.id
    if identifier is None:
        yield
        return
    path = settings.home / "open-flow-runs" / f"{identifier}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    Holder.this_process().write(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def close_stale(settings: Settings) -> list[str]:
    """Mark as CRASHED what dead processes left running, with subflows and tasks; the flow run ids."""
    closed = []
    for path in sorted((settings.home / "open-flow-runs").glob("*.json")):
        holder = Holder.read(path)
        if holder is not None and (holder.alive or holder.pid == os.getpid()):
            continue
        with get_client(sync_client=True) as client:
            _crash(client, path)
        closed.append(path.stem)
        path.unlink(missing_ok=True)
    return closed


def _crash(client: SyncPrefectClient, path: Path) -> None:
    try:
        family = [client.read_flow_run(UUID(path.stem))]
    except ObjectNotFound:
        return  # the server's database was replaced
    ids = [family[0].id]
    family += client.read_flow_runs(
        flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=ids))
    )
    for run in family:
        if run.state is None or not run.state.is_final():
            client.set_flow_run_state(run.id, GONE, force=True)
    types = TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    working = TaskRunFilter(state=TaskRunFilterState(type=types))
    for task in client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id for run in family])), task_run_filter=working
    ):
        client.set_task_run_state(task.id, GONE, force=True)
