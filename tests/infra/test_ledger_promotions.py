"""Promotions: from a gate report to the champion, approved in time, by somebody else, and once."""

from pathlib import Path
from typing import Any

import pytest
from ledger_models import APPROVER, AUTHOR, approve, digest, intact, judge, promote, propose, register
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from infra.database import audit, champions, events, outbox, promotions, tables, versions
from infra.database.sessions import writing


def deliver(engine: Engine) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    outbox.reconcile(engine, lambda kind, payload: told.append({"kind": kind, **payload}))
    return told


def state(engine: Engine, promotion: dict[str, Any]) -> Any:
    return promotions.promotion(engine, promotion["id"])["state"]


def damaged(path: Path, expected: str) -> tuple[bool, str]:
    return False, f"{path}: model.safetensors has changed ({expected[:4]})"


def run_out(engine: Engine, table: str) -> None:
    """Set everything's end into the past; approvals are append-only, so their guard has to be lifted for it."""
    with writing(engine) as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER approval_no_update"))
        else:
            connection.execute(text("ALTER TABLE approval DISABLE TRIGGER USER"))
        connection.execute(text(f"UPDATE {table} SET expires = '2020-01-01T00:00:00.000+00:00'"))


def test_from_a_proposal_to_the_champion(ledger: Engine) -> None:
    found = propose(ledger, "a", reason="better on everything")
    assert (found["state"], found["passed"], found["expected_epoch"]) == ("PENDING_APPROVAL", False, 0)
    with pytest.raises(ValueError, match=r"promotion 1 is PENDING_APPROVAL: only an APPROVED one"):
        champions.promote(ledger, found["id"], verify=intact, actor=AUTHOR)
    promotions.approve(ledger, found["id"], approver=APPROVER, gate_report=found["gate_report_digest"])
    assert champions.champion(ledger, "assistant") is None
    checked = []

    def verify(path: Path, expected: str) -> tuple[bool, str]:
        checked.append((path, expected))
        return True, ""

    done = champions.promote(ledger, found["id"], verify=verify, actor=AUTHOR)
    assert (done["state"], done["passed"], done["epoch"], done["digest"]) == ("APPLYING", True, 1, digest("a"))
    assert checked == [(Path("/models/a"), digest("a"))]
    champion = champions.champion(ledger, "assistant")
    assert champion is not None
    assert (champion["digest"], champion["epoch"], champion["previous"]) == (digest("a"), 1, None)
    assert champion["path"] == "/models/a"
    told = deliver(ledger)
    assert [(each["kind"], each["alias"], each["digest"], each["epoch"]) for each in told] == [
        ("set_alias", "production", digest("a"), 1),
    ]  # fmt: skip
    assert state(ledger, found) == "CHAMPION"
    assert champions.promote(ledger, found["id"], verify=damaged, actor=AUTHOR)["state"] == "CHAMPION"
    assert [event["kind"] for event in events.history(ledger)] == [
        "registered", "gate_report", "proposed", "approved", "promoted", "applied",
    ]  # fmt: skip
    assert audit.verify_audit(ledger) == (True, "")


@pytest.mark.parametrize("verdict", ["FAIL", "INSUFFICIENT"])
def test_without_a_pass_the_proposal_ends_at_its_gate(ledger: Engine, verdict: str) -> None:
    register(ledger, "a")
    found = champions.promote_automatically(
        ledger, name="assistant", candidate=digest("a"), gate_report=judge(ledger, "a", verdict=verdict), author=AUTHOR,
        approver="gate", verify=intact, idempotency_key="k",
    )  # fmt: skip
    assert (found["state"], found["outcome"]) == ("GATE_FAILED", f"the gate report says {verdict}")
    assert champions.champion(ledger, "assistant") is None
    assert events.history(ledger)[-1]["kind"] == "gate_refused"
    with pytest.raises(ValueError, match="is GATE_FAILED: only one that is PENDING_APPROVAL can be approved"):
        promotions.approve(ledger, found["id"], approver=APPROVER, gate_report=found["gate_report_digest"])


def test_a_gate_report_of_another_model_supports_no_proposal(ledger: Engine) -> None:
    register(ledger, "a")
    register(ledger, "b")
    report = judge(ledger, "b")
    for wrong, said in ((report, "not of the candidate"), (digest("none"), "call record_gate_report first")):
        with pytest.raises(ValueError, match=said):
            promotions.propose(ledger, name="assistant", candidate=digest("a"), gate_report=wrong, author=AUTHOR)


def test_nobody_approves_their_own_candidate(ledger: Engine) -> None:
    register(ledger, "a", author="trainer")
    report = judge(ledger, "a")
    found = promotions.propose(
        ledger, name="assistant", candidate=digest("a"), gate_report=report, author="proposer", idempotency_key="k"
    )
    for approver in ("trainer", "proposer"):
        with pytest.raises(ValueError, match=f"{approver} is its author; somebody else has to approve it"):
            promotions.approve(ledger, found["id"], approver=approver, gate_report=report)
        row = {"promotion_id": found["id"], "approver": approver, "decision": "approved", "reason": "fine"}
        ends = {"gate_report_digest": report, "at": found["created"], "expires": found["expires"]}
        with pytest.raises(IntegrityError, match="do not approve their own"), writing(ledger) as connection:
            connection.execute(tables.approval.insert().values({**row, **ends}))
    refused = [event for event in events.history(ledger) if event["kind"] == "decision_refused"]
    assert [event["actor"] for event in refused] == ["trainer", "proposer"]
    assert state(ledger, found) == "PENDING_APPROVAL"


def test_an_approval_names_the_gate_report_it_approves(ledger: Engine) -> None:
    found = propose(ledger, "a")
    other = judge(ledger, "a", bits_per_byte=0.1)
    with pytest.raises(ValueError, match="was judged by gate report"):
        promotions.approve(ledger, found["id"], approver=APPROVER, gate_report=other)
    assert events.history(ledger)[-1]["kind"] == "decision_refused"


def test_an_approval_that_has_run_out_promotes_nothing(ledger: Engine) -> None:
    found = approve(ledger, "a")
    run_out(ledger, "approval")
    ended = champions.promote(ledger, found["id"], verify=intact, actor=AUTHOR)
    assert ended["state"] == "EXPIRED"
    assert ended["outcome"].startswith("the approval expired at 2020")
    assert champions.champion(ledger, "assistant") is None
    assert events.history(ledger)[-1]["kind"] == "promotion_expired"


def test_proposals_run_out_as_well(ledger: Engine) -> None:
    waiting, approved = propose(ledger, "a"), approve(ledger, "b")
    promote(ledger, "c")
    assert promotions.expire(ledger) == []
    run_out(ledger, "promotion")
    with pytest.raises(ValueError, match=r"expired at 2020.*propose it again"):
        promotions.approve(ledger, waiting["id"], approver=APPROVER, gate_report=waiting["gate_report_digest"])
    assert champions.promote(ledger, approved["id"], verify=intact, actor=AUTHOR)["state"] == "EXPIRED"
    assert promotions.expire(ledger) == [waiting["id"]]
    assert state(ledger, waiting) == "EXPIRED"


def test_a_rejected_proposal_is_over(ledger: Engine) -> None:
    found = approve(ledger, "a")
    with pytest.raises(ValueError, match=f"{APPROVER} has decided already"):
        promotions.reject(ledger, found["id"], approver=APPROVER, reason="changed my mind")
    rejected = promotions.reject(ledger, found["id"], approver="alan", reason="it is rude")
    assert (rejected["state"], rejected["outcome"]) == ("REJECTED", "it is rude")
    with pytest.raises(ValueError, match="is REJECTED"):
        champions.promote(ledger, found["id"], verify=intact, actor=AUTHOR)
    with pytest.raises(ValueError, match="there is no promotion 99"):
        promotions.reject(ledger, 99, approver="alan", reason="no")


def test_the_same_key_is_the_same_promotion_wherever_a_crash_left_it(ledger: Engine) -> None:
    register(ledger, "a")
    report = judge(ledger, "a")
    values = {"name": "assistant", "candidate": digest("a"), "gate_report": report, "author": AUTHOR}
    first = promotions.propose(ledger, **values, idempotency_key="run-1 assistant")  # ... and here the run crashed
    again = {**values, "approver": "gate", "verify": intact, "idempotency_key": "run-1 assistant"}
    second = champions.promote_automatically(ledger, **again)
    third = champions.promote_automatically(ledger, **again)
    assert first["id"] == second["id"] == third["id"]
    assert (second["state"], third) == ("APPLYING", second)
    assert len(promotions.list_promotions(ledger)) == len(outbox.pending(ledger)) == 1
    register(ledger, "b")
    with pytest.raises(ValueError, match="belongs to promotion 1 of another candidate"):
        champions.promote_automatically(
            ledger, **{**again, "candidate": digest("b"), "gate_report": judge(ledger, "b")}
        )


HOSTILE = [
    "'; DROP TABLE event; --",
    '" OR 1=1',
    "%s %(x)s :name ?",
    "<img src=x onerror=1>",
    "\u202eback",
    "한글 👩‍👩‍👧",
]


def test_text_of_people_is_kept_as_it_is(ledger: Engine) -> None:
    for number, words in enumerate(HOSTILE):
        register(ledger, str(number), author=words, figures={words: words})
        report = judge(ledger, str(number), note=words)
        found = promotions.propose(
            ledger, name="assistant", candidate=digest(str(number)), gate_report=report, author=words, reason=words,
            idempotency_key=words,
        )  # fmt: skip
        assert (found["author"], found["reason"], found["idempotency_key"]) == (words, words, words)
        promotions.reject(ledger, found["id"], approver=words, reason=words)
        event = events.history(ledger)[-1]
        assert (event["actor"], event["payload"]["reason"]) == (words, words)
        assert versions.list_versions(ledger)[-1]["figures"] == {words: words}
    assert audit.verify_audit(ledger) == (True, "")
