"""Who is the champion of a model's name: promoted, rolled back, and asked for; the one place where that changes.

The champion changes in one local transaction, by compare-and-swap on its epoch; MLflow hears of it afterwards, through
the outbox. Files are hashed before the transaction, and what they were hashed against is compared inside.
"""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from infra.database import promotions
from infra.database.events import CROWNING, history
from infra.database.gate_reports import content_digest
from infra.database.outbox import post
from infra.database.promotions import HOUR, described, locked, log, move
from infra.database.sessions import now, one, reading, rows, writing
from infra.database.tables import approval, gate_report, model_version
from infra.database.tables import champion as champion_table
from infra.database.tables import promotion as promotion_table
from infra.database.values import checked_text, later, storable
from infra.database.versions import champion_alias, version_of

Verify = Callable[[Path, str], tuple[bool, str]]

LOST_RACE = "LOST_RACE"


def promote(engine: Engine, promotion_id: int, *, verify: Verify, actor: str) -> dict[str, Any]:
    """Make an approved candidate the champion, if its files, its approval and its gate report still hold.

    The promotion as it is now: APPLYING until MLflow's alias follows, then CHAMPION; or EXPIRED or ABORTED with its
    "outcome" (LOST_RACE: ... when the champion is no longer the one it was judged against). Again: no change.
    """
    found = promotions.promotion(engine, promotion_id)
    if found["passed"]:
        return found
    if found["state"] != "APPROVED":
        raise ValueError(f"promotion {promotion_id} is {found['state']}: only an APPROVED one can be carried out")
    candidate = version_of(engine, found["name"], found["candidate_digest"])
    intact, damage = verify(Path(candidate["path"]), candidate["digest"])
    with writing(engine) as connection:
        found = locked(connection, promotion_id)
        if found["state"] != "APPROVED":  # another process carried it out, or ended it, while we hashed
            return described(found)
        if not intact:
            _end(connection, found, "ABORTED", damage, actor)
        elif lapsed := _lapsed(connection, found):
            _end(connection, found, "EXPIRED", lapsed, actor)
        elif doubt := _doubt(connection, found, candidate):
            _end(connection, found, "ABORTED", doubt, actor)
        else:
            _crown(connection, found, actor, kind="promoted", old_becomes="SUPERSEDED")
        return described(locked(connection, promotion_id))


def rollback(engine: Engine, name: str, reason: str, *, actor: str, verify: Verify) -> dict[str, Any]:
    """Make the champion before this one the champion again: without a gate, but not without checking its files.

    Needs neither MLflow nor a network. The promotion that says so; ABORTED, with its "outcome", when the files are
    damaged or somebody was faster.
    """
    checked_text("reason", reason)
    current = champion(engine, name)
    if current is None:
        raise ValueError(f"{name} has no champion, so there is nothing to roll back")
    target = _predecessor(engine, current["promotion_id"])
    if target is None:
        raise ValueError(f"{name}: there was no champion before {current['digest'][:12]}; promote another version")
    version = version_of(engine, name, target["candidate_digest"])
    intact, damage = verify(Path(version["path"]), version["digest"])
    with writing(engine) as connection:
        moment = now(connection)
        values = {
            "kind": "rollback",
            "name": name,
            "candidate_digest": target["candidate_digest"],
            "gate_report_digest": target["gate_report_digest"],
            "expected_champion_digest": current["digest"],
            "expected_epoch": current["epoch"],
            "previous_promotion_id": target["previous_promotion_id"],
            "state": "APPROVED",
            "author": checked_text("actor", actor),
            "reason": reason,
            "idempotency_key": uuid.uuid4().hex,
            "created": moment,
            "changed": moment,
            "expires": later(moment, HOUR),
        }
        found = locked(connection, promotions.add(connection, values))
        if not intact or not _unmoved(connection, version):
            _end(connection, found, "ABORTED", damage or "its folder changed while it was checked", actor)
        else:
            _crown(connection, found, actor, kind="rolled_back", old_becomes="ROLLED_BACK")
        return described(locked(connection, found["id"]))


def _predecessor(engine: Engine, promotion_id: int) -> dict[str, Any] | None:
    """The promotion whose candidate was champion before this one's, not counting what was rolled back."""
    with reading(engine) as connection:
        found = locked(connection, promotion_id, for_update=False)
        if found["previous_promotion_id"] is None:
            return None
        return locked(connection, found["previous_promotion_id"], for_update=False)


def _end(connection: Connection, found: dict[str, Any], state: str, outcome: str, actor: str) -> None:
    outcome = storable(outcome)
    move(connection, found["id"], "APPROVED", state, outcome)
    log(connection, found, kind=f"{found['kind']}_{state.lower()}", actor=actor, reason=outcome)


def _lapsed(connection: Connection, found: dict[str, Any]) -> str:
    """Why the time is over: the promotion's own, or that of every approval."""
    moment = now(connection)
    if found["expires"] <= moment:
        return f"the proposal expired at {found['expires']}"
    approved = (approval.c.promotion_id == found["id"]) & (approval.c.decision == "approved")
    ends = [row["expires"] for row in rows(connection, select(approval.c.expires).where(approved))]
    return "" if any(end > moment for end in ends) else f"the approval expired at {max(ends)}"


def _doubt(connection: Connection, found: dict[str, Any], candidate: dict[str, Any]) -> str:
    """What no longer is as it was when the candidate was approved and its files were hashed."""
    report = one(connection, select(gate_report).where(gate_report.c.digest == found["gate_report_digest"]))
    if report is None or report["verdict"] != "PASS" or content_digest(report) != report["digest"]:
        return "the gate report is not the one that was approved"
    said = (approval.c.promotion_id == found["id"]) & (approval.c.decision == "approved")
    for row in rows(connection, select(approval).where(said)):
        if row["approver"] in (found["author"], candidate["author"]):
            return f"{row['approver']} approved their own candidate"
        if row["gate_report_digest"] != report["digest"]:
            return "another gate report was approved"
    return "" if _unmoved(connection, candidate) else "its folder changed while it was checked"


def _unmoved(connection: Connection, version: dict[str, Any]) -> bool:
    same = (model_version.c.name == version["name"]) & (model_version.c.digest == version["digest"])
    return bool(connection.scalar(select(model_version.c.path).where(same)) == version["path"])


def _crown(connection: Connection, found: dict[str, Any], actor: str, *, kind: str, old_becomes: str) -> None:
    """The compare-and-swap, the two promotions' states, the event and the outbox row: all of them or none."""
    name, epoch = found["name"], found["expected_epoch"] + 1
    old = one(connection, select(champion_table).where(champion_table.c.name == name).with_for_update())
    swap = update(champion_table).where(champion_table.c.name == name, champion_table.c.epoch == epoch - 1)
    values = {"digest": found["candidate_digest"], "epoch": epoch, "promotion_id": found["id"]}
    if old is None or connection.execute(swap.values(values)).rowcount != 1:
        held = "nobody" if old is None else f"{str(old['digest'])[:12]} at epoch {old['epoch']}"
        _end(connection, found, "ABORTED", f"{LOST_RACE}: the champion is {held}, not of epoch {epoch - 1}", actor)
        return
    move(connection, found["id"], "APPROVED", "APPLYING")
    if old["promotion_id"] is not None:
        before = locked(connection, old["promotion_id"])
        move(connection, before["id"], before["state"], old_becomes)
        if found["kind"] == "promotion":
            mine = update(promotion_table).where(promotion_table.c.id == found["id"])
            connection.execute(mine.values(previous_promotion_id=before["id"]))
    log(connection, found, kind=kind, actor=actor, previous=old["digest"], epoch=epoch, reason=found["reason"])
    post(connection, kind="set_alias", name=name, epoch=epoch, payload=_alias_payload(connection, found, epoch))


def _alias_payload(connection: Connection, found: dict[str, Any], epoch: int) -> dict[str, Any]:
    same = (model_version.c.name == found["name"]) & (model_version.c.digest == found["candidate_digest"])
    version = one(connection, select(model_version).where(same))
    assert version is not None, "a promotion's candidate is a version"
    kept = {key: version[key] for key in ("name", "version", "digest", "stage", "path", "run_id")}
    return {**kept, "alias": champion_alias(version["stage"]), "epoch": epoch, "promotion": found["id"]}


def told_of_champions(engine: Engine) -> list[dict[str, Any]]:
    """What MLflow should say now, for every champion: what the last outbox row of its name said."""
    with reading(engine) as connection:
        held = rows(connection, select(champion_table).where(champion_table.c.digest.is_not(None)))
        return [
            _alias_payload(connection, locked(connection, each["promotion_id"], for_update=False), each["epoch"])
            for each in held
        ]


def promote_automatically(
    engine: Engine,
    *,
    name: str,
    candidate: str,
    gate_report: str,
    author: str,
    approver: str,
    verify: Verify,
    idempotency_key: str,
    expected_epoch: int | None = None,
) -> dict[str, Any]:
    """Propose, approve and promote, for gates that need no person. Again with the same key: the same promotion, taken up
    where a crash left it.
    """
    found = promotions.propose(
        engine, name=name, candidate=candidate, gate_report=gate_report, author=author,
        reason="promoted by its gates", idempotency_key=idempotency_key, expected_epoch=expected_epoch,
    )  # fmt: skip
    if found["state"] == "PENDING_APPROVAL":
        found = promotions.approve(engine, found["id"], approver=approver, gate_report=gate_report)
    return promote(engine, found["id"], verify=verify, actor=author) if found["state"] == "APPROVED" else found


def champion(engine: Engine, name: str) -> dict[str, Any] | None:
    """What serves under `name`: the version, with "epoch", "promotion_id" and "previous" (a digest or None)."""
    with reading(engine) as connection:
        found = one(connection, select(champion_table).where(champion_table.c.name == name))
    if found is None or found["digest"] is None:
        return None
    before = _predecessor(engine, found["promotion_id"])
    previous = None if before is None else before["candidate_digest"]
    return {**version_of(engine, name, found["digest"]), **found, "previous": previous}


def was_production(engine: Engine, name: str, at: str | datetime) -> dict[str, Any] | None:
    """The champion of `name` at a moment, by replaying the events: {"digest", "epoch", "since", "actor"}, or None."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    held = None
    for event in history(engine, name):
        if event["kind"] in CROWNING and datetime.fromisoformat(event["at"]) <= moment:
            payload = event["payload"]
            held = {
                "digest": payload["digest"],
                "epoch": payload["epoch"],
                "since": event["at"],
                "actor": event["actor"],
            }
    return held


def protected(engine: Engine, previous: int = 2) -> dict[str, str]:
    """digest -> why its files must not be removed: champions, those a rollback can go back to, open candidates."""
    kept: dict[str, str] = {}
    with reading(engine) as connection:
        by_id = {row["id"]: row for row in rows(connection, select(promotion_table))}
        held = rows(connection, select(champion_table).where(champion_table.c.promotion_id.is_not(None)))
    for holder in held:
        kept[holder["digest"]] = f"champion of {holder['name']}"
        back = by_id[holder["promotion_id"]]["previous_promotion_id"]
        for _ in range(previous):
            if back is not None:
                kept.setdefault(by_id[back]["candidate_digest"], f"a previous champion of {holder['name']}")
                back = by_id[back]["previous_promotion_id"]
    for row in by_id.values():
        if row["state"] in promotions.OPEN_STATES:
            kept.setdefault(row["candidate_digest"], f"candidate of promotion {row['id']}")
    return kept
