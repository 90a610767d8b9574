"""MLflow's model registry as a projection of the ledger: people look there, serving does not.

Each champion becomes a version of the registered model of its name, with the alias production (aligned) or promoted. All
of it can be thrown away and told again. Plain registry calls only: nothing of a model is loaded, copied or logged.
mlflow is imported by the first call that has something to say to it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from infra import tracking
from infra.database.champions import told_of_champions
from infra.database.events import history, record_event
from infra.database.outbox import pending, reconcile
from infra.database.sessions import exclusive
from infra.settings import Settings

DIGEST_TAG, EPOCH_TAG = "espalier.digest", "espalier.epoch"
ALIASES = ("production", "promoted")


def project(settings: Settings, engine: Engine) -> int:
    """Tell MLflow what the ledger decided since the last time; the number of changes told. The rest stays pending."""
    if not pending(engine):
        return 0

    def apply(kind: str, payload: dict[str, Any]) -> None:
        if kind != "set_alias":
            raise ValueError(f"outbox: {kind!r} is nothing that MLflow is told")
        _set_alias(settings, payload)

    return reconcile(engine, apply)


def _set_alias(settings: Settings, payload: Mapping[str, Any]) -> None:
    """Idempotent; an epoch lower than the one that MLflow was last told changes no alias."""
    client = tracking._client(settings)
    model = _registered_model(client, payload["name"])
    number = _version_number(settings, client, payload)
    client.set_model_version_tag(payload["name"], number, EPOCH_TAG, str(payload["epoch"]))
    if int(model.tags.get(EPOCH_TAG, "0")) > payload["epoch"]:
        return
    client.set_registered_model_alias(payload["name"], payload["alias"], number)
    for other in ALIASES:
        if other != payload["alias"] and other in model.aliases:
            client.delete_registered_model_alias(payload["name"], other)
    client.set_registered_model_tag(payload["name"], EPOCH_TAG, str(payload["epoch"]))


def _registered_model(client: Any, name: str) -> Any:
    """The registered model of this name, created if it is not there, also when another process is as quick."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={"espalier.ledger": "projection"})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.get_registered_model(name)


def _version_number(settings: Settings, client: Any, payload: Mapping[str, Any]) -> str:
    """MLflow's number of the version with this digest, created if it is not there. It counts the promoted ones alone."""
    name, digest = payload["name"], payload["digest"]
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.tags.get(DIGEST_TAG) == digest:
            return str(version.version)
    tags = {
        DIGEST_TAG: digest,
        "espalier.version": f"{name}:{payload['version']}",
        "espalier.stage": payload["stage"],
        "espalier.run": str(payload["run_id"] or ""),
        "espalier.path": payload["path"],
    }
    created = client.create_model_version(name, _source(settings, payload["path"]), tags=tags, await_creation_for=0)
    return str(created.version)


def _source(settings: Settings, path: str) -> str:
    """The folder as a file URI. MLflow's server takes no file outside its own artifacts: there the scheme is ours."""
    address = Path(path).resolve().as_uri()
    return (
        address if tracking.tracking_uri(settings).startswith("sqlite:") else address.replace("file:", "artifact:", 1)
    )


def drift(settings: Settings, engine: Engine, *, repair: bool = False) -> list[str]:
    """Where MLflow's aliases are not where the ledger says, one sentence each; `repair` moves them back.

    What is still pending is late, not wrong, and is left to `project`. A new finding is an event, so is a repair.
    """
    findings = []
    with exclusive(engine, "outbox"):  # else a champion that is told meanwhile would be moved back
        late = {row["name"] for row in pending(engine)}
        for payload in told_of_champions(engine):
            finding = "" if payload["name"] in late else _compare(settings, payload)
            if finding:
                findings.append(finding)
                _note(engine, payload["name"], finding)
                if repair:
                    _repair(settings, engine, payload)
    return findings


def _compare(settings: Settings, payload: Mapping[str, Any]) -> str:
    """What is wrong with the aliases of one champion's model; empty when nothing is."""
    from mlflow.exceptions import MlflowException

    client, name, alias = tracking._client(settings), payload["name"], payload["alias"]
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return f"{name}: MLflow does not know it"
    if alias not in model.aliases:
        return f"{name}: alias {alias} is missing"
    digest = client.get_model_version(name, model.aliases[alias]).tags.get(DIGEST_TAG, "unknown")
    if digest != payload["digest"]:
        return f"{name}: alias {alias} is at {digest[:12]}, the champion is {payload['digest'][:12]}"
    others = sorted(set(ALIASES) & set(model.aliases) - {alias})
    return f"{name}: alias {others[0]} is set, and the champion has {alias}" if others else ""


def _repair(settings: Settings, engine: Engine, payload: Mapping[str, Any]) -> None:
    client = tracking._client(settings)
    _registered_model(client, payload["name"])
    # Whoever moved the alias may have moved the epoch as well; the ledger's is the only one that counts.
    client.set_registered_model_tag(payload["name"], EPOCH_TAG, str(payload["epoch"]))
    _set_alias(settings, payload)
    said = {"alias": payload["alias"], "digest": payload["digest"], "epoch": payload["epoch"]}
    record_event(engine, actor="reconciler", kind="drift_repaired", name=payload["name"], payload=said)


def _note(engine: Engine, name: str, finding: str) -> None:
    """One event for a drift, however often it is looked at."""
    seen = [event for event in history(engine, name) if event["kind"].startswith("drift") or event["kind"] == "applied"]
    if not seen or seen[-1]["kind"] != "drift" or seen[-1]["payload"] != {"finding": finding}:
        record_event(engine, actor="reconciler", kind="drift", name=name, payload={"finding": finding})
