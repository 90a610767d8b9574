"""The database itself refuses illegal steps, rewritten history and epochs that jump, whoever writes the SQL."""

import itertools

import pytest
from ledger_models import APPROVER, approve, promote, propose, register
from sqlalchemy import Engine, text, update
from sqlalchemy.exc import IntegrityError

from infra.database import tables
from infra.database.sessions import writing

# The one way from a proposal to each state, written down by hand.
WAYS = {
    "REGISTERED": [],
    "EVALUATED": ["EVALUATED"],
    "GATE_PASSED": ["EVALUATED", "GATE_PASSED"],
    "GATE_FAILED": ["EVALUATED", "GATE_FAILED"],
    "PENDING_APPROVAL": ["EVALUATED", "GATE_PASSED", "PENDING_APPROVAL"],
    "APPROVED": ["EVALUATED", "GATE_PASSED", "PENDING_APPROVAL", "APPROVED"],
    "APPLYING": ["EVALUATED", "GATE_PASSED", "PENDING_APPROVAL", "APPROVED", "APPLYING"],
    "CHAMPION": ["EVALUATED", "GATE_PASSED", "PENDING_APPROVAL", "APPROVED", "APPLYING", "CHAMPION"],
    "SUPERSEDED": ["EVALUATED", "GATE_PASSED", "PENDING_APPROVAL", "APPROVED", "APPLYING", "SUPERSEDED"],
    "ROLLED_BACK": ["EVALUATED", "GATE_PASSED", "PENDING_APPROVAL", "APPROVED", "APPLYING", "ROLLED_BACK"],
    "EXPIRED": ["EVALUATED", "GATE_PASSED", "PENDING_APPROVAL", "EXPIRED"],
    "REJECTED": ["EVALUATED", "GATE_PASSED", "PENDING_APPROVAL", "REJECTED"],
    "ABORTED": ["ABORTED"],
}
LEGAL = {
    ("REGISTERED", "EVALUATED"), ("EVALUATED", "GATE_PASSED"), ("EVALUATED", "GATE_FAILED"),
    ("GATE_PASSED", "PENDING_APPROVAL"), ("PENDING_APPROVAL", "APPROVED"), ("PENDING_APPROVAL", "REJECTED"),
    ("PENDING_APPROVAL", "EXPIRED"), ("APPROVED", "APPLYING"), ("APPROVED", "REJECTED"), ("APPROVED", "EXPIRED"),
    ("APPLYING", "CHAMPION"), ("APPLYING", "SUPERSEDED"), ("APPLYING", "ROLLED_BACK"), ("CHAMPION", "SUPERSEDED"),
    ("CHAMPION", "ROLLED_BACK"), ("REGISTERED", "ABORTED"), ("EVALUATED", "ABORTED"), ("GATE_PASSED", "ABORTED"),
    ("PENDING_APPROVAL", "ABORTED"), ("APPROVED", "ABORTED"),
}  # fmt: skip


@pytest.mark.parametrize("before", WAYS)
def test_the_database_refuses_every_illegal_step(ledger: Engine, before: str) -> None:
    found = approve(ledger, "a")  # brings the gate report and the approval that some steps ask for
    with writing(ledger) as connection:
        values = {column.name: found[column.name] for column in tables.promotion.c if column.name != "id"}
        fresh = tables.promotion.insert().values({**values, "state": "REGISTERED", "idempotency_key": "second"})
        number = connection.execute(fresh.returning(tables.promotion.c.id)).scalar_one()
        approval = {"promotion_id": number, "approver": APPROVER, "decision": "approved", "reason": "fine"}
        ends = {"gate_report_digest": found["gate_report_digest"], "at": found["created"], "expires": found["expires"]}
        connection.execute(tables.approval.insert().values({**approval, **ends}))
        for step in WAYS[before]:
            connection.execute(update(tables.promotion).where(tables.promotion.c.id == number).values(state=step))
    for after in WAYS:
        step_to = update(tables.promotion).where(tables.promotion.c.id == number).values(state=after)
        with ledger.connect() as connection:  # rolled back at its end
            if (before, after) in LEGAL:
                connection.execute(step_to)
            else:
                with pytest.raises(IntegrityError, match="illegal transition"):
                    connection.execute(step_to)


def test_no_promotion_begins_in_the_middle(ledger: Engine) -> None:
    found = propose(ledger, "a")
    values = {column.name: found[column.name] for column in tables.promotion.c if column.name != "id"}
    for number, after in enumerate([*WAYS, "WISHED"]):
        if after == "REGISTERED":
            continue
        with pytest.raises(IntegrityError), writing(ledger) as connection:
            connection.execute(
                tables.promotion.insert().values({**values, "state": after, "idempotency_key": str(number)})
            )


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE promotion SET state = 'APPROVED' WHERE state = 'PENDING_APPROVAL'",
            "nobody has approved this gate report",
        ),
        ("UPDATE promotion SET candidate_digest = 'another'", "what was proposed never changes"),
        ("UPDATE promotion SET author = 'somebody else'", "what was proposed never changes"),
        ("DELETE FROM promotion", "promotion: no DELETE"),
        ("UPDATE gate_report SET verdict = 'FAIL'", "gate_report: no UPDATE"),
        ("DELETE FROM gate_report", "gate_report: no DELETE"),
        ("DELETE FROM model_version", "model_version: no DELETE"),
        ("UPDATE model_version SET digest = 'x'", "what was registered never changes"),
        ("UPDATE champion SET epoch = epoch + 2", "the epoch rises by one"),
        ("UPDATE champion SET digest = NULL, epoch = epoch + 1", "there is always a champion"),
        ("DELETE FROM champion", "champion: no DELETE"),
        ("DELETE FROM promotion_transition", "promotion_transition: no DELETE"),
        ("UPDATE event SET actor = 'nobody'", "event: no UPDATE"),
        ("DELETE FROM event", "event: no DELETE"),
        ("DELETE FROM approval", "approval: no DELETE"),
        ("UPDATE approval SET decision = 'rejected'", "approval: no UPDATE"),
    ],
)
def test_sql_by_hand_meets_the_guards(ledger: Engine, statement: str, said: str) -> None:
    promote(ledger, "a")
    propose(ledger, "b")
    with pytest.raises(IntegrityError, match=said), writing(ledger) as connection:
        connection.execute(text(statement))


def test_postgres_does_not_let_the_audit_be_truncated(ledger: Engine) -> None:
    register(ledger, "a")
    if ledger.dialect.name == "postgresql":
        with pytest.raises(IntegrityError, match="event: no DELETE"), writing(ledger) as connection:
            connection.execute(text("TRUNCATE event"))


def test_the_hand_written_way_to_each_state_is_legal() -> None:
    for before, way in WAYS.items():
        steps = list(itertools.pairwise(["REGISTERED", *way]))
        assert set(steps) <= LEGAL, before
    assert set(WAYS) == set(tables.PROMOTION_STATES)
