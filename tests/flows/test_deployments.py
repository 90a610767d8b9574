"""`espalier up`, `deploy`, a retraining that Prefect's own scheduler starts, `down`: with the real servers."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.flows.runs import Finished, python, temporary_names

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("served")]

ASK_PREFECT = Path(__file__).with_name("ask_prefect.py")
PATIENCE_SECONDS = 240.0

# One schedule every minute, or none: what `espalier deploy` does with the deployments of the code.
DEPLOY = """
import json, sys
from infra.settings import apply_environment, load_settings
settings = load_settings()
apply_environment(settings)
from flows.deployments import Scheduled, deploy
cron = sys.argv[1] or None
retraining = Scheduled(
    name="every-minute", flow="flows.retrain:retrain", description="", parameters={"recipe": "tiny"}, cron=cron
)
deploy(settings, (retraining,))
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    found = client.read_deployments()
    print(json.dumps({each.name: [str(one.schedule.cron) for one in each.schedules] for each in found}))
"""


@pytest.fixture(scope="module")
def served(unbroken: Finished) -> Iterator[dict[str, Any]]:
    """The servers of the unbroken run's checkout."""
    before = temporary_names()
    result = unbroken.command("up", "--json")
    assert result.returncode == 0, result.stderr
    yield {**json.loads(result.stdout), "temporary": before}
    unbroken.command("down")


def deploy(unbroken: Finished, cron: str) -> dict[str, list[str]]:
    environment = {**unbroken.command.environment, "PYTHONPATH": str(unbroken.workspace)}
    result = subprocess.run(
        [sys.executable, "-c", DEPLOY, cron],
        cwd=unbroken.workspace, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(result.stdout.splitlines()[-1]))


def test_up_prints_addresses_on_loopback_and_how_to_sign_in(served: dict[str, Any], unbroken: Finished) -> None:
    addresses = [service["address"] for service in served["services"] if service["address"]]
    assert len(addresses) == 2
    assert all(address.startswith("http://127.0.0.1:") for address in addresses)
    assert "Sign in to Prefect's page with: espalier:" in unbroken.command("status").stdout


def test_deploy_registers_the_schedule_of_the_code(unbroken: Finished) -> None:
    result = unbroken.command("deploy", "--json")
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout)["registered"]) == {"retrain/weekly-retraining", "lifecycle/lifecycle"}


def test_prefects_scheduler_starts_a_retraining_that_says_why_it_skipped(unbroken: Finished) -> None:
    assert deploy(unbroken, "* * * * *") == {"every-minute": ["* * * * *"]}
    deadline = time.monotonic() + PATIENCE_SECONDS
    ended: list[dict[str, Any]] = []
    while not ended and time.monotonic() < deadline:
        time.sleep(3)
        runs = python(unbroken.command, unbroken.workspace, ASK_PREFECT)
        ended = [run for run in runs if run["flow"] == "retrain" and run["state"] in ("COMPLETED", "FAILED", "CRASHED")]
    assert ended, "no scheduled run ended in time"
    assert ended[0]["name"] == "Skipped", ended[0]
    assert ended[0]["message"].startswith("skipped because the inputs of corpus, pretrain, ")
    assert unbroken.document["run"] in ended[0]["message"]


def test_a_schedule_taken_out_of_the_code_disappears_from_the_server(unbroken: Finished) -> None:
    assert deploy(unbroken, "") == {"every-minute": []}


def test_down_leaves_no_process_and_the_servers_wrote_nothing_outside(
    served: dict[str, Any], unbroken: Finished
) -> None:
    family: list[psutil.Process] = []
    for service in served["services"]:
        process = psutil.Process(service["pid"])
        family += [process, *process.children(recursive=True)]
    assert unbroken.command("down").returncode == 0
    deadline = time.monotonic() + 60.0
    while alive := [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.5)
    assert list(unbroken.user.iterdir()) == []
    assert "runner_storage" not in temporary_names() - served["temporary"], "Prefect's folders stay in ours"
