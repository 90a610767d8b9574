"""What the tables forbid beyond their columns: one condition over OLD and NEW, as a trigger for SQLite or Postgres."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Refuse `on` (such as "UPDATE OF state") of a row where `forbidden` holds; a NULL does not hold."""

    name: str
    table: str
    on: str
    forbidden: str
    says: str


def append_only(table: str, *, but_updates: bool = False) -> list[Guard]:
    """No row of `table` is ever deleted, nor (unless `but_updates`) changed."""
    return [
        Guard(name=f"{table}_no_{verb.lower()}", table=table, on=verb, forbidden="1 = 1", says=f"{table}: no {verb}")
        for verb in (["DELETE"] if but_updates else ["UPDATE", "DELETE"])
    ]


def statements(guard: Guard, backend: str) -> Iterator[str]:
    """The SQL that sets up a guard on "sqlite" or "postgresql"; what it refuses is an IntegrityError on both."""
    if backend == "sqlite":
        yield (
            f"CREATE TRIGGER {guard.name} BEFORE {guard.on} ON {guard.table} FOR EACH ROW WHEN {guard.forbidden} "
            f"BEGIN SELECT RAISE(ABORT, '{guard.says}'); END"
        )
        return
    yield (
        f"CREATE FUNCTION {guard.name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {guard.forbidden} THEN RAISE EXCEPTION '{guard.says}' USING ERRCODE = 'integrity_constraint_violation'; "
        "END IF; IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$"
    )
    yield _trigger(guard, guard.on, "ROW")
    if guard.on == "DELETE":  # a TRUNCATE deletes without asking the rows
        yield _trigger(guard, "TRUNCATE", "STATEMENT")


def _trigger(guard: Guard, on: str, each: str) -> str:
    name = guard.name if each == "ROW" else f"{guard.name}_truncate"
    return f"CREATE TRIGGER {name} BEFORE {on} ON {guard.table} FOR EACH {each} EXECUTE FUNCTION {guard.name}()"
