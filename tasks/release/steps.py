"""Gate, register and promote as Prefect tasks: the ledger is the truth, MLflow's registry follows it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task

from infra import model_registry
from infra.database import champions, gate_reports, promotions, sessions, versions
from infra.settings import load_settings
from tasks.artifacts import verify

PROMOTED = ("APPLYING", "CHAMPION", "SUPERSEDED")


@task(name="gate", task_run_name="gate {stage}")
def gate(stage: str, figures: Mapping[str, Any], gates: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on the figures of a stage; `gates` is the recipe's section."""
    from tasks.configuration import build
    from tasks.release.gates import GatesConfig, judge

    return judge(stage, figures, build(GatesConfig, gates, where="gates")).record()


@task(name="register", task_run_name="register {name}")
def register(name: str, version: Mapping[str, Any], verdict: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Enter a version and its gate report into the ledger; the gate report's digest."""
    with sessions.ledger(load_settings()) as engine:
        versions.register_version(engine, name=name, **version)
        return gate_reports.record_gate_report(
            engine, digest=version["digest"], name=name, verdict=verdict["verdict"], **report
        )


@task(name="promote", task_run_name="promote {name}")
def promote(
    name: str, candidate: str, gate_report: str, author: str, key: str, expected_epoch: int | None = None
) -> dict[str, Any]:
    """Make a candidate whose gate said PASS the champion of its name; ValueError says why not.

    One that is the champion already (the same bytes were made again) stays it.
    """
    settings = load_settings()
    with sessions.ledger(settings) as engine:
        now = champions.champion(engine, name)
        if now is not None and now["digest"] == candidate:
            return now
        promoted = champions.promote_automatically(
            engine,
            name=name,
            candidate=candidate,
            gate_report=gate_report,
            author=author,
            approver="gate",
            verify=intact,
            idempotency_key=key,
            expected_epoch=expected_epoch,
        )
    if not promoted["passed"]:
        raise ValueError(f"{name}: {candidate[:12]} was not promoted: {promoted.get('outcome') or promoted['state']}")
    return promoted


@task(name="project", task_run_name="MLflow registry follows the ledger", retries=2, retry_delay_seconds=2)
def project() -> int:
    """Let MLflow's registry say what the ledger says; the number of changes."""
    settings = load_settings()
    with sessions.ledger(settings) as engine:
        return model_registry.project(settings, engine)


def intact(path: Path, digest: str) -> tuple[bool, str]:
    return verify(path, digest=digest)


def was_promoted(engine: Any, name: str, digest: str) -> bool:
    """Whether a gate has ever let this version pass: what a stage may build on."""
    found = promotions.list_promotions(engine, name)
    return any(each["candidate_digest"] == digest and each["state"] in PROMOTED for each in found)


def was_rolled_back(engine: Any, name: str, digest: str) -> bool:
    """Whether a person has taken this version out of production."""
    found = promotions.list_promotions(engine, name)
    return any(each["candidate_digest"] == digest and each["state"] == "ROLLED_BACK" for each in found)
