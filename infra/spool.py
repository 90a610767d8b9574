"""The metrics of a training as JSON lines in its folder: written by the worker, read by whoever wants to know.

One line per hook call: {"step": 12, "time": 1732370000.1, "loss": 3.2, ...}. A step may come twice after a resume; the
last one holds. Training never waits for a tracker: this file is all it writes.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.processes import own_age

SPOOL_FILE = "metrics.jsonl"
STOP_FILE = "stop-requested"


class SpoolWriter:
    """A hook `(state, metrics)` that appends to the spool, and tells the loop when it is asked to stop."""

    def __init__(self, folder: Path, stopped: Callable[[], bool] = lambda: False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / SPOOL_FILE
        self._stop_file = folder / STOP_FILE
        self._stopped = stopped
        self._first = True
        _drop_half_line(self.path)
        self._stream = self.path.open("a", encoding="utf-8", buffering=1)

    def __call__(self, state: Any, metrics: Mapping[str, float]) -> None:
        numbers = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
        record = {"step": int(state.step), "time": time.time(), **numbers}
        if self._first:
            record["process_age"], self._first = own_age(), False  # where a process begins in the spool
        for name in ("steps", "tokens"):
            if hasattr(state, name):
                record.setdefault(name, int(getattr(state, name)))
        self._stream.write(json.dumps(record) + "\n")

    def stop_requested(self) -> bool:
        """Whether someone wants the training to checkpoint and end; cheap enough to ask at every step."""
        return self._stopped() or self._stop_file.exists()

    def close(self) -> None:
        self._stream.close()


def _drop_half_line(path: Path) -> None:
    """A killed writer leaves half a line; what follows it would be lost with it."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


class SpoolReader:
    """Reads what was appended since the last look; a line that is still being written waits for the next one."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    @classmethod
    def at_end(cls, path: Path) -> "SpoolReader":
        return cls(path, path.stat().st_size if path.exists() else 0)

    def has_grown(self) -> bool:
        """Whether there is anything to read, or was dropped."""
        try:
            return self.path.stat().st_size != self.offset
        except OSError:
            return False

    def read(self) -> list[dict[str, Any]]:
        try:
            size = self.path.stat().st_size
        except OSError:
            return []
        if size < self.offset:  # a half line was dropped by a resumed writer
            self.offset = self.path.read_bytes()[: self.offset].rfind(b"\n") + 1
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            content = stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [record for line in whole.splitlines() if (record := _parse(line)) is not None]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    is_metric = isinstance(record, dict) and isinstance(record.get("step"), int)
    return record if is_metric and math.isfinite(record.get("time", 0.0)) else None
