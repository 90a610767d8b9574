"""Models for the ledger's tests: registered, judged and approved, with people who may and may not approve."""

import hashlib
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from infra.database import champions, gate_reports, promotions, versions

AUTHOR, APPROVER = "ada", "grace"


def digest(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


def intact(path: Path, digest: str) -> tuple[bool, str]:  # noqa: ARG001
    return True, ""


def register(engine: Engine, word: str, name: str = "assistant", stage: str = "aligned", **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "path": f"/models/{word}",
        "parents": [],
        "recipe": {"steps": 3},
        "run_id": None,
        "figures": {"bits_per_byte": 1.5},
        "author": AUTHOR,
        **more,
    }
    return versions.register_version(engine, name=name, stage=stage, digest=digest(word), **values)


def judge(engine: Engine, word: str, name: str = "assistant", verdict: str = "PASS", **report: Any) -> str:
    return gate_reports.record_gate_report(
        engine, digest=digest(word), name=name, verdict=verdict, report=report, gates_digest=digest("gates"),
        data={"suite": digest("suite")}, code="c0de",
    )  # fmt: skip


def propose(engine: Engine, word: str, name: str = "assistant", **more: Any) -> dict[str, Any]:
    """Registered, judged with PASS, and waiting for somebody's approval."""
    register(engine, word, name)
    report = judge(engine, word, name)
    return promotions.propose(engine, name=name, candidate=digest(word), gate_report=report, author=AUTHOR, **more)


def approve(engine: Engine, word: str, name: str = "assistant", **more: Any) -> dict[str, Any]:
    found = propose(engine, word, name)
    return promotions.approve(engine, found["id"], approver=APPROVER, gate_report=found["gate_report_digest"], **more)


def promote(engine: Engine, word: str, name: str = "assistant", stage: str = "aligned", **more: Any) -> dict[str, Any]:
    """All the way, as a gate that needs no person does it."""
    register(engine, word, name, stage, **more)
    return champions.promote_automatically(
        engine, name=name, candidate=digest(word), gate_report=judge(engine, word, name), author=AUTHOR,
        approver="gate", verify=intact, idempotency_key=f"{name} {word}",
    )  # fmt: skip
