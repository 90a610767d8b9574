"""The server of one command: a flow runs on it as on Prefect's own, it hardly wakes in between, and ends when it shall."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.settings import child_environment, load_settings

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS = 4
WAKES_A_SECOND = 8  # measured: 3, and 29 of Prefect's own

PROGRAM = f"""
import json, time
from infra import temporary_server
from infra.settings import apply_environment, load_settings
apply_environment(load_settings())
temporary_server.use()
import psutil
from prefect import flow
from prefect.client.orchestration import get_client

@flow
def counted() -> int:
    return 3

result = counted()
with get_client(sync_client=True) as client:
    states = [run.state.name for run in client.read_flow_runs()]
(server,) = psutil.Process().children()
command = server.cmdline()
time.sleep(1)
for _ in range(4):  # on a busy machine it is not done with the flow after a second
    before = server.num_ctx_switches().voluntary
    time.sleep({SECONDS})
    woke = server.num_ctx_switches().voluntary - before
    if woke < {SECONDS * WAKES_A_SECOND}:
        break
began = time.monotonic()
server.terminate()
server.wait(10)
print(json.dumps({{"result": result, "states": states, "command": command, "woke": woke,
                  "end": time.monotonic() - began}}))
"""


def test_a_flow_runs_on_it_and_it_sleeps_in_between(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert (found["result"], found["states"]) == (3, ["Completed"])
    assert found["command"][1:3] == ["-m", "infra.temporary_server"]
    assert found["woke"] < SECONDS * WAKES_A_SECOND
    assert found["end"] < 3


def test_a_running_server_is_taken_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.server.api.server import SubprocessASGIServer

    from infra import temporary_server

    own = SubprocessASGIServer._run_uvicorn_command
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    temporary_server.use()
    assert SubprocessASGIServer._run_uvicorn_command is own


def run(home: Path) -> dict[str, Any]:
    environment = child_environment(load_settings(CHECKOUT, home), {"ESPALIER_HOME": str(home)})
    command = [sys.executable, "-c", PROGRAM]
    finished = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found
