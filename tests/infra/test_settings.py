"""One environment for all processes: nothing is sent, nothing lies outside the home, and running servers are used."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from infra.settings import (
    FOREIGN,
    Settings,
    answering_service,
    apply_environment,
    child_environment,
    environment,
    load_settings,
    prepare,
)

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(CHECKOUT, tmp_path / "home")


def test_checkout_is_named_or_the_working_directory_or_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ESPALIER_CHECKOUT", raising=False)
    monkeypatch.delenv("ESPALIER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert load_settings().checkout == CHECKOUT
    (tmp_path / "flows").mkdir()
    (tmp_path / "dvc.yaml").touch()
    assert load_settings().checkout == tmp_path
    assert load_settings().home == tmp_path / ".espalier"
    monkeypatch.setenv("ESPALIER_CHECKOUT", str(CHECKOUT))
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "elsewhere"))
    assert load_settings().checkout == CHECKOUT
    assert load_settings().home == tmp_path / "elsewhere"
    assert list(tmp_path.iterdir()) != [tmp_path / "elsewhere"]
    assert not (tmp_path / "elsewhere").exists()


def test_three_databases_and_every_folder_lie_in_the_home(settings: Settings) -> None:
    databases = {settings.prefect_db, settings.mlflow_db, settings.ledger_db}
    assert len(databases) == 3
    assert all(path.parent == settings.home for path in databases)
    names = (
        "PREFECT_HOME",
        "MPLCONFIGDIR",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "HF_HOME",
        "TORCH_HOME",
        "TORCHINDUCTOR_CACHE_DIR",
        "DVC_GLOBAL_CONFIG_DIR",
        "DVC_SITE_CACHE_DIR",
        "RAY_AUTH_TOKEN_PATH",
    )
    values = environment(settings)
    assert all(Path(values[name]).is_relative_to(settings.home) for name in names)


def test_libraries_understand_the_switches(settings: Settings) -> None:
    code = """
import json, os, sys
from prefect.settings import get_current_settings
from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY, MLFLOW_HTTP_REQUEST_MAX_RETRIES
from ray._private.ray_constants import ENABLE_RAY_CLUSTER
from ray._common.usage.usage_lib import usage_stats_enabled
prefect = get_current_settings()
sys.stdout.write(json.dumps({
    "analytics": prefect.server.analytics_enabled,
    "database": prefect.server.database.connection_url.get_secret_value(),
    "home": str(prefect.home),
    "serializer": prefect.results.default_serializer,
    "timeout": prefect.server.ephemeral.startup_timeout_seconds,
    "ephemeral": prefect.server.ephemeral.enabled,
    "api": prefect.api.url,
    "mlflow": MLFLOW_DISABLE_TELEMETRY.get(),
    "retries": MLFLOW_HTTP_REQUEST_MAX_RETRIES.get(),
    "ray_network": ENABLE_RAY_CLUSTER,
    "ray_usage": usage_stats_enabled(),
}))
"""
    prepare(settings)
    spoken = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(settings), capture_output=True, text=True, check=True
    )
    assert json.loads(spoken.stdout) == {
        "analytics": False,
        "database": f"sqlite+aiosqlite:///{settings.prefect_db}",
        "home": str(settings.prefect_home),
        "serializer": "json",
        "timeout": 60,
        "ephemeral": True,
        "api": None,
        "mlflow": True,
        "retries": 2,
        "ray_network": False,
        "ray_usage": False,
    }


def test_answering_server_is_used_and_a_dead_one_is_not(settings: Settings) -> None:
    prepare(settings)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        record = {
            "mlflow": {"url": f"http://127.0.0.1:{port}", "environment": {"MLFLOW_TRACKING_USERNAME": "espalier"}},
            "prefect": {"url": "http://127.0.0.1:1/api"},
        }
        settings.services.write_text(json.dumps(record))
        values = environment(settings)
        assert values["MLFLOW_TRACKING_URI"] == f"http://127.0.0.1:{port}"
        assert values["MLFLOW_TRACKING_USERNAME"] == "espalier"
        assert "PREFECT_API_URL" not in values
    assert answering_service(settings, "mlflow") is None
    assert environment(settings)["MLFLOW_TRACKING_URI"] == f"sqlite:///{settings.mlflow_db}"
    settings.services.write_text("{half")
    assert answering_service(settings, "mlflow") is None


def test_applying_drops_the_addresses_of_another_installation(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**os.environ, **environment(settings)}.items():
        monkeypatch.setenv(name, value)  # restores the environment after the test
    for name in (*FOREIGN, "PREFECT_API_URL"):
        monkeypatch.setenv(name, "http://elsewhere")
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    apply_environment(settings)
    assert not [name for name in (*FOREIGN, "PREFECT_API_URL") if name in os.environ]
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["PATH"] == f"{Path(sys.executable).parent}:/usr/bin"
    assert environment(settings)["PATH"] == os.environ["PATH"]


def test_inside_a_prefect_worker_its_server_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**os.environ, **environment(settings)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "3f0c")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    apply_environment(settings)
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"


def test_ray_token_is_private_and_made_once(settings: Settings) -> None:
    prepare(settings)
    token = settings.ray_token.read_text()
    assert len(token) == 64
    assert stat.S_IMODE(settings.ray_token.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    prepare(settings)
    assert settings.ray_token.read_text() == token
