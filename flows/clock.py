"""Where the time of a run went: every second belongs to exactly one part, so the parts add up to the wall time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

PARTS = ("data", "training", "sampling", "evaluation", "start-up", "glue")


class Clock:
    """`started` is the monotonic-equivalent start of the process, so that interpreter start and imports are counted."""

    def __init__(self, already_spent: float = 0.0) -> None:
        self._mark = time.monotonic() - already_spent
        self._stack = ["glue"]
        self.parts = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Charge the time inside to `name`; an inner part pauses the outer one."""
        self._charge()
        self._stack.append(name)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def move(self, seconds: float, *, source: str, target: str) -> None:
        """A worker measured `seconds` of `target` inside a call that was charged to `source`."""
        self._charge()
        seconds = min(max(seconds, 0.0), self.parts[source])
        self.parts[source] -= seconds
        self.parts[target] += seconds

    def summary(self) -> dict[str, float]:
        self._charge()
        return {name: round(seconds, 2) for name, seconds in self.parts.items()}

    @property
    def wall(self) -> float:
        self._charge()
        return sum(self.parts.values())

    def _charge(self) -> None:
        now = time.monotonic()
        self.parts[self._stack[-1]] += now - self._mark
        self._mark = now
