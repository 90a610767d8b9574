"""What the ledger still has to tell others: written with the change itself, delivered later, as often as it takes.

Every row says where a model's alias belongs, so delivering one twice does no harm; delivering an older one after a newer
one would, and is what the order by epoch and the one reconciler at a time are for.
"""

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from infra.database.events import append_event
from infra.database.promotions import move
from infra.database.sessions import exclusive, now, one, reading, rows, writing
from infra.database.tables import outbox, promotion
from infra.database.values import storable

logger = logging.getLogger(__name__)

Apply = Callable[[str, dict[str, Any]], None]


def post(connection: Connection, *, kind: str, name: str, epoch: int, payload: dict[str, Any]) -> None:
    """Add a row in the transaction of the change that it tells of."""
    row = {"kind": kind, "name": name, "epoch": epoch, "payload": payload, "created": now(connection), "attempts": 0}
    connection.execute(insert(outbox).values(row))


def pending(engine: Engine) -> list[dict[str, Any]]:
    """What is not delivered yet, by model and epoch, with its attempts and last error."""
    with reading(engine) as connection:
        waiting = select(outbox).where(outbox.c.done_at.is_(None))
        return rows(connection, waiting.order_by(outbox.c.name, outbox.c.epoch, outbox.c.id))


def reconcile(engine: Engine, apply: Apply) -> int:
    """Deliver what is pending through apply(kind, payload), by epoch for each model; the number delivered.

    At least once: a crash between `apply` and the mark repeats it. What fails stays, with its error, and holds back the
    later epochs of its own model only.
    """
    if not pending(engine):
        return 0
    delivered, held_back = 0, set()
    with exclusive(engine, "outbox"):
        for row in pending(engine):
            if row["name"] in held_back:
                continue
            _count_attempt(engine, row)
            try:
                apply(row["kind"], row["payload"])
            except Exception as error:  # whatever the other side does, the ledger's answer is: later
                logger.warning("%s of %s waits: %s", row["kind"], row["name"], error)
                _keep_error(engine, row, error)
                held_back.add(row["name"])
                continue
            _mark_done(engine, row)
            delivered += 1
    return delivered


def _count_attempt(engine: Engine, row: dict[str, Any]) -> None:
    """Before it is made: an attempt that killed the process counts as well."""
    with writing(engine) as connection:
        connection.execute(update(outbox).where(outbox.c.id == row["id"]).values(attempts=outbox.c.attempts + 1))


def _keep_error(engine: Engine, row: dict[str, Any], error: Exception) -> None:
    with writing(engine) as connection:
        said = storable(f"{type(error).__name__}: {error}")
        connection.execute(update(outbox).where(outbox.c.id == row["id"]).values(last_error=said))


def _mark_done(engine: Engine, row: dict[str, Any]) -> None:
    """The row is delivered, and its promotion complete, unless another champion has followed meanwhile."""
    payload = row["payload"]
    with writing(engine) as connection:
        connection.execute(update(outbox).where(outbox.c.id == row["id"]).values(done_at=now(connection)))
        state = one(connection, select(promotion.c.state).where(promotion.c.id == payload["promotion"]))
        if state is not None and state["state"] == "APPLYING":
            move(connection, payload["promotion"], "APPLYING", "CHAMPION")
        said = {"alias": payload["alias"], "digest": payload["digest"], "epoch": row["epoch"]}
        append_event(connection, actor="reconciler", kind="applied", name=row["name"], payload=said)
