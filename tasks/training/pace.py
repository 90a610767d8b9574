"""How long a training will take: the time of a few of its steps, and of many trainings side by side."""

import statistics
from collections.abc import Mapping, Sequence

from tasks.training.engine import TrainState


class Stopwatch:
    """A hook that keeps the seconds of the steps after the first few, which warm caches and allocators."""

    def __init__(self, first_steps: int = 3) -> None:
        self._first, self._seconds = first_steps, list[float]()

    def __call__(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        if state.step > self._first:
            self._seconds.append(metrics["step_seconds"])

    def median(self) -> float:
        return statistics.median(self._seconds)


def longest_lane(seconds: Sequence[float], workers: int) -> float:
    """When the last of them ends, if each begins, in this order, at the worker that is free first."""
    lanes = [0.0] * workers
    for each in seconds:
        lanes[lanes.index(min(lanes))] += each
    return max(lanes)
