"""What happened, in order: events that are only ever appended, each holding the hash of the one before it (see audit.py)."""

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from infra.database.sessions import now, one, reading, rows, writing
from infra.database.tables import event, event_head
from infra.database.values import canonical_json, checked_text

CROWNING = ("promoted", "rolled_back")  # the kinds of event that change a champion


def append_event(
    connection: Connection, *, actor: str, kind: str, name: str | None, payload: Mapping[str, Any]
) -> dict[str, Any]:
    """Append inside the transaction of what happened: both are there, or neither."""
    head = one(connection, select(event_head).with_for_update())
    assert head is not None, "the first migration writes the head"
    record = {
        "seq": head["seq"] + 1,
        "at": now(connection),
        "actor": checked_text("actor", actor),
        "kind": kind,
        "name": name,
        "payload": dict(payload),
    }
    chained = {**record, "prev_hash": head["hash"], "hash": chain_hash(head["hash"], record)}
    connection.execute(insert(event).values(chained))
    connection.execute(update(event_head).values(seq=chained["seq"], hash=chained["hash"]))
    return chained


def record_event(
    engine: Engine, *, actor: str, kind: str, name: str | None = None, payload: Mapping[str, Any]
) -> dict[str, Any]:
    """An event of its own: something was seen or refused, and no other row changed."""
    with writing(engine) as connection:
        return append_event(connection, actor=actor, kind=kind, name=name, payload=payload)


def chain_hash(previous: str, record: Mapping[str, Any]) -> str:
    """sha256(prev_hash | canonical_json of seq, at, actor, kind, name and payload)"""
    return hashlib.sha256(f"{previous}|{canonical_json(record)}".encode()).hexdigest()


def history(engine: Engine, name: str | None = None) -> list[dict[str, Any]]:
    """The events of one model, or all, oldest first: seq, at, actor, kind, name, payload."""
    columns = [event.c[column] for column in ("seq", "at", "actor", "kind", "name", "payload")]
    statement = select(*columns).order_by(event.c.seq)
    with reading(engine) as connection:
        return rows(connection, statement if name is None else statement.where(event.c.name == name))
