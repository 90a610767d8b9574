"""A program that a model wrote, run where it can do little harm: in a process of its own, with limits, without a network.

What holds: wall and processor time, memory, the size of each file and of what is printed, no further process or thread,
Python without site-packages and without our environment variables, an empty temporary folder to work in. Where Linux
allows namespaces there is no network either, and no process outside can be seen or signalled (`Outcome.alone`).

What does not: it can read every file that the user can, and change them unless it runs as nobody (as it does where we are
root and may change); many small files can fill the disk; processes are not limited for a root that may not become nobody; a
program that looks for it can find out how its end is reported, and report a success that was none. This is against
accidents. Against an attacker take a virtual machine.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("sandbox_child.py")
SHOWN_BYTES = 2_000  # of what the program printed
PASSED, FAILED, TIMED_OUT, ERROR = "passed", "failed", "timed out", "error"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`seconds` of wall time; `output_bytes` bounds what is printed, and each file that is written."""

    seconds: float = 5.0
    memory_bytes: int = 512_000_000
    output_bytes: int = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """passed: it came to its end; failed: an assertion did not hold; error: all else. `alone`: nothing outside in reach."""

    verdict: str
    reason: str
    output: str
    alone: bool


def run_program(program: str, limits: Limits | None = None) -> Outcome:
    """Always within the time: run_program("assert 1 + 1 == 3") -> failed, "AssertionError on line 1"."""
    bounds, mark = limits or Limits(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="program-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "work").mkdir()
        request = json.dumps({**asdict(bounds), "mark": mark, "program": program})
        in_time = _run(request, folder, bounds.seconds)
        records = _records(folder / "records", mark)
        printed = (folder / "printed").read_bytes()
    verdict, reason = str(records.get("verdict", ERROR)), str(records.get("reason", "it did not start"))
    if not in_time:
        verdict, reason = TIMED_OUT, f"not done in {bounds.seconds:g} s"
    elif len(printed) >= bounds.output_bytes:
        verdict, reason = ERROR, f"it printed more than {bounds.output_bytes:,} bytes"
    output = printed[:SHOWN_BYTES].decode("utf-8", errors="replace")
    return Outcome(verdict=verdict, reason=reason, output=output, alone=bool(records.get("alone")))


def _run(request: str, folder: Path, seconds: float) -> bool:
    """Whether it was done in time; in any case nothing of it runs afterwards."""
    work = folder / "work"
    environment = {"HOME": str(work), "TMPDIR": str(work), "LANG": "C.UTF-8"}
    command = [sys.executable, "-I", "-S", "-B", str(CHILD)]
    with (
        (folder / "records").open("wb") as records,
        (folder / "printed").open("wb") as printed,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=records, stderr=printed, cwd=work, env=environment,
            start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            process.communicate(request.encode(), timeout=seconds)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def _records(file: Path, mark: str) -> Mapping[str, Any]:
    """What the child reported, the first word on each matter; a line that does not begin with the mark is the program's."""
    found: dict[str, Any] = {}
    for line in file.read_bytes().split(b"\n"):
        if line.startswith(mark.encode()):
            found = {**json.loads(line.removeprefix(mark.encode())), **found}
    return found
