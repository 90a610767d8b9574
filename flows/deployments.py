"""Deployments and schedules as code: what is written here is what the server has, and nothing else of ours."""

from dataclasses import dataclass, field
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from infra.settings import Settings, environment

WORK_POOL = "espalier"
TAG = "espalier"


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """One deployment: a flow by its module path, its parameters, and when it runs by itself (cron, UTC), if at all."""

    name: str
    flow: str
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)
    cron: str | None = None


DEPLOYMENTS = (
    Scheduled(
        name="weekly-retraining",
        flow="flows.retrain:retrain",
        description="Retrains on what has changed since the last run, or says why there was nothing to do.",
        parameters={"recipe": "laptop"},
        cron="0 3 * * 0",
    ),
    Scheduled(
        name="lifecycle",
        flow="flows.lifecycle:lifecycle",
        description="The whole lifecycle once: corpus to released assistant.",
        parameters={"recipe": "laptop"},
    ),
)


def deploy(settings: Settings, deployments: tuple[Scheduled, ...] = DEPLOYMENTS) -> dict[str, list[str]]:
    """Register `deployments` with the running server and remove ours that are no longer in the code."""
    with get_client(sync_client=True) as client:
        _ensure_work_pool(client)
        registered = [_register(client, settings, deployment) for deployment in deployments]
        removed = _remove_others(client, {name for name, _ in registered})
        cleared = [note for _, notes in registered for note in notes]
    return {"registered": [name for name, _ in registered], "removed": removed + cleared}


def _ensure_work_pool(client: SyncPrefectClient) -> None:
    try:
        client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        # Two runs at once would wait for one another's lock on the checkout: the pool runs one at a time.
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process", concurrency_limit=1))


def _register(client: SyncPrefectClient, settings: Settings, wanted: Scheduled) -> tuple[str, list[str]]:
    flow = _load(wanted.flow)
    deployment = RunnerDeployment.from_flow(
        flow,
        name=wanted.name,
        parameters=wanted.parameters,
        description=wanted.description,
        tags=[TAG],
        schedule=Cron(wanted.cron, timezone="UTC") if wanted.cron else None,
        work_pool_name=WORK_POOL,
        entrypoint_type=EntrypointType.MODULE_PATH,
        job_variables={"working_dir": str(settings.checkout), "env": _flow_environment(settings)},
    )
    identifier = deployment.apply()
    name = f"{flow.name}/{wanted.name}"
    return name, _clear_schedules(client, identifier, name, wanted.cron)


def _flow_environment(settings: Settings) -> dict[str, str]:
    """What the worker's subprocess needs to find this checkout; addresses and secrets are its own environment's."""
    values = environment(settings)
    return {name: values[name] for name in ("ESPALIER_CHECKOUT", "ESPALIER_HOME", "PYTHONPATH")}


def _load(path: str) -> Flow[..., Any]:
    module, _, name = path.partition(":")
    found: Flow[..., Any] = getattr(__import__(module, fromlist=[name]), name)
    return found


def _clear_schedules(client: SyncPrefectClient, identifier: Any, name: str, cron: str | None) -> list[str]:
    """A schedule taken out of the code stays on the server unless it is deleted there."""
    cleared = []
    for schedule in client.read_deployment_schedules(identifier):
        if getattr(schedule.schedule, "cron", None) != cron:
            client.delete_deployment_schedule(identifier, schedule.id)
            cleared.append(f"schedule of {name}")
    return cleared


def _remove_others(client: SyncPrefectClient, kept: set[str]) -> list[str]:
    removed = []
    for deployment in client.read_deployments():
        flow = client.read_flow(deployment.flow_id)
        name = f"{flow.name}/{deployment.name}"
        if TAG in deployment.tags and name not in kept:
            client.delete_deployment(deployment.id)
            removed.append(name)
    return removed
