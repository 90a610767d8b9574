"""A finished run as the tests look at it, and a network that is not there."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ALONE = Path(__file__).with_name("alone.py")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that has ended: the command to ask more of the same workspace, and what the run said."""

    command: Any
    workspace: Path
    home: Path
    user: Path
    result: "subprocess.CompletedProcess[str]"
    left_behind: list[str]
    most_bytes: int

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.result.stdout))


def isolation() -> tuple[str, ...]:
    """The prefix of a command without a network; () where namespaces are not allowed."""
    if shutil.which("unshare") is None:
        return ()
    allowed = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0
    return ("unshare", "-rn", sys.executable, str(ALONE)) if allowed else ()


def temporary_names() -> set[str]:
    return {path.name for folder in ("/tmp", "/var/tmp", "/dev/shm") for path in Path(folder).glob("*")}


def python(command: Any, workspace: Path, script: Path) -> Any:
    """What a script of the tests prints last, run with the workspace's own modules."""
    environment = {**command.environment, "PYTHONPATH": str(workspace)}
    result = subprocess.run(
        [sys.executable, str(script)], cwd=workspace, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout.splitlines()[-1])
