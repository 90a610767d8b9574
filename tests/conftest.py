"""Shared by all tests: where public test data is, a copy of the workspace, and the rule on skips."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
COPIED = (
    "flows",
    "tasks",
    "models",
    "infra",
    "dvc.yaml",
    "params.yaml",
    "pyproject.toml",
    "constraints.txt",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
)

# CI fails on any other reason: a test that silently stopped running is a test that cannot fail.
ALLOWED_SKIPS = (
    "ESPALIER_TEST_DATA is not set",
    "no PostgreSQL server binaries on this machine",
    "no Chromium on this machine",
    "network namespaces are not allowed here",
    "kenlm is not installed",
    "lm_eval is not installed",
)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and os.environ.get("CI") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason not in ALLOWED_SKIPS:
            pytest.exit(f"{report.nodeid} was skipped for a reason that is not listed: {reason}", returncode=1)


def copy_workspace(folder: Path) -> Path:
    """The project's files in an empty folder without git, as a user's own checkout: one dvc.lock has one writer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source, target = CHECKOUT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "dvc.lock"))
        else:
            shutil.copy2(source, target)
    return folder


@pytest.fixture(scope="session")
def workspace_at() -> Callable[[Path], Path]:
    """`copy_workspace` for fixtures that live longer than a test: workspace_at(folder) -> folder."""
    return copy_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return copy_workspace(tmp_path / "workspace")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Real public text; see its own README for origins and licences."""
    named = os.environ.get("ESPALIER_TEST_DATA")
    if not named:
        pytest.skip("ESPALIER_TEST_DATA is not set")
    return Path(named)


class Command:
    """The `espalier` command in a copy of the workspace, as a person runs it: a process of its own, no variables set."""

    def __init__(self, workspace: Path, home: Path, extra: dict[str, str] | None = None) -> None:
        self.workspace = workspace
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            **(extra or {}),
        }

    def start(self, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "flows.cli", *arguments],
            cwd=self.workspace,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, prefix=prefix)
        output, errors = process.communicate(timeout=900)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@pytest.fixture(scope="session")
def command_in() -> Callable[..., Command]:
    """The class, for fixtures that live longer than a test: command_in(workspace, home, {"ESPALIER_HOME": ...})."""
    return Command


@pytest.fixture
def espalier(workspace: Path, tmp_path: Path) -> Command:
    home = tmp_path / "home"
    home.mkdir()
    return Command(workspace, home)
