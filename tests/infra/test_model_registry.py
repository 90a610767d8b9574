"""MLflow's registry says what the ledger decided: told twice, told late, moved by hand, or thrown away altogether."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_models import digest, intact, promote, register
from sqlalchemy import Engine

from infra import model_registry, tracking
from infra.database import audit, champions, events, outbox, promotions, versions
from infra.database.sessions import open_ledger
from infra.processes import start_process
from infra.services import free_port
from infra.settings import Settings, child_environment, load_settings, prepare

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One MLflow store for all; its schema takes seconds to make. Every test has models of its own."""
    settings = load_settings(CHECKOUT, tmp_path_factory.mktemp("home"))
    prepare(settings)
    tracking.bootstrap(settings)
    return settings


@pytest.fixture
def settings(home: Settings, tmp_path: Path) -> Settings:
    ledger_db = tmp_path / "ledger.db"
    return dataclasses.replace(home, ledger_db=ledger_db, ledger_url=f"sqlite:///{ledger_db}")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_ledger(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).replace("[", "-").replace("]", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "a folder & 한글"
    path.mkdir()
    return path


def client(settings: Settings) -> Any:
    return tracking._client(settings)


def aliases(settings: Settings, name: str) -> dict[str, str]:
    """alias -> digest, as MLflow has them."""
    model = client(settings).get_registered_model(name)
    return {
        alias: client(settings).get_model_version(name, number).tags["espalier.digest"]
        for alias, number in model.aliases.items()
    }


def test_a_champion_becomes_a_version_with_an_alias_and_tags(
    settings: Settings, engine: Engine, name: str, folder: Path
) -> None:
    register(engine, "never promoted", name)
    promote(engine, "a", name, path=folder)
    assert model_registry.project(settings, engine) == 1
    assert aliases(settings, name) == {"production": digest("a")}
    version = client(settings).get_model_version_by_alias(name, "production")
    assert version.source == folder.as_uri()
    expected = {
        "espalier.digest": digest("a"),
        "espalier.epoch": "1",
        "espalier.stage": "aligned",
        "espalier.version": f"{name}:2",
        "espalier.path": str(folder),
    }
    assert {key: version.tags[key] for key in expected} == expected
    assert promotions.list_promotions(engine, name)[-1]["state"] == "CHAMPION"
    assert model_registry.drift(settings, engine) == []
    assert model_registry.project(settings, engine) == 0


def test_other_stages_have_the_alias_promoted(settings: Settings, engine: Engine, name: str, folder: Path) -> None:
    promote(engine, "a", name, stage="pretrained", path=folder)
    model_registry.project(settings, engine)
    assert aliases(settings, name) == {"promoted": digest("a")}


def test_the_alias_follows_promotions_and_rollbacks(
    settings: Settings, engine: Engine, name: str, folder: Path
) -> None:
    for word in "ab":
        promote(engine, word, name, path=folder)
    assert model_registry.project(settings, engine) == 2
    assert aliases(settings, name) == {"production": digest("b")}
    champions.rollback(engine, name, "worse", actor="alan", verify=intact)
    assert model_registry.project(settings, engine) == 1
    assert aliases(settings, name) == {"production": digest("a")}
    assert len(client(settings).search_model_versions(f"name = '{name}'")) == 2  # a was not registered a second time


def test_telling_twice_changes_nothing_and_an_older_epoch_comes_too_late(
    settings: Settings, engine: Engine, name: str, folder: Path
) -> None:
    for word in "ab":
        promote(engine, word, name, path=folder)
    first, second = (row["payload"] for row in outbox.pending(engine))
    for payload in (first, first, second, second, first):
        model_registry._set_alias(settings, payload)
    assert aliases(settings, name) == {"production": digest("b")}
    assert len(client(settings).search_model_versions(f"name = '{name}'")) == 2
    assert model_registry.project(settings, engine) == 2
    assert aliases(settings, name) == {"production": digest("b")}


def test_a_promoter_that_is_killed_after_the_alias_is_finished_by_the_next(
    settings: Settings, engine: Engine, name: str, folder: Path
) -> None:
    promote(engine, "a", name, path=folder)
    code = (
        "import dataclasses, os, pathlib, signal, sys; from infra import model_registry; "
        "from infra.database import outbox, sessions; from infra.settings import load_settings; "
        "outbox._mark_done = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
        "settings = load_settings(home=pathlib.Path(sys.argv[1])); "
        "settings = dataclasses.replace(settings, ledger_url=sys.argv[2]); "
        "model_registry.project(settings, sessions.open_ledger(settings))"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(settings.home), settings.ledger_url],
        cwd=CHECKOUT, env=child_environment(settings),
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert aliases(settings, name) == {"production": digest("a")}
    assert promotions.list_promotions(engine, name)[-1]["state"] == "APPLYING"
    assert model_registry.project(settings, engine) == 1
    assert aliases(settings, name) == {"production": digest("a")}
    assert promotions.list_promotions(engine, name)[-1]["state"] == "CHAMPION"
    assert len(client(settings).search_model_versions(f"name = '{name}'")) == 1


def test_an_alias_moved_by_hand_is_reported_once_and_moved_back(
    settings: Settings, engine: Engine, name: str, folder: Path
) -> None:
    for word in "ab":
        promote(engine, word, name, path=folder)
    model_registry.project(settings, engine)
    client(settings).set_registered_model_alias(name, "production", "1")
    client(settings).set_registered_model_alias(name, "promoted", "1")
    client(settings).set_registered_model_tag(name, "espalier.epoch", "99")
    finding = f"{name}: alias production is at {digest('a')[:12]}, the champion is {digest('b')[:12]}"
    assert model_registry.drift(settings, engine) == [finding]
    assert model_registry.drift(settings, engine) == [finding]
    assert versions.find_version(engine, "production")["digest"] == digest("b")  # who serves asks the ledger
    drifted = [event for event in events.history(engine, name) if event["kind"].startswith("drift")]
    assert [(event["kind"], event["payload"]) for event in drifted] == [("drift", {"finding": finding})]
    assert model_registry.drift(settings, engine, repair=True) == [finding]
    assert aliases(settings, name) == {"production": digest("b")}
    assert model_registry.drift(settings, engine) == []
    assert events.history(engine, name)[-1]["kind"] == "drift_repaired"
    assert audit.verify_audit(engine) == (True, "")


def test_a_registry_that_was_thrown_away_is_told_again(
    settings: Settings, engine: Engine, name: str, folder: Path
) -> None:
    promote(engine, "a", name, path=folder)
    assert model_registry.drift(settings, engine) == []  # not told yet: late, not wrong
    model_registry.project(settings, engine)
    client(settings).delete_registered_model_alias(name, "production")
    assert model_registry.drift(settings, engine) == [f"{name}: alias production is missing"]
    client(settings).delete_registered_model(name)
    assert model_registry.drift(settings, engine, repair=True) == [f"{name}: MLflow does not know it"]
    assert aliases(settings, name) == {"production": digest("a")}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, int]]:
    """A real MLflow server, announced as `espalier up` does it, and its process id."""
    settings = load_settings(CHECKOUT, tmp_path_factory.mktemp("served"))
    prepare(settings)
    tracking.bootstrap(settings)
    settings.mlflow_artifacts.mkdir()
    port = free_port(5600)
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{settings.mlflow_db}",
        "--artifacts-destination", settings.mlflow_artifacts.as_uri(), "--serve-artifacts",
    ]  # fmt: skip
    with (settings.logs / "mlflow.log").open("wb") as log:
        server = start_process(command, cwd=settings.home, env=child_environment(settings), stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/health", seconds=90)
        settings.services.write_text(json.dumps({"mlflow": {"url": address, "environment": {}}}))
        yield settings, server.pid
    finally:
        server.terminate()
        server.wait(30)
        assert server.stdin is not None
        server.stdin.close()


def _wait_for(address: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.2)


def test_a_server_that_hangs_holds_up_neither_promotion_nor_rollback(
    served: tuple[Settings, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is told; then it stops answering: the ledger decides and serves on, the aliases follow when it is back."""
    settings, pid = served
    settings = dataclasses.replace(settings, ledger_url=f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    engine = open_ledger(settings)
    promote(engine, "a", path=tmp_path)
    assert model_registry.project(settings, engine) == 1
    assert aliases(settings, "assistant") == {"production": digest("a")}
    source = client(settings).get_model_version_by_alias("assistant", "production").source
    assert source == tmp_path.as_uri().replace("file:", "artifact:")  # its server refuses files outside its own folder

    os.killpg(pid, signal.SIGSTOP)
    try:
        promote(engine, "b", path=tmp_path)
        began = time.monotonic()
        back = champions.rollback(engine, "assistant", "b is bad", actor="alan", verify=intact)
        assert time.monotonic() - began < 10.0
        assert (back["state"], back["digest"]) == ("APPLYING", digest("a"))
        assert versions.find_version(engine, "production")["digest"] == digest("a")
        assert model_registry.project(settings, engine) == 0
        waiting = outbox.pending(engine)
        assert [(row["epoch"], row["attempts"]) for row in waiting] == [(2, 1), (3, 0)]
        assert waiting[0]["last_error"]
    finally:
        os.killpg(pid, signal.SIGCONT)
    assert model_registry.project(settings, engine) == 2
    assert aliases(settings, "assistant") == {"production": digest("a")}
    assert model_registry.drift(settings, engine) == []
    engine.dispose()
