"""Where everything of a checkout lives, and the one environment that all its processes run in.

All state lies under one folder (`.espalier/`, or $ESPALIER_HOME). `environment` switches every telemetry off, points
every library at files inside that folder, and points clients at the servers of `espalier up` where these answer:
home/services.json, written by infra/services.py (0600), holds for each of "prefect" and "mlflow"
    {"url": "http://127.0.0.1:4200/api", "environment": {"PREFECT_API_AUTH_STRING": "..."}}
"""

import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# What the caller's shell may hold of another installation; it would send our clients to another server or run.
FOREIGN = (
    "PREFECT_API_KEY",
    "PREFECT_PROFILE",
    "RAY_ADDRESS",
    "RAY_AUTH_TOKEN",
    "RAY_NAMESPACE",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_ID",
    "MLFLOW_BACKEND_STORE_URI",
    "DVC_ROOT",
    "DVC_STUDIO_TOKEN",
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The folders and files of one checkout; three database files, never one."""

    checkout: Path
    home: Path
    python: str
    prefect_home: Path
    prefect_db: Path
    mlflow_db: Path
    mlflow_artifacts: Path
    ledger_db: Path
    ledger_url: str
    artifacts: Path
    data: Path
    runs: Path
    reports: Path
    logs: Path
    services: Path
    lock: Path
    ray_token: Path
    caches: Path

    @property
    def dvc_locks(self) -> tuple[Path, ...]:
        """Their bytes are the version of the data: what comes from text, and what a model made."""
        return (self.checkout / "dvc.lock", self.checkout / "tasks" / "alignment" / "dvc.lock")


def find_checkout() -> Path:
    """$ESPALIER_CHECKOUT, else the working directory if it is a checkout, else the folder above infra/."""
    named = os.environ.get("ESPALIER_CHECKOUT")
    if named:
        return Path(named).expanduser().resolve()
    here = Path.cwd()
    if (here / "dvc.yaml").is_file() and (here / "flows").is_dir():
        return here.resolve()
    return Path(__file__).resolve().parent.parent


def load_settings(checkout: Path | None = None, home: Path | None = None) -> Settings:
    """The settings of this process; creates nothing."""
    checkout = (checkout or find_checkout()).resolve()
    named = os.environ.get("ESPALIER_HOME")
    home = (home or (Path(named).expanduser() if named else checkout / ".espalier")).resolve()
    ledger_db = home / "ledger.db"
    return Settings(
        checkout=checkout,
        home=home,
        python=sys.executable,
        prefect_home=home / "prefect",
        prefect_db=home / "prefect.db",
        mlflow_db=home / "mlflow.db",
        mlflow_artifacts=home / "mlflow",
        ledger_db=ledger_db,
        ledger_url=os.environ.get("ESPALIER_LEDGER_URL") or f"sqlite:///{ledger_db}",
        artifacts=home / "artifacts",
        data=checkout / ".espalier" / "data",  # DVC's outputs lie in the workspace, wherever the home is
        runs=home / "runs",
        reports=home / "reports",
        logs=home / "logs",
        services=home / "services.json",
        lock=home / "run.lock",
        ray_token=home / "ray-token",
        caches=home / "caches",
    )


def prepare(settings: Settings) -> None:
    """Create the folders and the Ray token that the environment names; safe to call again and in a race."""
    for folder in (settings.home, settings.prefect_home, settings.logs, settings.caches, settings.runs):
        folder.mkdir(parents=True, exist_ok=True)
    settings.home.chmod(0o700)
    if not settings.ray_token.exists():
        temporary = settings.ray_token.with_name(f"ray-token.{os.getpid()}")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32))
        try:
            os.link(temporary, settings.ray_token)  # a rename would replace the token of a process that came first
        except FileExistsError:
            pass
        finally:
            temporary.unlink()


def environment(settings: Settings) -> dict[str, str]:
    """Every variable that our processes need; creates nothing (see `prepare`)."""
    values = {
        **_telemetry_off(),
        **_prefect(settings),
        **_mlflow(settings),
        **_ray(settings),
        **_caches(settings),
        "ESPALIER_CHECKOUT": str(settings.checkout),
        "ESPALIER_HOME": str(settings.home),
        "PYTHONPATH": str(settings.checkout),
        "PATH": _path(settings),
        "TOKENIZERS_PARALLELISM": "false",
        # Threads that wait spin by default: one other busy process then slows a training eightfold.
        "OMP_WAIT_POLICY": "PASSIVE",
        # Not to spin at all costs a fifth of a step on an idle machine; these few microseconds cost a tenth on a busy one.
        "GOMP_SPINCOUNT": "1000",
    }
    for name, address in (("prefect", "PREFECT_API_URL"), ("mlflow", "MLFLOW_TRACKING_URI")):
        service = answering_service(settings, name)
        if service is not None:
            values[address] = str(service["url"])
            values.update({str(key): str(value) for key, value in service.get("environment", {}).items()})
    return values


def apply_environment(settings: Settings) -> dict[str, str]:
    """Put `environment` into os.environ, drop what points at another installation, and return what was set.

    Must run before prefect, mlflow, ray or transformers are imported: they read their variables once.
    """
    prepare(settings)
    values = environment(settings)
    inherited = () if "PREFECT__FLOW_RUN_ID" in os.environ else ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    for name in (*FOREIGN, *inherited):
        os.environ.pop(name, None)
    os.environ.update(values)
    return values


def child_environment(settings: Settings, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a child process: the caller's, without foreign addresses, with ours on top."""
    inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return {**inherited, **environment(settings), **(extra or {})}


def answering_service(settings: Settings, name: str) -> dict[str, Any] | None:
    """The record of a server of `espalier up` in home/services.json if its port answers now, else None."""
    try:
        service = json.loads(settings.services.read_text(encoding="utf-8"))[name]
        address = urlsplit(service["url"])
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=0.5):
            return dict(service)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(settings: Settings) -> str:
    """Our interpreter's folder first: DVC's stages say `python`."""
    programs = str(Path(settings.python).parent)
    others = [entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry != programs]
    return os.pathsep.join([programs, *others])


def switch_telemetry_off() -> None:
    """For this process and its children, before any library is imported: some send from the import on."""
    os.environ.update(_telemetry_off())


def _telemetry_off() -> dict[str, str]:
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",  # the word: 1 is not understood
        "RAY_USAGE_STATS_ENABLED": "0",
        "DVC_NO_ANALYTICS": "1",
        "DVC_STUDIO_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def _prefect(settings: Settings) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(settings.prefect_home),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{settings.prefect_db}",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "60",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "30",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",  # its default listens on every address
        "PREFECT_RUNNER_SERVER_HOST": "127.0.0.1",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # runs still log to the API; the screen is the CLI's
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_SILENCE_API_URL_MISCONFIGURATION": "true",
    }


def _mlflow(settings: Settings) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_URI": f"sqlite:///{settings.mlflow_db}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "GIT_PYTHON_REFRESH": "quiet",  # a machine without git is not worth a warning
    }


# What looks after a training takes its cores from it, and one thread that waits keeps all others waiting: a tenth of a
# millisecond at every one of hundreds of wakings a second was most of what the platform cost (make prove overhead).
RAY_AT_REST: Mapping[str, str] = {
    "RAY_worker_niceness": "0",  # by default a worker gives way to all of these
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",  # also how late the end of a training is noticed, at most
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_core_worker_internal_heartbeat_ms": "5000",
    "RAY_debug_dump_period_milliseconds": "0",
    "RAY_event_stats_print_interval_ms": "0",
    "RAY_free_objects_period_milliseconds": "10000",
    "RAY_gcs_pull_resource_loads_period_milliseconds": "10000",
    "RAY_io_context_event_loop_lag_collection_interval_ms": "0",
    "RAY_io_context_monitor_probe_interval_ms": "60000",
    "RAY_kill_idle_workers_interval_ms": "5000",
    "RAY_local_fs_monitor_interval_ms": "60000",
    "RAY_memory_monitor_refresh_ms": "2000",
    "RAY_metrics_report_interval_ms": "60000",
    "RAY_object_manager_timer_freq_ms": "1000",
    "RAY_ray_events_report_interval_ms": "60000",
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    "RAY_report_worker_backlog_interval_ms": "10000",
    "RAY_task_events_report_interval_ms": "0",
}


def _ray(settings: Settings) -> dict[str, str]:
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(settings.ray_token),
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        **RAY_AT_REST,
        "RAY_TRAIN_METRICS_ENABLED": "0",
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        # Off on every system: else Ray replaces 127.0.0.1 by the machine's own address and listens to the network.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_enable_worker_prestart": "0",  # spare workers start in every session and fit none of ours
        "RAY_prestart_worker_first_driver": "0",
    }


def _caches(settings: Settings) -> dict[str, str]:
    """Every folder that a library would otherwise make below $HOME, /var/tmp or /etc."""
    caches = settings.caches
    return {
        "XDG_CACHE_HOME": str(caches / "cache"),
        "XDG_CONFIG_HOME": str(caches / "config"),
        "XDG_DATA_HOME": str(caches / "data"),
        "XDG_STATE_HOME": str(caches / "state"),
        "MPLCONFIGDIR": str(caches / "matplotlib"),
        "HF_HOME": str(caches / "huggingface"),
        "TORCH_HOME": str(caches / "torch"),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "torchinductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
        "DVC_GLOBAL_CONFIG_DIR": str(caches / "dvc" / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(caches / "dvc" / "system"),
        "DVC_SITE_CACHE_DIR": str(caches / "dvc" / "site"),
    }
