"""Whether the ledger still says what happened: the chain of events, the champions they tell of, the gate reports.

A database's owner could rewrite the whole chain: keep `audit_head` somewhere else from time to time.
"""

from typing import Any

from sqlalchemy import Connection, Engine, select

from infra.database.events import CROWNING, chain_hash
from infra.database.gate_reports import content_digest
from infra.database.sessions import one, reading, rows
from infra.database.tables import champion, event, event_head, gate_report


def audit_head(engine: Engine) -> dict[str, Any]:
    """{"seq", "hash"} of the last event; a copy kept elsewhere shows later that nothing before it was rewritten."""
    with reading(engine) as connection:
        found = one(connection, select(event_head.c.seq, event_head.c.hash))
    return found or {"seq": 0, "hash": ""}


def verify_audit(engine: Engine) -> tuple[bool, str]:
    """(True, "") or (False, what was tampered with): the chain, the champions it tells of, the gate reports' digests."""
    with reading(engine) as connection:
        for check in (_check_chain, _check_champions, _check_gate_reports):
            try:
                reason = check(connection)
            except ValueError as error:
                reason = f"a column holds no JSON: {error}"
            if reason:
                return False, reason
    return True, ""


def _check_chain(connection: Connection) -> str:
    seq, previous = 0, ""
    for found in connection.execute(select(event).order_by(event.c.seq)).mappings():
        seq += 1
        if found["seq"] != seq:
            return f"event {seq} is missing"
        record = {column: found[column] for column in ("seq", "at", "actor", "kind", "name", "payload")}
        if found["prev_hash"] != previous or found["hash"] != chain_hash(previous, record):
            return f"event {seq} was changed, or one before it"
        previous = found["hash"]
    head = one(connection, select(event_head))
    if head is None or head["seq"] != seq or head["hash"] != previous:
        return f"the chain ends at event {seq}, but its head says {head and head['seq']}"
    return ""


def _check_champions(connection: Connection) -> str:
    told: dict[str | None, dict[str, Any]] = {}
    crownings = select(event.c.name, event.c.payload).where(event.c.kind.in_(CROWNING)).order_by(event.c.seq)
    for found in rows(connection, crownings):
        told[found["name"]] = found["payload"]
    for found in rows(connection, select(champion)):
        payload = told.pop(found["name"], {"digest": None, "epoch": 0})
        if (found["digest"], found["epoch"]) != (payload["digest"], payload["epoch"]):
            return f"the champion of {found['name']} is not the one that the events tell of"
    return f"{next(iter(told))} has lost its champion" if told else ""


def _check_gate_reports(connection: Connection) -> str:
    for found in rows(connection, select(gate_report)):
        if content_digest(found) != found["digest"]:
            return f"gate report {found['digest'][:12]} was changed"
    return ""
