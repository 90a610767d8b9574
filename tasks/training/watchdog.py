"""A hang ends: when no step comes for too long, every thread's stack is kept in a file and the process ends itself.

The timer is Python's own (faulthandler), a thread in C that needs neither the interpreter nor its lock. Whoever started
the process starts it again, and it goes on from its checkpoint.
"""

import faulthandler
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

STACKS = "stacks-"


class Watchdog:
    """A hook, and a context that arms and disarms it; `seconds` 0 watches nothing."""

    def __init__(self, folder: Path, *, rank: int, seconds: float) -> None:
        self._path = folder / f"{STACKS}rank{rank}-{os.getpid()}.txt"
        self._seconds = seconds
        self._stream: Any = None

    def __enter__(self) -> "Watchdog":
        if self._seconds:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("w", encoding="utf-8")
            self._arm()
        return self

    def __call__(self, state: Any, metrics: Mapping[str, float]) -> None:
        del state, metrics
        if self._stream is not None:
            self._arm()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._stream is not None:
            faulthandler.cancel_dump_traceback_later()
            self._stream.close()
            self._path.unlink(missing_ok=True)

    def _arm(self) -> None:
        faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._stream)
