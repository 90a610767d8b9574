"""Runs and the outcomes of their stages: who runs now, what a run was made of, and what can be reused."""

import hashlib
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from infra.database.sessions import now, one, reading, rows, writing
from infra.database.tables import RUN_STATES, STAGE_STATES, run, stage_result
from infra.database.tables import data_lock as lock_table
from infra.database.values import plain
from infra.processes import Holder

END_STATES = tuple(state for state in RUN_STATES if state not in ("running", "crashed"))
FINISHED = ("trained", "done")


def start_run(
    engine: Engine,
    *,
    run_id: str,
    recipe_name: str,
    recipe: Mapping[str, Any],
    recipe_digest: str,
    code: str | None,
    command: str,
) -> None:
    """This process runs `run_id` from now on; an ended run is taken up again only with the recipe that it had."""
    holder = Holder.this_process()
    with writing(engine) as connection:
        mine = {
            "state": "running",
            "host": platform.node(),
            "pid": holder.pid,
            "process_started": holder.started,
            "ended": None,
        }
        found = one(connection, select(run).where(run.c.run_id == run_id))
        if found is None:
            identity = {
                "run_id": run_id,
                "recipe_name": recipe_name,
                "recipe": plain(recipe),
                "recipe_digest": recipe_digest,
                "code": code,
                "command": command,
                "started": now(connection),
            }
            connection.execute(insert(run).values(**identity, **mine))
        elif found["recipe_digest"] != recipe_digest:
            raise ValueError(f"run {run_id} was started with another recipe; a run id names one recipe")
        else:
            connection.execute(update(run).where(run.c.run_id == run_id).values(**mine))


def end_run(engine: Engine, run_id: str, state: str, record: Mapping[str, Any]) -> None:
    """The run ends as done, refused, failed, interrupted or preempted; `record` is what its report shows."""
    if state not in END_STATES:
        raise ValueError(f"run {run_id}: state {state!r}: expected one of {', '.join(END_STATES)}")
    with writing(engine) as connection:
        ending = update(run).where(run.c.run_id == run_id, run.c.state == "running")
        values = {"state": state, "record": plain(record), "ended": now(connection)}
        if connection.execute(ending.values(**values)).rowcount != 1:
            found = one(connection, select(run.c.state).where(run.c.run_id == run_id))
            raise ValueError(
                f"run {run_id}: it is {found['state'] if found else 'unknown'}, only a running one can end"
            )


def close_stale_runs(engine: Engine, is_alive: Callable[[int, float], bool]) -> list[str]:
    """Runs of this machine whose process is dead become `crashed`; their ids. Other machines' processes are not ours."""
    with writing(engine) as connection:
        running = select(run).where(run.c.state == "running", run.c.host == platform.node()).order_by(run.c.started)
        dead = [each for each in rows(connection, running) if not is_alive(each["pid"], each["process_started"])]
        for each in dead:
            closing = update(run).where(run.c.run_id == each["run_id"])
            connection.execute(closing.values(state="crashed", ended=now(connection)))
    return [str(each["run_id"]) for each in dead]


def list_runs(engine: Engine) -> list[dict[str, Any]]:
    """Newest first."""
    with reading(engine) as connection:
        return rows(connection, select(run).order_by(run.c.started.desc(), run.c.run_id.desc()))


def find_run(engine: Engine, run_id: str) -> dict[str, Any]:
    with reading(engine) as connection:
        return _known(connection, run_id)


def keep_data_lock(engine: Engine, run_id: str, lock: bytes) -> str:
    """Keep the bytes of dvc.lock, the version of the data that the run saw, once however many runs saw it; its sha256."""
    sha256 = hashlib.sha256(lock).hexdigest()
    with writing(engine) as connection:
        _known(connection, run_id)
        if one(connection, select(lock_table.c.sha256).where(lock_table.c.sha256 == sha256)) is None:
            connection.execute(insert(lock_table).values(sha256=sha256, content=lock))
        connection.execute(update(run).where(run.c.run_id == run_id).values(data_lock=sha256))
    return sha256


def data_lock(engine: Engine, run_id: str) -> bytes:
    """The bytes of dvc.lock that `keep_data_lock` kept of this run."""
    with reading(engine) as connection:
        sha256 = _known(connection, run_id)["data_lock"]
        found = one(connection, select(lock_table.c.content).where(lock_table.c.sha256 == sha256))
    if found is None:
        raise ValueError(f"run {run_id}: no dvc.lock was kept of it")
    return bytes(found["content"])


def record_stage(
    engine: Engine,
    run_id: str,
    stage: str,
    key: str,
    state: str,
    outcome: Mapping[str, Any],
    artifacts: Iterable[Mapping[str, Any]],
) -> None:
    """What a stage of the run came to; `artifacts` are {"path", "digest"}, and `key` names all that it depended on."""
    if state not in STAGE_STATES:
        raise ValueError(f"{stage}: state {state!r}: expected one of {', '.join(STAGE_STATES)}")
    kept = [{"path": str(each["path"]), "digest": str(each["digest"])} for each in artifacts]
    with writing(engine) as connection:
        _known(connection, run_id)
        values = {"run_id": run_id, "stage": stage, "key": key, "state": state, "at": now(connection)}
        connection.execute(insert(stage_result).values(**values, outcome=plain(outcome), artifacts=kept))


def find_reusable(engine: Engine, key: str) -> dict[str, Any] | None:
    """The latest stage that finished with this key: {"run_id", "outcome", "artifacts"}. Whether its files stand is not
    looked at here.
    """
    finished = (stage_result.c.key == key) & stage_result.c.state.in_(FINISHED)
    columns = (stage_result.c.run_id, stage_result.c.outcome, stage_result.c.artifacts)
    with reading(engine) as connection:
        return one(connection, select(*columns).where(finished).order_by(stage_result.c.id.desc()).limit(1))


def _known(connection: Connection, run_id: str) -> dict[str, Any]:
    found = one(connection, select(run).where(run.c.run_id == run_id))
    if found is None:
        raise ValueError(f"run {run_id} is not in the ledger: call start_run first")
    return found
