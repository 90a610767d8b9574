"""Two real processes on one ledger, and processes that die at the worst moment: one champion, one order, nothing lost."""

import dataclasses
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from ledger_models import AUTHOR, approve, digest, intact, promote
from sqlalchemy import Engine, text

from infra.database import audit, champions, events, outbox, promotions
from infra.database.sessions import exclusive, open_ledger, reading, writing
from infra.settings import Settings, load_settings

SPAWN = multiprocessing.get_context("spawn")
ROUNDS = 100


def opened(home: str, address: str) -> Engine:
    return open_ledger(dataclasses.replace(load_settings(home=Path(home)), ledger_url=address))


def race(home: str, address: str, mine: str, barrier: Barrier, outcomes: Any) -> None:
    """Approve a candidate of one's own, wait for the other, promote; again and again."""
    engine = opened(home, address)
    found = []
    try:
        for number in range(ROUNDS):
            ready = approve(engine, f"{mine} {number}")
            barrier.wait(60)
            ended = champions.promote(engine, ready["id"], verify=intact, actor=mine)
            found.append((ended["state"], ended["epoch"], str(ended["outcome"]).split(":")[0]))
            barrier.wait(60)
    except Exception as error:
        barrier.abort()
        found.append((type(error).__name__, None, str(error)))
    outcomes.put((mine, found))
    engine.dispose()


def write_events(home: str, address: str, mine: str, count: int, barrier: Barrier) -> None:
    engine = opened(home, address)
    barrier.wait(60)
    for number in range(count):
        events.record_event(engine, actor=mine, kind="note", payload={"number": number})
    engine.dispose()


def promote_and_die(home: str, address: str, kill_point: str) -> None:
    """The promoter of one model, killed at a named point; what it did before that must not be lost, nor half done."""
    engine = opened(home, address)

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if kill_point == "while hashing":
        champions.promote(engine, 1, verify=lambda *_: die() or (True, ""), actor=AUTHOR)  # type: ignore[func-returns-value]
    elif kill_point == "before the commit":
        champions.post = die  # the outbox row is the last write of the transaction
        champions.promote(engine, 1, verify=intact, actor=AUTHOR)
    champions.promote(engine, 1, verify=intact, actor=AUTHOR)
    if kill_point == "before the alias":
        outbox.reconcile(engine, die)
    outbox._mark_done = die  # after the alias, before it is marked
    outbox.reconcile(engine, lambda *_: None)


def run(*processes: Any) -> list[int | None]:
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    return [process.exitcode for process in processes]


def test_of_two_racing_promoters_exactly_one_wins_every_round(ledger: Engine, ledger_settings: Settings) -> None:
    barrier, outcomes = SPAWN.Barrier(2), SPAWN.Queue()
    where = (str(ledger_settings.home), ledger_settings.ledger_url)
    racers = [SPAWN.Process(target=race, args=(*where, name, barrier, outcomes)) for name in ("one", "two")]
    for racer in racers:
        racer.start()
    told = dict(outcomes.get(timeout=240) for _ in racers)
    assert [racer.join(60) or racer.exitcode for racer in racers] == [0, 0]
    for number, pair in enumerate(zip(told["one"], told["two"], strict=True), start=1):
        assert sorted(pair, key=str) == [("ABORTED", None, "LOST_RACE"), ("APPLYING", number, "None")]
    champion = champions.champion(ledger, "assistant")
    assert champion is not None
    assert champion["epoch"] == ROUNDS
    assert audit.verify_audit(ledger) == (True, "")
    assert [row["epoch"] for row in outbox.pending(ledger)] == list(range(1, ROUNDS + 1))


def test_two_processes_write_events_at_once_and_none_is_locked_out(ledger: Engine, ledger_settings: Settings) -> None:
    barrier = SPAWN.Barrier(2)
    where = (str(ledger_settings.home), ledger_settings.ledger_url)
    writers = [SPAWN.Process(target=write_events, args=(*where, name, 150, barrier)) for name in ("one", "two")]
    assert run(*writers) == [0, 0]
    assert audit.audit_head(ledger)["seq"] == 300
    assert audit.verify_audit(ledger) == (True, "")
    for name in ("one", "two"):
        numbers = [event["payload"]["number"] for event in events.history(ledger) if event["actor"] == name]
        assert numbers == list(range(150))


def test_a_reader_waits_for_no_writer(ledger: Engine) -> None:
    with writing(ledger) as connection:
        events.append_event(connection, actor="one", kind="note", name=None, payload={})
        began = time.monotonic()
        assert events.history(ledger) == []
        assert audit.verify_audit(ledger) == (True, "")
        assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("kill_point", ["while hashing", "before the commit", "before the alias", "before the mark"])
def test_a_promoter_that_is_killed_leaves_one_of_two_states(
    ledger: Engine, ledger_settings: Settings, kill_point: str
) -> None:
    ready = approve(ledger, "a")
    where = (str(ledger_settings.home), ledger_settings.ledger_url)
    assert run(SPAWN.Process(target=promote_and_die, args=(*where, kill_point))) == [-signal.SIGKILL]
    committed = kill_point.startswith("before the") and kill_point != "before the commit"
    assert promotions.promotion(ledger, ready["id"])["state"] == ("APPLYING" if committed else "APPROVED")
    assert (champions.champion(ledger, "assistant") is not None) == committed
    assert audit.verify_audit(ledger) == (True, "")
    # Whoever comes next finishes the work, from either state.
    champions.promote(ledger, ready["id"], verify=intact, actor=AUTHOR)
    told = []
    assert outbox.reconcile(ledger, lambda _, payload: told.append(payload["epoch"])) == 1
    assert told == [1]
    assert promotions.promotion(ledger, ready["id"])["state"] == "CHAMPION"
    champion = champions.champion(ledger, "assistant")
    assert champion is not None
    assert (champion["digest"], champion["epoch"]) == (digest("a"), 1)
    assert audit.verify_audit(ledger) == (True, "")


def test_a_crash_between_apply_and_its_mark_repeats_it_in_order(ledger: Engine) -> None:
    for word in "ab":
        promote(ledger, word)
    told: list[int] = []

    def crash(_: str, payload: dict[str, Any]) -> None:
        told.append(payload["epoch"])
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outbox.reconcile(ledger, crash)
    (left,) = outbox.pending(ledger)
    assert (left["epoch"], left["attempts"], left["last_error"]) == (2, 1, None)
    assert outbox.reconcile(ledger, crash) == 1
    assert told == [1, 2, 2]
    assert outbox.reconcile(ledger, crash) == 0


def test_what_fails_waits_with_its_error_and_holds_back_its_own_model_alone(ledger: Engine) -> None:
    for word in "ab":
        promote(ledger, word)
    promote(ledger, "c", name="translator")
    told: list[tuple[str, int]] = []
    working = False

    def apply(_: str, payload: dict[str, Any]) -> None:
        if payload["name"] == "assistant" and not working:
            raise ConnectionError("MLflow is down\ud800\0")
        told.append((payload["name"], payload["epoch"]))

    assert outbox.reconcile(ledger, apply) == 1
    assert outbox.reconcile(ledger, apply) == 0
    assert told == [("translator", 1)]
    first, second = outbox.pending(ledger)
    assert (first["epoch"], first["attempts"], first["last_error"]) == (
        1,
        2,
        "ConnectionError: MLflow is down\\ud800\\0",
    )
    assert (second["epoch"], second["attempts"]) == (2, 0)
    assert [each["state"] for each in promotions.list_promotions(ledger)] == ["SUPERSEDED", "APPLYING", "CHAMPION"]
    working = True
    assert outbox.reconcile(ledger, apply) == 2
    assert told == [("translator", 1), ("assistant", 1), ("assistant", 2)]
    assert [each["state"] for each in promotions.list_promotions(ledger)] == ["SUPERSEDED", "CHAMPION", "CHAMPION"]


def hold(home: str, address: str, entered: Any) -> None:
    with exclusive(opened(home, address), "outbox"):
        entered.set()
        time.sleep(120)


def test_one_reconciler_at_a_time_and_a_killed_one_holds_up_nobody(ledger: Engine, ledger_settings: Settings) -> None:
    promote(ledger, "a")
    entered = SPAWN.Event()
    holder = SPAWN.Process(target=hold, args=(str(ledger_settings.home), ledger_settings.ledger_url, entered))
    holder.start()
    assert entered.wait(60)
    began = time.monotonic()
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join(60)
    assert outbox.reconcile(ledger, lambda *_: None) == 1
    assert time.monotonic() - began < 30.0


def test_a_writer_that_hangs_is_named_in_time_on_both_databases(
    ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ledger.dialect.name == "sqlite":
        with ledger.execution_options(purpose="read").connect() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 10000
        return
    monkeypatch.setattr("infra.database.sessions.BUSY_SECONDS", 0.1)
    with writing(ledger), pytest.raises(Exception, match="lock timeout"), writing(ledger):
        pass


def test_a_transaction_that_fails_leaves_nothing(ledger: Engine) -> None:
    def fail() -> None:
        with writing(ledger) as connection:
            events.append_event(connection, actor="one", kind="note", name=None, payload={})
            connection.execute(text("INSERT INTO scheduled_run (run_key, run_id, claimed) VALUES ('k', 'r', 't')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with reading(ledger) as connection:
        assert connection.execute(text("SELECT * FROM scheduled_run")).all() == []
    assert audit.audit_head(ledger) == {"seq": 0, "hash": ""}
