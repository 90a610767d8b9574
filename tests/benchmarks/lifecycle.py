"""A recipe from nothing, then again with nothing changed: time by part, memory, and what every gate measured.

    make prove lifecycle                         the laptop recipe, kept in tests/benchmarks/results/lifecycle.txt
    python -m tests.benchmarks.lifecycle tiny    any other; a folder behind it keeps the workspace with its models

Memory is the sum over all processes of the run of what each has for itself, with its part of what they share (PSS).
"""

import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import Command, copy_workspace

SECONDS_BETWEEN_LOOKS = 3.0


def main(recipe: str, kept: str = "") -> int:
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary) / "home"
        home.mkdir(parents=True)
        command = Command(copy_workspace(Path(temporary) / "workspace"), home)
        print(f"{date.today()}  python -m tests.benchmarks.lifecycle {recipe}")
        print(f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}\n", flush=True)
        with memory_of(home) as memory:
            started = time.perf_counter()
            first = command("run", "--recipe", recipe, "--json")
            seconds = time.perf_counter() - started
        if first.returncode:
            print(first.stderr, file=sys.stderr)
            return first.returncode
        document = json.loads(first.stdout)
        print(f"the command took {seconds:.0f} s and at most {max(memory) / 1e9:.2f} GB")
        print("\n".join(said(document, json.loads(Path(document["report"]).with_name("record.json").read_text()))))
        started = time.perf_counter()
        again = command("run", "--recipe", recipe, "--json")
        states = [stage["state"] for stage in json.loads(again.stdout)["stages"]]
        print(f"\nagain, with nothing changed: {time.perf_counter() - started:.1f} s ({', '.join(states)})")
        return again.returncode


def said(document: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """The lines of one run: `document` is what `run --json` prints, `record` the record.json beside its report."""
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in document["time"]["parts"].items())
    lines = [f"{document['recipe']}: {document['state']}; {parts}", ""]
    for stage in document["stages"]:
        before, after = (_figure(stage.get(when)) for when in ("before", "after"))
        lines.append(f"{stage['stage']}, {stage['seconds']:.0f} s: {stage.get('metric')} {before} -> {after}")
    for gate in record["gates"]:
        lines += ["", f"gate of {gate['stage']}: {gate['verdict']}"]
        lines += [f"  {name}: {figure}" for name, figure in gate["figures"].items()]
    return lines


def _figure(value: object) -> str:
    return "nothing" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


@contextmanager
def memory_of(home: Path) -> Iterator[list[int]]:
    """Bytes of all processes whose HOME is `home`, look by look."""
    seen, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            seen.append(sum(_bytes(process, str(home)) for process in psutil.process_iter()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _bytes(process: psutil.Process, home: str) -> int:
    try:
        return int(process.memory_full_info().pss) if process.environ().get("HOME") == home else 0
    except psutil.Error:
        return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or ["laptop"]))
