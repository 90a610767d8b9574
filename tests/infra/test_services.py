"""`espalier up` for real: servers that answer, refuse strangers, listen on loopback alone, and leave nothing behind."""

import json
import os
import signal
import socket
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra import prefect_api, services
from infra.prefect_api import PrefectAPI
from infra.processes import RunLock, start_time
from infra.settings import Settings, environment, load_settings, prepare

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(CHECKOUT, tmp_path / "home")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Everything up, with the first port of Prefect already taken by somebody else."""
    settings = load_settings(CHECKOUT, tmp_path_factory.mktemp("services") / "home")
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        status = services.up(settings, {"prefect": taken, "mlflow": taken})
        assert status.running
        addresses = [service.address for service in status.services]
        assert f"http://127.0.0.1:{taken}" not in addresses
        yield settings
        services.down(settings)


def marked(settings: Settings) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(services.MARK, "").endswith(f":{settings.home}"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def record(settings: Settings) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(settings.services.read_text())
    return found


def api(settings: Settings) -> PrefectAPI:
    return PrefectAPI(str(record(settings)["prefect"]["url"]), services.status(settings).sign_in)


def answer_to(url: str, method: str = "GET", **headers: str) -> int:
    request = urllib.request.Request(url, method=method, headers={key.title(): value for key, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_both_servers_answer_and_refuse_strangers(running: Settings) -> None:
    prefect, mlflow = str(record(running)["prefect"]["url"]), str(record(running)["mlflow"]["url"])
    assert api(running).get("/admin/version") == "3.8.8"
    assert answer_to(f"{prefect}/admin/version") == 401
    assert answer_to(f"{prefect}/flows/filter", "POST") == 403  # no token against foreign pages
    page = urllib.request.Request(f"{prefect}/health", headers={"Origin": "http://evil.example"})
    with urllib.request.urlopen(page, timeout=10) as response:
        assert response.headers["Access-Control-Allow-Origin"] is None
    experiments = f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=5"
    assert answer_to(experiments) == 200
    assert answer_to(experiments, host="10.evil.com") == 403


def test_clients_are_pointed_at_the_servers(running: Settings) -> None:
    values = environment(running)
    assert values["PREFECT_API_URL"] == record(running)["prefect"]["url"]
    assert values["PREFECT_API_AUTH_STRING"] == services.status(running).sign_in
    assert values["MLFLOW_TRACKING_URI"] == record(running)["mlflow"]["url"]


def test_every_socket_is_on_loopback_and_none_goes_outside(running: Settings) -> None:
    connections = [each for process in marked(running) for each in process.net_connections(kind="inet")]
    assert len([each for each in connections if each.status == psutil.CONN_LISTEN]) >= 2
    assert {each.laddr.ip for each in connections} == {"127.0.0.1"}
    assert {each.raddr.ip for each in connections if each.raddr} <= {"127.0.0.1"}


def test_the_password_is_kept_from_others(running: Settings) -> None:
    password = services.status(running).sign_in
    assert password is not None
    assert len(password) > 20
    assert stat.S_IMODE(running.services.stat().st_mode) == 0o600
    assert password not in json.dumps(services.status(running).as_dict())
    for log in running.logs.iterdir():
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert password not in log.read_text(errors="replace")
    assert all(password not in " ".join(process.cmdline()) for process in marked(running))


def test_a_silent_run_is_declared_crashed_by_a_rule_that_is_made_once(running: Settings) -> None:
    client = api(running)
    assert not prefect_api.ensure_zombie_automation(client)
    (rule,) = client.send("POST", "/automations/filter", {})
    client.send("PATCH", f"/automations/{rule['id']}", {"enabled": False})
    assert prefect_api.ensure_zombie_automation(client)
    (rule,) = client.send("POST", "/automations/filter", {})
    assert rule["enabled"]
    assert (rule["trigger"]["posture"], rule["trigger"]["within"]) == ("Proactive", 90)


def test_the_pool_runs_one_at_a_time_and_has_the_workers_template(running: Settings) -> None:
    pool = api(running).get(f"/work_pools/{prefect_api.WORK_POOL}")
    assert (pool["type"], pool["concurrency_limit"]) == ("process", 1)
    assert "working_dir" in pool["base_job_template"]["variables"]["properties"]


def test_up_again_starts_only_what_died(running: Settings) -> None:
    before = {service.name: service.pid for service in services.status(running).services}
    assert {service.name: service.pid for service in services.up(running).services} == before
    worker = before["worker"]
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    while start_time(worker) is not None:
        time.sleep(0.05)
    assert not services.status(running).running
    after = {service.name: service.pid for service in services.up(running).services}
    assert after["worker"] not in (None, worker)
    assert (after["prefect"], after["mlflow"]) == (before["prefect"], before["mlflow"])


def test_down_refuses_below_a_run_and_then_leaves_no_process(running: Settings) -> None:
    lock = RunLock(running.lock)
    lock.acquire()
    with pytest.raises(ValueError, match=f"process {os.getpid()}"):
        services.down(running)
    lock.release()
    assert len(marked(running)) >= 3
    status = services.down(running)
    assert [service.pid for service in status.services] == [None, None, None]
    assert marked(running) == []
    assert not running.services.exists()


def test_a_record_of_dead_processes_counts_as_nothing(settings: Settings) -> None:
    prepare(settings)
    entry = {"url": "http://127.0.0.1:4200/api", "pid": os.getpid(), "started": 1.0, "environment": {}}
    settings.services.write_text(json.dumps({"prefect": entry, "mlflow": {"pid": "x"}, "worker": None}))
    status = services.status(settings)
    assert not status.running
    assert [service.address for service in status.services] == [None, None, None]
    assert services.down(settings).sign_in is None
    assert not settings.services.exists()


def test_up_refuses_while_a_run_has_the_database_files_open(settings: Settings) -> None:
    prepare(settings)
    lock = RunLock(settings.lock)
    lock.acquire()
    with pytest.raises(ValueError, match=f"process {os.getpid()}"):
        services.up(settings)
    lock.release()


def test_a_server_that_cannot_start_is_named_with_its_log_and_nothing_stays(settings: Settings) -> None:
    prepare(settings)
    settings.prefect_db.write_bytes(b"this is no database" * 100)
    with pytest.raises(ValueError, match=r"prefect did not start.*prefect\.log"):
        services.up(settings, {"prefect": 42000, "mlflow": 43000})
    assert marked(settings) == []


def test_free_port_skips_what_somebody_listens_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        assert services.free_port(port) > port
