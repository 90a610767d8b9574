"""Champions: nothing damaged, doubtful or outdated becomes one, and the one before can come back."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ledger_models import APPROVER, AUTHOR, approve, digest, intact, judge, promote, propose, register
from sqlalchemy import Engine, text, update

from infra.database import audit, champions, events, outbox, promotions, tables, versions
from infra.database.sessions import writing


def deliver(engine: Engine) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    outbox.reconcile(engine, lambda kind, payload: told.append({"kind": kind, **payload}))
    return told


def damaged(path: Path, expected: str) -> tuple[bool, str]:
    return False, f"{path}: model.safetensors has changed ({expected[:4]})"


def test_damaged_files_are_not_promoted(ledger: Engine) -> None:
    found = approve(ledger, "a")
    ended = champions.promote(ledger, found["id"], verify=damaged, actor=AUTHOR)
    assert (ended["state"], ended["passed"]) == ("ABORTED", False)
    assert "model.safetensors has changed" in ended["outcome"]
    assert champions.champion(ledger, "assistant") is None
    assert outbox.pending(ledger) == []


def test_a_folder_that_changes_while_it_is_hashed_is_not_promoted(ledger: Engine) -> None:
    found = approve(ledger, "a")

    def verify(path: Path, expected: str) -> tuple[bool, str]:
        register(ledger, "a", path=f"{path}-elsewhere")
        return True, expected

    ended = champions.promote(ledger, found["id"], verify=verify, actor=AUTHOR)
    assert (ended["state"], ended["outcome"]) == ("ABORTED", "its folder changed while it was checked")


def test_a_gate_report_that_was_tampered_with_is_not_promoted(ledger: Engine) -> None:
    found = approve(ledger, "a")
    with writing(ledger) as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER gate_report_no_update"))
        else:
            connection.execute(text("ALTER TABLE gate_report DISABLE TRIGGER USER"))
        connection.execute(update(tables.gate_report).values(report={"bits_per_byte": 0.1}))
    ended = champions.promote(ledger, found["id"], verify=intact, actor=AUTHOR)
    assert (ended["state"], ended["outcome"]) == ("ABORTED", "the gate report is not the one that was approved")
    assert audit.verify_audit(ledger)[0] is False


def test_whoever_was_judged_against_an_older_champion_has_lost_the_race(ledger: Engine) -> None:
    late = approve(ledger, "late")
    promote(ledger, "quick")
    ended = champions.promote(ledger, late["id"], verify=intact, actor=AUTHOR)
    assert ended["state"] == "ABORTED"
    assert ended["outcome"].startswith(f"LOST_RACE: the champion is {digest('quick')[:12]} at epoch 1")
    champion = champions.champion(ledger, "assistant")
    assert champion is not None
    assert (champion["digest"], champion["epoch"]) == (digest("quick"), 1)
    assert events.history(ledger)[-1]["kind"] == "promotion_aborted"


def test_the_epoch_that_the_gates_compared_with_can_be_given(ledger: Engine) -> None:
    promote(ledger, "a")
    register(ledger, "b")
    found = champions.promote_automatically(
        ledger, name="assistant", candidate=digest("b"), gate_report=judge(ledger, "b"), author=AUTHOR, approver="gate",
        verify=intact, idempotency_key="k", expected_epoch=0,
    )  # fmt: skip
    assert found["outcome"].startswith("LOST_RACE")


def test_the_champion_is_not_promoted_again(ledger: Engine) -> None:
    promote(ledger, "a")
    with pytest.raises(ValueError, match="is the champion already"):
        propose(ledger, "a")


def test_rolling_back_goes_to_the_champion_before_and_again_to_the_one_before_that(ledger: Engine) -> None:
    for word in "abc":
        promote(ledger, word)
    assert champions.protected(ledger) == {
        digest("c"): "champion of assistant",
        digest("b"): "a previous champion of assistant",
        digest("a"): "a previous champion of assistant",
    }
    deliver(ledger)
    back = champions.rollback(ledger, "assistant", "answers got worse", actor="alan", verify=intact)
    assert (back["state"], back["digest"], back["epoch"]) == ("APPLYING", digest("b"), 4)
    event = events.history(ledger)[-1]
    assert (event["kind"], event["actor"]) == ("rolled_back", "alan")
    assert event["payload"]["reason"] == "answers got worse"
    assert event["payload"]["previous"] == digest("c")
    champions.rollback(ledger, "assistant", "still worse", actor="alan", verify=intact)
    champion = champions.champion(ledger, "assistant")
    assert champion is not None
    assert (champion["digest"], champion["epoch"], champion["previous"]) == (digest("a"), 5, None)
    with pytest.raises(ValueError, match="there was no champion before"):
        champions.rollback(ledger, "assistant", "no", actor="alan", verify=intact)
    with pytest.raises(ValueError, match="nobody has no champion"):
        champions.rollback(ledger, "nobody", "no", actor="alan", verify=intact)
    assert [each["state"] for each in promotions.list_promotions(ledger)] == [
        "SUPERSEDED", "SUPERSEDED", "ROLLED_BACK", "ROLLED_BACK", "APPLYING",
    ]  # fmt: skip
    promote(ledger, "d")
    after = champions.rollback(ledger, "assistant", "d is bad", actor="alan", verify=intact)
    assert (after["digest"], after["epoch"]) == (digest("a"), 7)
    assert [each["epoch"] for each in deliver(ledger)] == [4, 5, 6, 7]
    assert audit.verify_audit(ledger) == (True, "")


def test_a_rollback_skips_the_gate_but_not_the_files(ledger: Engine) -> None:
    promote(ledger, "a")
    promote(ledger, "b")
    refused = champions.rollback(ledger, "assistant", "b is bad", actor="alan", verify=damaged)
    assert (refused["state"], refused["passed"], refused["epoch"]) == ("ABORTED", False, None)
    assert "has changed" in refused["outcome"]
    assert versions.find_version(ledger, "production")["digest"] == digest("b")
    with pytest.raises(ValueError, match="reason: expected some text"):
        champions.rollback(ledger, "assistant", " ", actor="alan", verify=intact)


def test_two_rollbacks_at_once_go_back_once(ledger: Engine) -> None:
    for word in "abc":
        promote(ledger, word)

    def verify(path: Path, expected: str) -> tuple[bool, str]:
        if path == Path("/models/b") and expected:  # while it hashes, somebody else rolls back
            champions.rollback(ledger, "assistant", "quicker", actor="grace", verify=intact)
        return True, ""

    slow = champions.rollback(ledger, "assistant", "slower", actor="alan", verify=verify)
    assert slow["state"] == "ABORTED"
    assert slow["outcome"].startswith("LOST_RACE")
    champion = champions.champion(ledger, "assistant")
    assert champion is not None
    assert (champion["digest"], champion["epoch"]) == (digest("b"), 4)


def test_the_events_tell_who_was_in_production_when(ledger: Engine) -> None:
    assert champions.was_production(ledger, "assistant", "2999-01-01") is None
    promote(ledger, "a")
    promote(ledger, "b")
    champions.rollback(ledger, "assistant", "worse", actor="alan", verify=intact)
    first, second, third = (e["at"] for e in events.history(ledger) if e["kind"] in ("promoted", "rolled_back"))
    told = {moment: champions.was_production(ledger, "assistant", moment) for moment in (first, second, third)}
    found = [told[moment] for moment in sorted(told)]
    expected = [(digest("a"), 1), (digest("b"), 2), (digest("a"), 3)]
    assert [(each["digest"], each["epoch"]) for each in found if each] == expected
    assert champions.was_production(ledger, "assistant", datetime.fromisoformat(first) - timedelta(seconds=1)) is None
    assert champions.was_production(ledger, "translator", third) is None


def test_open_candidates_are_protected(ledger: Engine) -> None:
    promote(ledger, "a")
    waiting = propose(ledger, "b")
    register(ledger, "c")
    assert champions.protected(ledger)[digest("b")] == f"candidate of promotion {waiting['id']}"
    promotions.reject(ledger, waiting["id"], approver=APPROVER, reason="no")
    assert set(champions.protected(ledger)) == {digest("a")}
