"""`espalier up | down | status`: the Prefect server, its worker and the MLflow server, on loopback only.

They outlive the command that starts them, each in a process group of its own, and write to home/logs.
home/services.json (0600: it holds the password) says what runs:
    {"prefect": {"url": "http://127.0.0.1:4200/api", "pid": 1, "started": 1.0, "log": "...", "environment": {...}}, ...}
A process is ours only if its id, its start time and a mark in its environment agree.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra import prefect_api, processes, tracking
from infra.prefect_api import WORK_POOL, PrefectAPI
from infra.settings import Settings, child_environment, prepare
from infra.storage import read_json, write_json

HOST = "127.0.0.1"
NAMES = ("prefect", "mlflow", "worker")  # the order of starting; stopping goes the other way
FIRST_PORT = {"prefect": 4200, "mlflow": 5000}
PORTS_TRIED = 100
MARK = "ESPALIER_SERVICE"
USER = "espalier"
START_SECONDS = 90.0
STOP_SECONDS = {"worker": 20.0, "mlflow": 5.0, "prefect": 10.0}  # a run of the worker may write a checkpoint first

# What this very process started: kept so that it is reaped when it ends. Most often `up` ends first and init reaps.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, kw_only=True)
class Service:
    """One of the three; `address` is what a browser opens (None for the worker), `pid` None when it is not running."""

    name: str
    address: str | None
    pid: int | None
    log: Path

    @property
    def running(self) -> bool:
        return self.pid is not None


@dataclass(frozen=True, kw_only=True)
class ServicesStatus:
    """`sign_in` is what Prefect's page asks for ("user:password"); it is in no log and not in `as_dict`."""

    services: tuple[Service, ...]
    sign_in: str | None

    @property
    def running(self) -> bool:
        return all(service.running for service in self.services)

    def as_dict(self) -> dict[str, Any]:
        listed = [
            {"name": each.name, "address": each.address, "pid": each.pid, "log": str(each.log)}
            for each in self.services
        ]
        return {"running": self.running, "services": listed}


def status(settings: Settings) -> ServicesStatus:
    """What runs now; a record of a dead process counts as not running."""
    record = _read(settings)
    services = []
    for name in NAMES:
        entry = record.get(name)
        address = entry["url"].removesuffix("/api") if entry and entry["url"] else None
        services.append(
            Service(name=name, address=address, pid=entry["pid"] if entry else None, log=_log(settings, name))
        )
    return ServicesStatus(services=tuple(services), sign_in=_password(record))


def up(settings: Settings, ports: Mapping[str, int] = FIRST_PORT) -> ServicesStatus:
    """Start what is not running, at `ports` or the next free ones, and wait until it answers; else ValueError."""
    prepare(settings)
    with processes.file_lock(settings.home / "services.guard"):
        record = _read(settings)
        missing = [name for name in NAMES if name not in record]
        if {"prefect", "mlflow"} & set(missing):
            _refuse_beside_a_run(settings)
        for name in missing:
            processes.end_marked(_mark(settings, name), variable=MARK, grace=5.0)  # what a crash left of it
        try:
            _start_servers(settings, record, missing, ports)
            if "worker" in missing:
                _start_worker(settings, record)
        except BaseException:
            _stop(settings, [name for name in missing if name in _read(settings)])
            raise
    return status(settings)


def down(settings: Settings) -> ServicesStatus:
    """Stop what runs, the worker first: what it trains writes a checkpoint and ends as preempted."""
    with processes.file_lock(settings.home / "services.guard"):
        holder = processes.RunLock(settings.lock).holder()
        if holder is not None and _read(settings) and not _belongs_to_services(settings, holder.pid):
            raise ValueError(
                f"a run uses these servers (process {holder.pid}, since {holder.since}); wait for it, or interrupt it "
                "(it goes on where it was), then `espalier down`"
            )
        _stop(settings, list(reversed(NAMES)))
        shutil.rmtree(settings.home / "worker", ignore_errors=True)
        settings.services.unlink(missing_ok=True)
    return status(settings)


def _start_servers(settings: Settings, record: dict[str, Any], missing: list[str], ports: Mapping[str, int]) -> None:
    if "prefect" in missing:
        _start_prefect(settings, record, free_port(ports["prefect"]))
    if "mlflow" in missing:
        chosen = urlsplit(record["prefect"]["url"]).port  # it may not listen there yet
        _start_mlflow(settings, record, free_port(ports["mlflow"], besides=chosen))
    if "prefect" in missing:
        url = record["prefect"]["url"]
        _wait(settings, record, "prefect", lambda: prefect_api.is_healthy(url))
    if "mlflow" in missing:
        health = record["mlflow"]["url"] + "/health"
        _wait(settings, record, "mlflow", lambda: _answers(health))


def _start_prefect(settings: Settings, record: dict[str, Any], port: int) -> None:
    password = f"{USER}:{secrets.token_urlsafe(24)}"
    url = f"http://{HOST}:{port}/api"
    environment = {
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_API_AUTH_STRING": password,
        "PREFECT_API_URL": url,
        "PREFECT_UI_API_URL": url,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(_origins(port)),
    }
    command = ["-m", "infra.prefect_server", "server", "start", "--host", HOST, "--port", str(port)]
    _start(settings, record, "prefect", command, environment, url=url)
    record["prefect"]["environment"] = {"PREFECT_API_AUTH_STRING": password}
    _write(settings, record)


def _start_mlflow(settings: Settings, record: dict[str, Any], port: int) -> None:
    tracking.bootstrap(settings)  # the server refuses a file of an older schema, and first uses race each other
    settings.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    command = [
        "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{settings.mlflow_db}",
        "--default-artifact-root", settings.mlflow_artifacts.as_uri(),
        "--artifacts-destination", settings.mlflow_artifacts.as_uri(), "--serve-artifacts",
        "--allowed-hosts", f"{HOST}:{port},localhost:{port}",
        "--cors-allowed-origins", ",".join(_origins(port)),
    ]  # fmt: skip
    _start(settings, record, "mlflow", command, {}, url=f"http://{HOST}:{port}")


def _start_worker(settings: Settings, record: dict[str, Any]) -> None:
    """The worker's runs are its own children, in the checkout, with this project on their path."""
    api = PrefectAPI(record["prefect"]["url"], _password(record))
    prefect_api.ensure_work_pool(api)
    prefect_api.ensure_zombie_automation(api)
    name = f"{USER}-{secrets.token_hex(3)}"  # a new name: the server still shows its predecessor as online for a while
    command = ["-m", "prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", name]
    temporary = settings.home / "worker"  # it leaves an empty folder for every run
    temporary.mkdir(mode=0o700, exist_ok=True)
    own = {"TMPDIR": str(temporary)}
    _start(settings, record, "worker", [*command, "--limit", "1", "--install-policy", "never"], own, url=None)
    _wait(settings, record, "worker", lambda: name in prefect_api.online_workers(api))


def _start(
    settings: Settings,
    record: dict[str, Any],
    name: str,
    arguments: list[str],
    extra: Mapping[str, str],
    *,
    url: str | None,
) -> None:
    """Start one service and write it down before it can answer: a crash of this command leaves nothing unknown."""
    environment = child_environment(settings, {**extra, MARK: _mark(settings, name)})
    _forget_temporary_folder(environment)
    log = _log(settings, name)
    if log.exists():
        os.replace(log, log.with_suffix(".old.log"))
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        process = subprocess.Popen(
            [settings.python, *arguments],
            cwd=settings.checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(process)
    started = processes.start_time(process.pid) or time.time()
    record[name] = {"url": url, "pid": process.pid, "started": started, "log": str(log), "environment": {}}
    _write(settings, record)


def _forget_temporary_folder(environment: dict[str, str]) -> None:
    """A service started from inside a run must not die with that run's private folder."""
    ours = environment.pop(processes.MARK, None)
    if ours is not None and environment.get("TMPDIR") == ours:
        del environment["TMPDIR"]


def _wait(settings: Settings, record: Mapping[str, Any], name: str, ready: Callable[[], bool]) -> None:
    entry, deadline = record[name], time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not processes.is_alive(entry["pid"], entry["started"]):
            break
        with suppress(OSError, ValueError):  # not listening yet, or not yet speaking HTTP
            if ready():
                return
        time.sleep(0.2)
    raise ValueError(f"{name} did not start{_reason(_log(settings, name))}; its log is {_log(settings, name)}")


def _reason(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if "error" in line.lower()]
    return f" ({(errors or said)[-1][:200]})" if said else ""


def _stop(settings: Settings, names: list[str]) -> None:
    record = _read(settings)
    for name in names:
        entry = record.pop(name, None)
        if entry is not None:
            _end_group(entry["pid"], entry["started"], STOP_SECONDS[name])
        processes.end_marked(
            _mark(settings, name), variable=MARK, grace=STOP_SECONDS[name]
        )  # children in groups of their own
        if settings.services.exists():
            _write(settings, record)


def _end_group(pid: int, started: float, grace: float) -> None:
    """SIGTERM to the group, then SIGKILL to what is left of it after `grace` seconds."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        if not processes.is_alive(pid, started):
            return
        with suppress(ProcessLookupError):
            os.killpg(pid, number)
        deadline = time.monotonic() + seconds
        while processes.is_alive(pid, started) and time.monotonic() < deadline:
            time.sleep(0.1)


def free_port(first: int, besides: int | None = None) -> int:
    """The first port from `first` on that nothing on this machine listens on, on loopback or on every address."""
    for port in range(first, first + PORTS_TRIED):
        if port == besides:
            continue
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise ValueError(f"no free port from {first} to {first + PORTS_TRIED - 1}; end what listens there")


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=2.0) as response:
        return bool(response.status == 200)


def _origins(port: int) -> list[str]:
    return [f"http://{HOST}:{port}", f"http://localhost:{port}"]


def _refuse_beside_a_run(settings: Settings) -> None:
    """A database file has one owner: a run that opened it without servers keeps it until it ends."""
    holder = processes.RunLock(settings.lock).holder()
    if holder is not None:
        raise ValueError(
            f"a run (process {holder.pid}, since {holder.since}) has the databases open; "
            "wait for it to end, then `espalier up`"
        )


def _belongs_to_services(settings: Settings, pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).environ().get(MARK) == _mark(settings, "worker"))
    except psutil.Error:
        return False


def _mark(settings: Settings, name: str) -> str:
    return f"{name}:{settings.home}"


def _log(settings: Settings, name: str) -> Path:
    return settings.logs / f"{name}.log"


def _password(record: Mapping[str, Any]) -> str | None:
    found = record.get("prefect", {}).get("environment", {}).get("PREFECT_API_AUTH_STRING")
    return None if found is None else str(found)


def _read(settings: Settings) -> dict[str, Any]:
    """The entries whose very process still lives; an unreadable file is as good as none."""
    _children[:] = [child for child in _children if child.poll() is None]
    record = read_json(settings.services)
    alive = {}
    for name, entry in record.items() if isinstance(record, dict) else ():
        with suppress(KeyError, TypeError, ValueError):
            if name in NAMES and processes.is_alive(int(entry["pid"]), float(entry["started"])):
                alive[name] = entry
    return alive


def _write(settings: Settings, record: Mapping[str, Any]) -> None:
    with _private_files():
        write_json(settings.services, dict(record))


@contextmanager
def _private_files() -> Iterator[None]:
    """What is written inside can be read by this user alone."""
    mask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(mask)
