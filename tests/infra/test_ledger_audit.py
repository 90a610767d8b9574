"""The audit tells when anybody rewrote it: changed, removed, added, cut off, or a champion set by hand."""

import hashlib
import json
import math
from pathlib import Path

import numpy
import pytest
from ledger_models import promote
from sqlalchemy import Engine, text

from infra.database import audit, events
from infra.database.sessions import reading, writing
from infra.database.values import canonical_json


def unguarded(engine: Engine, *statements: str) -> None:
    """What the owner of the database can do: lift the guards first."""
    with writing(engine) as connection:
        if connection.dialect.name == "sqlite":
            guards = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
            for guard in guards:
                connection.execute(text(f"DROP TRIGGER {guard}"))
        else:
            for table in ("event", "champion", "gate_report"):
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for statement in statements:
            connection.execute(text(statement))


def test_the_chain_can_be_checked_by_hand(ledger: Engine) -> None:
    events.record_event(ledger, actor="ada", kind="note", payload={"b": 1, "a": "한"})
    events.record_event(ledger, actor="grace", kind="note", name="assistant", payload={})
    with reading(ledger) as connection:
        first, second = connection.execute(text("SELECT * FROM event ORDER BY seq")).mappings().all()
    told = (
        f'|{{"actor":"ada","at":"{first["at"]}","kind":"note","name":null,"payload":{{"a":"\\ud55c","b":1}},"seq":1}}'
    )
    assert first["hash"] == hashlib.sha256(told.encode()).hexdigest()
    assert json.loads(first["payload"]) == {"a": "한", "b": 1}
    assert (first["prev_hash"], second["prev_hash"], second["seq"]) == ("", first["hash"], 2)
    assert audit.audit_head(ledger) == {"seq": 2, "hash": second["hash"]}
    assert audit.verify_audit(ledger) == (True, "")
    assert [event["seq"] for event in events.history(ledger, "assistant")] == [2]


def test_an_empty_ledger_is_in_order(ledger: Engine) -> None:
    assert audit.verify_audit(ledger) == (True, "")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE event SET actor = 'nobody' WHERE seq = 2", "event 2 was changed, or one before it"),
        ("UPDATE event SET at = '2020-01-01T00:00:00.000+00:00' WHERE seq = 1", "event 1 was changed"),
        ("UPDATE event SET payload = '{}' WHERE seq = 3", "event 3 was changed"),
        ("UPDATE event SET payload = 'gone' WHERE seq = 3", "a column holds no JSON"),
        ("DELETE FROM event WHERE seq = 2", "event 2 is missing"),
        ("DELETE FROM event WHERE seq > 5", "the chain ends at event 5, but its head says 10"),
        ("DELETE FROM event", "the chain ends at event 0, but its head says 10"),
        (
            "INSERT INTO event SELECT 11, at, actor, kind, name, payload, hash, hash FROM event WHERE seq = 10",
            "event 11",
        ),
        ("UPDATE event_head SET seq = 9", "the chain ends at event 10, but its head says 9"),
        (
            "UPDATE champion SET digest = (SELECT digest FROM model_version WHERE version = 1)",
            "the champion of assistant is not the one that the events tell of",
        ),
        ("UPDATE champion SET epoch = 7", "the champion of assistant is not the one that the events tell of"),
        ("DELETE FROM champion", "assistant has lost its champion"),
        ("UPDATE gate_report SET verdict = 'FAIL'", "gate report"),
        ("UPDATE gate_report SET report = '[]'", "gate report"),
    ],
)
def test_tampering_is_seen(ledger: Engine, statement: str, reason: str) -> None:
    for word in "ab":
        promote(ledger, word)
    assert audit.verify_audit(ledger) == (True, "")
    unguarded(ledger, statement)
    intact, said = audit.verify_audit(ledger)
    assert (intact, reason in said) == (False, True), said


def test_what_the_ledger_keeps_has_one_spelling() -> None:
    values = {
        "b": [1, 2.5, None, True],
        "a": {"path": Path("/m"), "loss": numpy.float32(0.5)},
        3: (math.nan, -math.inf),
    }
    assert canonical_json(values) == ('{"3":["NaN","-Infinity"],"a":{"loss":0.5,"path":"/m"},"b":[1,2.5,null,true]}')
    assert canonical_json("\0 \ud800 한") == '"\\u0000 \\ud800 \\ud55c"'
    with pytest.raises(ValueError, match="the ledger keeps JSON alone, and this is a set"):
        canonical_json({"names": {"a", "b"}})
