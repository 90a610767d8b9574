"""Gate reports: what was measured of a model before it may be promoted; kept for ever, named by their own digest."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, insert, select

from infra.database.events import append_event
from infra.database.sessions import now, one, reading, writing
from infra.database.tables import VERDICTS, gate_report, model_version
from infra.database.values import checked_digest, digest_of

NOT_SAID = ("digest", "created")


def record_gate_report(
    engine: Engine,
    *,
    digest: str,
    name: str,
    verdict: str,
    report: Mapping[str, Any],
    gates_digest: str,
    data: Any,
    code: str | None,
    actor: str = "gate",
) -> str:
    """Keep the report of model `name` with this digest; the report's own digest, the same for the same report.

    `gates_digest` names the rules it was judged by, `data` what it was measured on.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"verdict {verdict!r}: expected one of {', '.join(VERDICTS)}")
    record = {
        "name": name,
        "model_digest": checked_digest("model digest", digest),
        "verdict": verdict,
        "report": dict(report),
        "gates_digest": gates_digest,
        "data": data,
        "code": code,
    }
    found = content_digest(record)
    with writing(engine) as connection:
        if one(connection, select(gate_report.c.digest).where(gate_report.c.digest == found)) is not None:
            return found
        of_model = (model_version.c.name == name) & (model_version.c.digest == digest)
        if one(connection, select(model_version.c.version).where(of_model)) is None:
            raise ValueError(f"gate report: {name} has no version {digest[:12]}; register the version first")
        connection.execute(insert(gate_report).values(**record, digest=found, created=now(connection)))
        payload = {"gate_report": found, "digest": digest, "verdict": verdict}
        append_event(connection, actor=actor, kind="gate_report", name=name, payload=payload)
    return found


def content_digest(record: Mapping[str, Any]) -> str:
    """A gate report's identity: all that it says, but not when."""
    return digest_of({column.name: record[column.name] for column in gate_report.c if column.name not in NOT_SAID})


def gate_report_of(engine: Engine, digest: str) -> dict[str, Any] | None:
    """The newest gate report of the model with this digest, or None."""
    statement = select(gate_report).where(gate_report.c.model_digest == digest).order_by(gate_report.c.created.desc())
    with reading(engine) as connection:
        return one(connection, statement)
