"""All tests in two pytest processes at once, since many wait for others: the flows, whole runs among them, and the rest.

What comes before a process's first heading (its files, one a line) is shown as it comes; the headings with their
failures, the slowest tests and the figures follow when it has ended, so that neither speaks into the other's.
"""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
HALVES = {"flows": ("tests/flows",), "rest": ("tests", "--ignore=tests/flows")}


def main() -> int:
    """0 when every test of both has passed."""
    speaking = threading.Lock()
    with ThreadPoolExecutor(len(HALVES)) as threads:
        codes = list(threads.map(lambda name: run(name, HALVES[name], speaking), HALVES))
    return int(any(codes))


def run(name: str, arguments: tuple[str, ...], speaking: threading.Lock) -> int:
    command = [sys.executable, "-m", "pytest", *arguments, "-o", f"cache_dir=.pytest_cache/{name}"]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    assert process.stdout is not None
    report: list[str] = []
    for line in process.stdout:
        if report or (line.startswith("===") and "test session starts" not in line):
            report.append(line)
        else:
            with speaking:
                say(line)
    code = process.wait()
    with speaking:
        say("".join(report))
    return code


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
