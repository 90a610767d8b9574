"""Opening the ledger: created, migrated with a backup, refused when it is newer, quick, and safe in a race."""

import dataclasses
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from ledger_models import register
from sqlalchemy import Engine, create_engine, inspect, text

from infra.database import audit, sessions
from infra.database.sessions import MIGRATIONS, open_ledger, reading, revision, revisions, writing
from infra.database.tables import metadata
from infra.settings import Settings, load_settings

CHECKOUT = Path(__file__).resolve().parent.parent.parent

LATER = """
from alembic import op
import sqlalchemy as sa
revision, down_revision = "0002", "0001"
def upgrade():
    op.add_column("run", sa.Column("colour", sa.Text))
"""
BROKEN = LATER + '    op.execute("SELECT * FROM no_such_table")\n'


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> Settings:
    settings = load_settings(CHECKOUT, tmp_path / "home")
    return dataclasses.replace(settings, ledger_url=f"sqlite:///{settings.ledger_db}")


def later_migrations(folder: Path, source: str) -> Path:
    target = Path(shutil.copytree(MIGRATIONS, folder / "migrations", ignore=shutil.ignore_patterns("__pycache__")))
    (target / "versions" / "0002_colour.py").write_text(source)
    return target


def columns(engine: Engine, table: str) -> set[str]:
    return {column["name"] for column in inspect(engine).get_columns(table)}


def test_a_new_ledger_has_the_newest_schema_and_opens_again(ledger: Engine, ledger_settings: Settings) -> None:
    assert revision(ledger) == revisions()[-1]
    register(ledger, "first")
    again = open_ledger(ledger_settings)
    assert audit.audit_head(again)["seq"] == 1
    again.dispose()


def test_the_names_of_the_migrations_are_alembics_revisions() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in scripts.walk_revisions()][::-1] == revisions()


def test_the_migrations_make_the_tables_that_the_code_describes(ledger: Engine) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with reading(ledger) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": sessions.VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_the_checks_of_the_migrations_are_those_of_the_code(sqlite_settings: Settings, tmp_path: Path) -> None:
    migrated = open_ledger(sqlite_settings)
    described = create_engine(f"sqlite:///{tmp_path / 'described.db'}")
    metadata.create_all(described)
    found = {}
    for engine in (migrated, described):
        found[engine] = {
            (table, str(check["name"]), " ".join(check["sqltext"].split()))
            for table in metadata.tables
            for check in inspect(engine).get_check_constraints(table)
        }
        engine.dispose()
    assert found[migrated] == found[described]
    assert len(found[migrated]) >= 8


def test_every_connection_of_sqlite_has_the_settings_of_a_ledger(sqlite_settings: Settings) -> None:
    engine = open_ledger(sqlite_settings)
    expected = {"foreign_keys": 1, "journal_mode": "wal", "busy_timeout": 10000, "synchronous": 2}
    with reading(engine) as first, reading(engine) as second:
        for connection in (first, second):
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected}
            assert found == expected
    engine.dispose()


def test_an_older_ledger_is_migrated_after_a_whole_copy_beside_it(sqlite_settings: Settings, tmp_path: Path) -> None:
    engine = open_ledger(sqlite_settings)
    register(engine, "first")  # still in the write-ahead log, while the connection is open
    migrated = open_ledger(sqlite_settings, later_migrations(tmp_path, LATER))
    assert revision(migrated) == "0002"
    assert "colour" in columns(migrated, "run")
    assert audit.verify_audit(migrated) == (True, "")
    backup = sqlite_settings.home / "ledger.db.backup-0001"
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("SELECT version_num FROM ledger_version").fetchall() == [("0001",)]
        assert copy.execute("SELECT name, version FROM model_version").fetchall() == [("assistant", 1)]
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(sqlite_settings.home.glob("*.tmp*"))
    migrated.dispose()
    engine.dispose()


def test_a_migration_that_fails_leaves_the_older_schema(
    ledger: Engine, ledger_settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no_such_table"):
        open_ledger(ledger_settings, later_migrations(tmp_path, BROKEN))
    assert revision(ledger) == "0001"
    assert "colour" not in columns(ledger, "run")


def test_a_newer_ledger_is_refused_and_not_touched(ledger: Engine, ledger_settings: Settings) -> None:
    with writing(ledger) as connection:
        connection.execute(text("UPDATE ledger_version SET version_num = '9999'"))
    with pytest.raises(ValueError, match="its schema 9999 is newer than this version's 0001; use the version"):
        open_ledger(ledger_settings)
    assert revision(ledger) == "9999"
    assert not list(ledger_settings.home.glob("*backup*"))


def test_two_first_uses_at_once_make_one_ledger(ledger_settings: Settings) -> None:
    """Four real processes that all find no ledger; each registers its own model."""
    code = (
        "import sys; sys.path[:0] = ['tests/infra']; from infra.database.sessions import open_ledger; "
        "from infra.settings import load_settings; from ledger_models import register; import pathlib; "
        "engine = open_ledger(load_settings(home=pathlib.Path(sys.argv[1]))); "
        "register(engine, sys.argv[2]); engine.dispose()"
    )
    environment = {"ESPALIER_LEDGER_URL": ledger_settings.ledger_url, "PATH": ""}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, str(ledger_settings.home), word],
            cwd=CHECKOUT, env=environment, stderr=subprocess.PIPE, text=True,
        )
        for word in "abcd"
    ]  # fmt: skip
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    engine = open_ledger(ledger_settings)
    assert audit.audit_head(engine)["seq"] == 4
    assert audit.verify_audit(engine) == (True, "")
    engine.dispose()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql+psycopg://me:secret@127.0.0.1:1/ledger", "cannot be opened"),
        ("mysql://me:secret@somewhere/ledger", "expected sqlite:///FILE or postgresql"),
        ("no address", "ESPALIER_LEDGER_URL: Could not parse"),
    ],
)
def test_a_ledger_out_of_reach_is_said_in_one_sentence(sqlite_settings: Settings, address: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        open_ledger(dataclasses.replace(sqlite_settings, ledger_url=address))
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_database_is_said_so(sqlite_settings: Settings) -> None:
    sqlite_settings.home.mkdir()
    sqlite_settings.ledger_db.write_text("my letters\n" * 100)
    with pytest.raises(ValueError, match="file is not a database"):
        open_ledger(sqlite_settings)
    assert sqlite_settings.ledger_db.read_text().startswith("my letters")


def test_listing_the_models_imports_neither_alembic_nor_mlflow(sqlite_settings: Settings) -> None:
    open_ledger(sqlite_settings).dispose()
    code = (
        "import pathlib, sys; from infra.settings import load_settings; from infra.database import sessions, versions; "
        "from infra import model_registry; settings = load_settings(home=pathlib.Path(sys.argv[1])); "
        "engine = sessions.open_ledger(settings); print(versions.list_versions(engine)); "
        "print(model_registry.project(settings, engine)); engine.dispose(); "
        "print([name for name in ('alembic', 'mlflow', 'psutil', 'sqlalchemy.orm', 'torch') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(sqlite_settings.home)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split("\n") == ["[]", "0", "[]", ""]
