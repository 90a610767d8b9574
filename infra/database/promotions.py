"""From a gate report to an approved promotion. Every step is one legal transition, refused by the database otherwise.

REGISTERED -> EVALUATED -> GATE_PASSED | GATE_FAILED -> PENDING_APPROVAL -> APPROVED -> APPLYING -> CHAMPION
-> SUPERSEDED | ROLLED_BACK; EXPIRED, REJECTED and ABORTED are ends. From APPROVED on: champions.py.

A promotion is a dict of its row with "digest" (the candidate's), "passed" (it is, or was, the champion), "epoch" (the
champion's epoch that it made, or None) and "outcome" (why it ended otherwise).
"""

import uuid
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from infra.database.events import append_event
from infra.database.sessions import now, one, reading, rows, writing
from infra.database.tables import approval, champion, gate_report, model_version
from infra.database.tables import promotion as promotion_table
from infra.database.values import checked_text, later

HOUR = 3600.0
OPEN_STATES = ("PENDING_APPROVAL", "APPROVED")
PASSED_STATES = ("APPLYING", "CHAMPION", "SUPERSEDED", "ROLLED_BACK")


def propose(
    engine: Engine,
    *,
    name: str,
    candidate: str,
    gate_report: str,
    author: str,
    reason: str = "",
    idempotency_key: str | None = None,
    expected_epoch: int | None = None,
    valid_hours: float = 168.0,
) -> dict[str, Any]:
    """Propose the version with digest `candidate`, judged by this gate report, as the champion of `name`.

    Ends as GATE_FAILED when the report does not say PASS, else waits as PENDING_APPROVAL. It can succeed only while the
    champion is the one of `expected_epoch` (now's, if not given: better, the one that the gates compared with). The same
    idempotency key is the same promotion.
    """
    key = checked_text("idempotency key", idempotency_key or uuid.uuid4().hex)
    with writing(engine) as connection:
        found = one(connection, select(promotion_table).where(promotion_table.c.idempotency_key == key))
        if found is not None:
            if (found["name"], found["candidate_digest"]) != (name, candidate):
                raise ValueError(f"idempotency key {key!r} belongs to promotion {found['id']} of another candidate")
            return described(found)
        report = _gate_report_of(connection, name, candidate, gate_report)
        holder = one(connection, select(champion).where(champion.c.name == name))
        assert holder is not None, "registering a version adds its name's champion row"
        if holder["digest"] == candidate:
            raise ValueError(f"{name}: {candidate[:12]} is the champion already; there is nothing to promote")
        moment = now(connection)
        judged_against = holder["epoch"] if expected_epoch is None else expected_epoch
        values = {
            "kind": "promotion",
            "name": name,
            "candidate_digest": candidate,
            "gate_report_digest": gate_report,
            "expected_champion_digest": holder["digest"] if judged_against == holder["epoch"] else None,
            "expected_epoch": judged_against,
            "state": "REGISTERED",
            "author": checked_text("author", author),
            "reason": checked_text("reason", reason or "proposed"),
            "idempotency_key": key,
            "created": moment,
            "changed": moment,
            "expires": later(moment, valid_hours * HOUR),
        }
        return _judge(connection, add(connection, values), report["verdict"])


def _gate_report_of(connection: Connection, name: str, candidate: str, digest: str) -> dict[str, Any]:
    report = one(connection, select(gate_report).where(gate_report.c.digest == digest))
    if report is None:
        raise ValueError(f"gate report {digest[:12]} is not in the ledger: call record_gate_report first")
    if (report["name"], report["model_digest"]) != (name, candidate):
        raise ValueError(
            f"gate report {digest[:12]} is of {report['name']} {report['model_digest'][:12]}, not of the candidate "
            f"{name} {candidate[:12]}"
        )
    return report


def _judge(connection: Connection, promotion_id: int, verdict: str) -> dict[str, Any]:
    move(connection, promotion_id, "REGISTERED", "EVALUATED")
    if verdict == "PASS":
        move(connection, promotion_id, "EVALUATED", "GATE_PASSED")
        move(connection, promotion_id, "GATE_PASSED", "PENDING_APPROVAL")
    else:
        move(connection, promotion_id, "EVALUATED", "GATE_FAILED", f"the gate report says {verdict}")
    found = locked(connection, promotion_id)
    kind = "proposed" if verdict == "PASS" else "gate_refused"
    log(connection, found, kind=kind, actor=found["author"], verdict=verdict, reason=found["reason"])
    return described(found)


def approve(
    engine: Engine, promotion_id: int, *, approver: str, gate_report: str, reason: str = "", valid_hours: float = 24.0
) -> dict[str, Any]:
    """Approve what this very gate report says; for somebody else than the authors, and for a day. Refusals are events."""
    return _decide(engine, promotion_id, "approved", approver, gate_report, reason, valid_hours)


def reject(engine: Engine, promotion_id: int, *, approver: str, reason: str) -> dict[str, Any]:
    """End a promotion that waits, or one that was approved and not carried out."""
    return _decide(engine, promotion_id, "rejected", approver, None, reason, 0.0)


def _decide(
    engine: Engine,
    promotion_id: int,
    decision: str,
    approver: str,
    gate_report: str | None,
    reason: str,
    valid_hours: float,
) -> dict[str, Any]:
    checked_text("approver", approver)
    with writing(engine) as connection:
        found = locked(connection, promotion_id)
        refusal = _refusal(connection, found, decision, approver, gate_report)
        if refusal:
            log(connection, found, kind="decision_refused", actor=approver, decision=decision, reason=refusal)
        else:
            moment = now(connection)
            row = {
                "promotion_id": promotion_id,
                "approver": approver,
                "decision": decision,
                "gate_report_digest": found["gate_report_digest"],
                "reason": checked_text("reason", reason or decision),
                "at": moment,
                "expires": later(moment, valid_hours * HOUR),
            }
            connection.execute(insert(approval).values(row))
            after = "APPROVED" if decision == "approved" else "REJECTED"
            move(connection, promotion_id, found["state"], after, reason if decision == "rejected" else None)
            log(connection, found, kind=decision, actor=approver, reason=row["reason"])
    if refusal:  # raised outside, so that the event of the refusal stays
        raise ValueError(refusal)
    return promotion(engine, promotion_id)


def _refusal(
    connection: Connection, found: dict[str, Any], decision: str, approver: str, gate_report: str | None
) -> str:
    """Why this person cannot decide this now; "" when nothing speaks against it."""
    label = f"promotion {found['id']}"
    legal = ("PENDING_APPROVAL",) if decision == "approved" else OPEN_STATES
    if found["state"] not in legal:
        return f"{label} is {found['state']}: only one that is {' or '.join(legal)} can be {decision}"
    if found["expires"] <= now(connection):
        return f"{label} expired at {found['expires']}: propose it again"
    decided = (approval.c.promotion_id == found["id"]) & (approval.c.approver == approver)
    if one(connection, select(approval.c.decision).where(decided)) is not None:
        return f"{label}: {approver} has decided already"
    if decision == "rejected":
        return ""
    if approver in (found["author"], author_of(connection, found)):
        return f"{label}: {approver} is its author; somebody else has to approve it"
    if gate_report != found["gate_report_digest"]:
        return f"{label} was judged by gate report {found['gate_report_digest'][:12]}, not {str(gate_report)[:12]}"
    return ""


def expire(engine: Engine) -> list[int]:
    """End the open promotions whose time is over; their ids."""
    with writing(engine) as connection:
        overdue = promotion_table.c.state.in_(OPEN_STATES) & (promotion_table.c.expires <= now(connection))
        ended = rows(connection, select(promotion_table).where(overdue).order_by(promotion_table.c.id))
        for found in ended:
            move(connection, found["id"], found["state"], "EXPIRED", f"nobody carried it out before {found['expires']}")
            log(connection, found, kind="expired", actor="ledger", expires=found["expires"])
    return [int(found["id"]) for found in ended]


def promotion(engine: Engine, promotion_id: int) -> dict[str, Any]:
    with reading(engine) as connection:
        return described(locked(connection, promotion_id, for_update=False))


def list_promotions(engine: Engine, name: str | None = None) -> list[dict[str, Any]]:
    """Oldest first."""
    statement = select(promotion_table).order_by(promotion_table.c.id)
    with reading(engine) as connection:
        found = rows(connection, statement if name is None else statement.where(promotion_table.c.name == name))
    return [described(each) for each in found]


def described(row: dict[str, Any]) -> dict[str, Any]:
    passed = row["state"] in PASSED_STATES
    epoch = row["expected_epoch"] + 1 if passed else None
    return {**row, "digest": row["candidate_digest"], "passed": passed, "epoch": epoch}


def add(connection: Connection, values: dict[str, Any]) -> int:
    return int(connection.execute(insert(promotion_table).values(values).returning(promotion_table.c.id)).scalar_one())


def locked(connection: Connection, promotion_id: int, *, for_update: bool = True) -> dict[str, Any]:
    statement = select(promotion_table).where(promotion_table.c.id == promotion_id)
    found = one(connection, statement.with_for_update() if for_update else statement)
    if found is None:
        raise ValueError(f"there is no promotion {promotion_id}; `espalier models history` lists them")
    return found


def move(connection: Connection, promotion_id: int, before: str, after: str, outcome: str | None = None) -> None:
    """One step, if the promotion is still in `before` and the database finds the step legal."""
    step = update(promotion_table).where(promotion_table.c.id == promotion_id, promotion_table.c.state == before)
    values = {"state": after, "changed": now(connection)} | ({} if outcome is None else {"outcome": outcome})
    if connection.execute(step.values(values)).rowcount != 1:
        raise ValueError(f"promotion {promotion_id} is no longer {before}, so it cannot become {after}")


def log(connection: Connection, found: dict[str, Any], *, kind: str, actor: str, **said: Any) -> None:
    payload = {
        "promotion": found["id"],
        "digest": found["candidate_digest"],
        "gate_report": found["gate_report_digest"],
    }
    append_event(connection, actor=actor, kind=kind, name=found["name"], payload={**payload, **said})


def author_of(connection: Connection, found: dict[str, Any]) -> str:
    """Who made the candidate, who need not be the one who proposed it."""
    of_candidate = (model_version.c.name == found["name"]) & (model_version.c.digest == found["candidate_digest"])
    return str(connection.scalar(select(model_version.c.author).where(of_candidate)))
