"""A hook for tests of trainings."""

from collections.abc import Mapping

from tasks.training.engine import TrainState


class Losses:
    """Keeps the losses, and wants to stop after a number of steps."""

    def __init__(self, stop_at: int = 0) -> None:
        self.found: list[float] = []
        self._stop_at = stop_at

    def __call__(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        del state
        self.found.append(metrics["loss"])

    def stop_requested(self) -> bool:
        return bool(self._stop_at) and len(self.found) >= self._stop_at
