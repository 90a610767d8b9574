"""Runs and stages in the ledger: who runs, how it ended, which data it saw, what can be reused; slots and leases."""

import os
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import Engine, update

from infra.database import runs, slots, tables
from infra.database.sessions import writing
from infra.processes import is_alive


def start(engine: Engine, run_id: str = "run-1", recipe_digest: str = "r1") -> None:
    runs.start_run(
        engine, run_id=run_id, recipe_name="tiny", recipe={"pretrain": {"steps": 3}}, recipe_digest=recipe_digest,
        code="c0de", command="espalier run --recipe tiny",
    )  # fmt: skip


def state(engine: Engine, run_id: str = "run-1") -> Any:
    return runs.find_run(engine, run_id)["state"]


def test_a_run_is_known_from_start_to_end(ledger: Engine) -> None:
    start(ledger)
    found = runs.find_run(ledger, "run-1")
    assert (found["state"], found["pid"], found["ended"]) == ("running", os.getpid(), None)
    assert found["recipe"] == {"pretrain": {"steps": 3}}
    runs.end_run(ledger, "run-1", "done", {"seconds": 1.5, "loss": float("nan")})
    found = runs.find_run(ledger, "run-1")
    assert (found["state"], found["record"]) == ("done", {"seconds": 1.5, "loss": "NaN"})
    assert found["started"] <= found["ended"]
    assert [each["run_id"] for each in runs.list_runs(ledger)] == ["run-1"]


def test_an_end_is_said_once_and_of_a_running_run(ledger: Engine) -> None:
    start(ledger)
    with pytest.raises(ValueError, match="expected one of done, refused, failed, interrupted, preempted"):
        runs.end_run(ledger, "run-1", "crashed", {})
    runs.end_run(ledger, "run-1", "preempted", {})
    with pytest.raises(ValueError, match="run run-1: it is preempted, only a running one can end"):
        runs.end_run(ledger, "run-1", "done", {})
    with pytest.raises(ValueError, match="it is unknown"):
        runs.end_run(ledger, "run-2", "done", {})


def test_a_preempted_run_is_taken_up_again_but_not_with_another_recipe(ledger: Engine) -> None:
    start(ledger)
    runs.end_run(ledger, "run-1", "preempted", {})
    with pytest.raises(ValueError, match="another recipe"):
        start(ledger, recipe_digest="r2")
    start(ledger)
    assert (state(ledger), runs.find_run(ledger, "run-1")["ended"]) == ("running", None)


def test_runs_of_dead_processes_of_this_machine_become_crashed(ledger: Engine) -> None:
    for run_id in ("mine", "dead", "elsewhere", "ended"):
        start(ledger, run_id)
    runs.end_run(ledger, "ended", "done", {})
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with writing(ledger) as connection:
        dead = update(tables.run).where(tables.run.c.run_id != "mine").values(pid=ended.pid, process_started=1.0)
        connection.execute(dead)
        connection.execute(update(tables.run).where(tables.run.c.run_id == "elsewhere").values(host="another"))
    assert runs.close_stale_runs(ledger, is_alive) == ["dead"]
    assert runs.close_stale_runs(ledger, is_alive) == []
    found = {run_id: state(ledger, run_id) for run_id in ("mine", "dead", "elsewhere", "ended")}
    assert found == {"mine": "running", "dead": "crashed", "elsewhere": "running", "ended": "done"}


def test_the_data_lock_of_many_runs_is_kept_once(ledger: Engine) -> None:
    for run_id in ("first", "second", "third"):
        start(ledger, run_id)
    with pytest.raises(ValueError, match=r"no dvc\.lock was kept"):
        runs.data_lock(ledger, "first")
    lock = b"schema: '2.0'\nstages: {}\n\xff\x00"
    assert runs.keep_data_lock(ledger, "first", lock) == runs.keep_data_lock(ledger, "second", lock)
    runs.keep_data_lock(ledger, "third", b"other")
    assert runs.data_lock(ledger, "first") == runs.data_lock(ledger, "second") == lock
    assert runs.data_lock(ledger, "third") == b"other"
    with writing(ledger) as connection:
        assert len(connection.execute(tables.data_lock.select()).all()) == 2
    with pytest.raises(ValueError, match="run unknown is not in the ledger"):
        runs.keep_data_lock(ledger, "unknown", lock)


def test_the_latest_finished_stage_with_a_key_is_reusable(ledger: Engine) -> None:
    artifacts = [{"path": "/models/a", "digest": "d1"}]
    assert runs.find_reusable(ledger, "k1") is None
    start(ledger, "first")
    runs.record_stage(ledger, "first", "pretrain", "k1", "failed", {"reason": "NaN"}, [])
    runs.record_stage(ledger, "first", "pretrain", "k1", "interrupted", {}, [])
    assert runs.find_reusable(ledger, "k1") is None
    runs.record_stage(ledger, "first", "pretrain", "k1", "trained", {"after": 1.5}, artifacts)
    start(ledger, "second")
    runs.record_stage(ledger, "second", "pretrain", "k1", "trained", {"after": 1.4}, [{"path": "/b", "digest": "d2"}])
    runs.record_stage(ledger, "second", "pretrain", "k1", "refused", {"after": 9.0}, artifacts)
    runs.record_stage(ledger, "second", "pretrain", "k2", "done", {"after": 0.0}, artifacts)
    assert runs.find_reusable(ledger, "k1") == {
        "run_id": "second", "outcome": {"after": 1.4}, "artifacts": [{"path": "/b", "digest": "d2"}],
    }  # fmt: skip
    found = runs.find_reusable(ledger, "k2")
    assert found is not None
    assert found["artifacts"] == artifacts


def test_a_stage_has_a_known_state_and_a_known_run(ledger: Engine) -> None:
    start(ledger)
    with pytest.raises(ValueError, match="expected one of trained, done, failed, refused, interrupted"):
        runs.record_stage(ledger, "run-1", "pretrain", "k", "reused", {}, [])
    with pytest.raises(ValueError, match="run run-2 is not in the ledger"):
        runs.record_stage(ledger, "run-2", "pretrain", "k", "done", {}, [])


def test_a_scheduled_slot_is_run_once(ledger: Engine) -> None:
    assert slots.claim_slot(ledger, "nightly 2026-11-03T02:30", "run-1") == "run-1"
    assert slots.claim_slot(ledger, "nightly 2026-11-03T02:30", "run-2") == "run-1"
    assert slots.claim_slot(ledger, "nightly 2026-11-04T02:30", "run-2") == "run-2"


def test_a_stale_leader_is_fenced_off(ledger: Engine) -> None:
    first = slots.take_lease(ledger, "retrain", "one", seconds=60)
    assert first == 1
    assert slots.take_lease(ledger, "retrain", "two", seconds=60) is None
    assert slots.renew_lease(ledger, "retrain", first, seconds=-1)  # the leader sleeps until its lease has run out
    assert not slots.renew_lease(ledger, "retrain", first, seconds=60)
    second = slots.take_lease(ledger, "retrain", "two", seconds=60)
    assert second == 2
    with writing(ledger) as connection:
        assert not slots.still_holds(connection, "retrain", first)
        assert slots.still_holds(connection, "retrain", second)
    slots.release_lease(ledger, "retrain", first)
    assert slots.take_lease(ledger, "retrain", "one", seconds=60) is None
    slots.release_lease(ledger, "retrain", second)
    assert slots.take_lease(ledger, "retrain", "one", seconds=60) == 3
