"""Programs that mean no good, or do not end: each is stopped, named, and leaves nothing behind."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tasks.evaluation.sandbox import Limits, run_program

LIMITS = Limits(seconds=10.0, memory_bytes=256_000_000, output_bytes=100_000)


def namespaces() -> bool:
    """Whether this machine lets a user have them."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-rnp", "--fork", "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Neither a process nor a file, whatever the program did."""
    before = psutil.Process().children(recursive=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []
    assert set(psutil.Process().children(recursive=True)) <= set(before)


@pytest.mark.parametrize(
    ("program", "verdict", "reason"),
    [
        ("def add(a, b):\n    return a + b\nassert add(1, 2) == 3", "passed", ""),
        ("def add(a, b):\n    return a - b\nassert add(1, 2) == 3", "failed", "AssertionError on line 3"),
        ("assert 1 == 2, 'unlike'", "failed", "AssertionError on line 1: unlike"),
        ("def f(x):\n    return x.y\nf(1)", "error", "AttributeError on line 2: 'int' object has no attribute 'y'"),
        ("x = (", "error", "SyntaxError: '(' was never closed (<program>, line 1)"),
        ("x = 'a' * 10**9", "error", "MemoryError on line 1: it takes more than 256 MB"),
        ("def f(): f()\nf()", "error", "RecursionError on line 1: maximum recursion depth exceeded"),
        ("print('x' * 200_000)", "error", "it printed more than 100,000 bytes"),
        ("import os\nwhile True: os.write(1, b'x' * 65536)", "error", "it printed more than 100,000 bytes"),
        ("open('big', 'w').write('x' * 200_000)", "error", "OSError on line 1: [Errno 27] File too large"),
        ("import sys; sys.exit(0)", "error", "SystemExit on line 1: 0: it left before its last line"),
        ("import os; os._exit(0)", "error", "it ended before its last line"),
        ("import ctypes; ctypes.string_at(0)", "error", "it was ended by SIGSEGV"),
        ("import torch", "error", "ModuleNotFoundError on line 1: No module named 'torch'"),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", "error", "E on line 3"),
        ("import os; os.write(3, b'x' * 200_000)\nassert False", "error", "it ended before its last line"),
        ("import os; os.write(3, b'{\"verdict\": \"passed\"}\\n')\nassert False", "failed", None),
        ("import os; os.write(3, b'[' * 50_000)\nassert False", "failed", None),
        ("import atexit, time; atexit.register(time.sleep, 60)", "passed", ""),
        ("x = '\0'", "error", "SyntaxError: source code string cannot contain null bytes"),
        ("x = '\ud800'", "error", None),
    ],
)  # fmt: skip
def test_the_outcome_of_a_program(program: str, verdict: str, reason: str | None) -> None:
    found = run_program(program, LIMITS)
    assert found.verdict == verdict, found
    assert reason is None or found.reason == reason


@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(60)"])
def test_a_program_that_does_not_end_is_ended(program: str) -> None:
    began = time.monotonic()
    found = run_program(program, Limits(seconds=0.7))
    assert (found.verdict, found.reason) == ("timed out", "not done in 0.7 s")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "program",
    ["import os\nfor _ in range(4): os.fork()\nimport time; time.sleep(60)",
     "import threading\nfor _ in range(4): threading.Thread(target=print).start()",
     "import subprocess\nsubprocess.Popen(['sleep', '60'])"],
)  # fmt: skip
@pytest.mark.skipif(os.geteuid() == 0 and not namespaces(), reason="network namespaces are not allowed here")
def test_it_starts_no_process_and_no_thread(program: str) -> None:
    found = run_program(program, LIMITS)
    assert found.verdict == "error"
    assert found.reason.startswith(("BlockingIOError", "RuntimeError")), found


def test_what_it_prints_is_kept_and_its_folder_is_its_own() -> None:
    found = run_program("import os; open('a', 'w').write('b'); print(os.listdir('.'), 'é한')", LIMITS)
    assert (found.verdict, found.output) == ("passed", "['a'] é한\n")


def test_our_environment_and_our_packages_are_out_of_its_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    found = run_program(
        "import os, sys\nassert 'API_TOKEN' not in os.environ\nassert not any('site' in p for p in sys.path)"
    )
    assert found.verdict == "passed", found


@pytest.mark.skipif(not namespaces(), reason="network namespaces are not allowed here")
def test_there_is_no_network_and_no_other_process_to_be_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
        found = run_program(program, LIMITS)
        assert (found.verdict, found.alone) == ("error", True)
        assert "unreachable" in found.reason
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            found = run_program(f"import os; os.kill({other.pid}, 9)", LIMITS)
            assert found.reason == "ProcessLookupError on line 1: [Errno 3] No such process"
            assert other.poll() is None
        finally:
            other.kill()
