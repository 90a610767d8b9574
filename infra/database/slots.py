"""Once and by one: a scheduled run is started a single time, and a leader who slept too long is told so.

A lease's epoch rises with every new owner. Who writes in a lease's name gives its epoch along (`still_holds`, in the same
transaction), so what a stale owner writes after waking is refused.
"""

from sqlalchemy import Connection, Engine, insert, select, update

from infra.database.sessions import now, one, writing
from infra.database.tables import lease, scheduled_run
from infra.database.values import later


def claim_slot(engine: Engine, run_key: str, run_id: str) -> str:
    """Who runs the slot `run_key` (deployment and scheduled time, or a digest): `run_id`, or the run that was first."""
    with writing(engine) as connection:
        found = one(connection, select(scheduled_run.c.run_id).where(scheduled_run.c.run_key == run_key))
        if found is not None:
            return str(found["run_id"])
        connection.execute(insert(scheduled_run).values(run_key=run_key, run_id=run_id, claimed=now(connection)))
    return run_id


def take_lease(engine: Engine, name: str, owner: str, seconds: float) -> int | None:
    """The epoch under which `owner` holds the lease now; None while another one does."""
    with writing(engine) as connection:
        moment = now(connection)
        found = one(connection, select(lease).where(lease.c.name == name).with_for_update())
        expires = later(moment, seconds)
        if found is None:
            connection.execute(insert(lease).values(name=name, owner=owner, epoch=1, expires=expires))
            return 1
        if found["owner"] != owner and found["expires"] > moment:
            return None
        epoch = int(found["epoch"]) + 1
        connection.execute(update(lease).where(lease.c.name == name).values(owner=owner, epoch=epoch, expires=expires))
        return epoch


def renew_lease(engine: Engine, name: str, epoch: int, seconds: float) -> bool:
    """False when the lease has run out or gone to another: stop, and write nothing more."""
    with writing(engine) as connection:
        if not still_holds(connection, name, epoch):
            return False
        renewed = update(lease).where(lease.c.name == name, lease.c.epoch == epoch)
        connection.execute(renewed.values(expires=later(now(connection), seconds)))
    return True


def still_holds(connection: Connection, name: str, epoch: int) -> bool:
    """Asked inside the transaction that writes: the fence against a stale owner."""
    found = one(connection, select(lease).where(lease.c.name == name).with_for_update())
    return found is not None and found["epoch"] == epoch and found["expires"] > now(connection)


def release_lease(engine: Engine, name: str, epoch: int) -> None:
    with writing(engine) as connection:
        released = update(lease).where(lease.c.name == name, lease.c.epoch == epoch)
        connection.execute(released.values(expires=now(connection)))
