"""Ledgers to test with: a fresh one in SQLite and in Postgres, the latter from the server binaries of this machine."""

import dataclasses
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from infra.database.sessions import open_ledger
from infra.settings import Settings, load_settings

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def _server_binary(name: str) -> str | None:
    found = shutil.which(name)
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found or (str(installed[-1]) if installed else None)


def _unprivileged() -> dict[str, Any]:
    """Postgres refuses to run as root: there it runs as `postgres`, else as `nobody`; as arguments of subprocess.run."""
    if os.getuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a server of our own, on a unix socket alone; gone after the tests."""
    initdb, pg_ctl = _server_binary("initdb"), _server_binary("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("no PostgreSQL server binaries on this machine")
    who = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="esp-pg-", dir="/tmp"))  # a socket's path has to be short
    if who:
        os.chown(folder, who["user"], who["group"])
    data, log = folder / "data", folder / "log"
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=40"

    def run(*command: str) -> None:
        environment = {"LC_ALL": "C", "PATH": os.environ["PATH"]}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd=folder, env=environment, timeout=120, **quiet, **who)

    try:
        run(initdb, "-D", str(data), "-U", "espalier", "--auth=trust", "--encoding=UTF8", "--no-sync")
        run(pg_ctl, "-D", str(data), "-w", "-l", str(log), "-o", options, "start")
        yield f"postgresql+psycopg://espalier@/postgres?host={folder}"
        run(pg_ctl, "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _on_server(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


@contextmanager
def _database(server: str, template: str = "template1") -> Iterator[str]:
    """The address of a new database, dropped at the end: each takes eight megabytes."""
    name = f"ledger_{uuid.uuid4().hex}"
    _on_server(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.replace("/postgres?", f"/{name}?")
    _on_server(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database that others are copied from: a third of a second less for every test."""
    with _database(postgres_server) as address:
        open_ledger(dataclasses.replace(load_settings(CHECKOUT), ledger_url=address)).dispose()
        yield address.partition("?")[0].rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """The settings of an empty home, with the ledger in either database; nothing in it, unless the test opens it."""
    settings = load_settings(CHECKOUT, tmp_path / "home")
    if request.param == "sqlite":
        yield dataclasses.replace(settings, ledger_url=f"sqlite:///{settings.ledger_db}")
        return
    server = request.getfixturevalue("postgres_server")
    migrated = "ledger" in request.fixturenames
    template = request.getfixturevalue("migrated_postgres") if migrated else "template1"
    with _database(server, template) as address:
        yield dataclasses.replace(settings, ledger_url=address)


@pytest.fixture
def ledger(ledger_settings: Settings) -> Iterator[Engine]:
    engine = open_ledger(ledger_settings)
    yield engine
    engine.dispose()
