"""Opening the ledger: its engine, transactions with one writer at a time, and the migration with a backup.

Reading then updating races in both databases unless the writer's turn comes first: SQLite takes its lock at BEGIN
IMMEDIATE (a deferred transaction that loses fails at once with "database is locked"), Postgres an advisory lock.
"""

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.sql.base import Executable

from infra.processes import file_lock
from infra.settings import Settings

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
VERSION_TABLE = "ledger_version"
BUSY_SECONDS = 10
WRITER_LOCK = 1163087952  # any number that every Espalier agrees on
SQLITE_NOW = "SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')"
POSTGRES_NOW = """SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS') || '+00:00'"""


def open_ledger(settings: Settings, migrations: Path = MIGRATIONS) -> Engine:
    """The ledger, created or brought to this version's schema; ValueError for a newer one, or one out of reach."""
    engine = _engine(settings.ledger_url)
    try:
        migrate(engine, migrations)
    except DatabaseError as error:
        engine.dispose()
        said = str(error.orig).strip().splitlines()[0]
        raise ValueError(f"ledger {engine.url.render_as_string()}: cannot be opened ({said})") from error
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def ledger(settings: Settings) -> Iterator[Engine]:
    """The ledger for a while; its connections are closed at the end."""
    engine = open_ledger(settings)
    try:
        yield engine
    finally:
        engine.dispose()


def _engine(address: str) -> Engine:
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise ValueError(f"ESPALIER_LEDGER_URL: {error}") from error
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
    elif backend == "postgresql":
        try:
            engine = create_engine(url, connect_args={"connect_timeout": BUSY_SECONDS}, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise ValueError(f"a ledger in Postgres needs {error.name}: pip install 'espalier[postgres]'") from error
    else:
        raise ValueError(f"ledger {url.render_as_string()}: expected sqlite:///FILE or postgresql+psycopg://...")
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN would be a deferred one
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")


def _begin(connection: Connection) -> None:
    purpose = connection.get_execution_options().get("purpose", "write")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if purpose == "write" else "BEGIN")
    elif purpose == "write":
        connection.exec_driver_sql(
            f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'; SELECT pg_advisory_xact_lock({WRITER_LOCK})"
        )
    elif purpose == "read":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that nobody else writes beside; never hold it over a network call or the hashing of a file."""
    with engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view; waits for no writer, and none waits for it."""
    with engine.execution_options(purpose="read").begin() as connection:
        yield connection


@contextmanager
def exclusive(engine: Engine, purpose: str) -> Iterator[None]:
    """One process or thread at a time does `purpose` on this ledger, outside any transaction; a dead holder's turn ends."""
    if engine.dialect.name == "sqlite":
        path = sqlite_file(engine.url)
        with file_lock(path.with_name(f"{path.name}.{purpose}.guard")):
            yield
        return
    key = zlib.crc32(purpose.encode()) & 0x7FFFFFFF
    with engine.execution_options(purpose="lock", isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({WRITER_LOCK}, {key})")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({WRITER_LOCK}, {key})")


def rows(connection: Connection, statement: Executable) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(statement).mappings()]


def one(connection: Connection, statement: Executable) -> dict[str, Any] | None:
    """The first row, or None."""
    found = connection.execute(statement).mappings().first()
    return None if found is None else dict(found)


def now(connection: Connection) -> str:
    """The database's clock: leases and approvals must not depend on whose machine asks."""
    return str(connection.exec_driver_sql(SQLITE_NOW if connection.dialect.name == "sqlite" else POSTGRES_NOW).scalar())


def sqlite_file(url: URL) -> Path:
    return Path(url.database or "")


def migrate(engine: Engine, migrations: Path = MIGRATIONS) -> None:
    """Bring the schema to the newest revision, once however many ask; an older file is copied beside itself first."""
    known = revisions(migrations)
    if revision(engine) == known[-1]:
        return
    with exclusive(engine, "migration"):
        found = revision(engine)
        if found == known[-1]:
            return
        if found is not None and found not in known:
            raise ValueError(
                f"ledger {engine.url.render_as_string()}: its schema {found} is newer than this version's {known[-1]}; "
                "use the version of Espalier that wrote it, or another ESPALIER_HOME"
            )
        if engine.dialect.name == "sqlite":
            if found is not None:
                back_up(engine, found)
            with closing(engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
        _upgrade(engine, migrations)


def revisions(migrations: Path = MIGRATIONS) -> list[str]:
    """Oldest first, by the names of the files: versions/0001_first_tables.py -> 0001. Alembic is imported to migrate only."""
    return sorted(path.name.split("_")[0] for path in (migrations / "versions").glob("[0-9]*_*.py"))


def revision(engine: Engine) -> str | None:
    with reading(engine) as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        found = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
        return None if found is None else str(found)


def back_up(engine: Engine, name: str) -> Path:
    """A whole copy of the SQLite file beside it, ledger.db.backup-NAME; what is still in the write-ahead log as well."""
    path = sqlite_file(engine.url)
    target = path.with_name(f"{path.name}.backup-{name}")
    temporary = path.with_name(f"{target.name}.{os.getpid()}.tmp")
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as source, closing(sqlite3.connect(temporary)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # else the copy would be two files
    os.replace(temporary, target)
    return target


def _upgrade(engine: Engine, migrations: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with writing(engine) as connection:
        config.attributes.update(connection=connection, version_table=VERSION_TABLE)
        command.upgrade(config, "head")
