"""The tiny recipe run once, unbroken, alone in a network namespace: what many tests look at."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.lifecycle import memory_of
from tests.flows.runs import Finished, isolation, temporary_names


@pytest.fixture(scope="session")
def unbroken(
    tmp_path_factory: pytest.TempPathFactory,
    workspace_at: Callable[[Path], Path],
    command_in: Callable[..., Any],
) -> Finished:
    """`espalier run --recipe tiny --json` in a git checkout, with an empty HOME."""
    folder = tmp_path_factory.mktemp("unbroken")
    workspace, user = workspace_at(folder / "workspace"), folder / "user"
    user.mkdir()
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "start"]):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *words], cwd=workspace, check=True)
    before = temporary_names()
    with tempfile.TemporaryDirectory(prefix="e-", dir="/tmp") as own:  # short, and of no test that runs beside this one
        with memory_of(user) as memory:
            run = command_in(workspace, user, {"TMPDIR": own})
            result = run("run", "--recipe", "tiny", "--json", prefix=isolation())
        assert result.returncode == 0, result.stderr
        left = sorted(path.name for path in Path(own).iterdir())
    ours = ("ray", "prefect", "mlflow", "dvc", "torch", "espalier", "pymp-")
    left += sorted(name for name in temporary_names() - before if name.startswith(ours))
    return Finished(
        command=command_in(workspace, user),
        workspace=workspace,
        home=workspace / ".espalier",
        user=user,
        result=result,
        left_behind=left,
        most_bytes=max(memory),
    )
