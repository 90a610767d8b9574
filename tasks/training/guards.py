"""What a training does about a step that went wrong: leave the update out, go back, and in the end give up with the reason.

A step is bad when its loss or gradient is no number, or its loss stands far above the recent ones (median and MAD: one
outlier moves neither). PaLM (Chowdhery et al. 2022, section 5.1) went back about 100 steps and past the bad batches.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

MAD_TO_DEVIATION = 1.4826  # of a normal distribution
LEAST_SHARE = 0.1  # of the median: where losses hardly vary, a spike is still something


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """`spike_deviations` 0 looks for spikes never; `most_skipped` bad steps among the last `window` cause a rollback."""

    spike_deviations: float = 20.0
    window: int = 64
    fewest: int = 16  # losses that must be known before one can be called a spike
    most_skipped: int = 3
    most_rollbacks: int = 2

    def __post_init__(self) -> None:
        if self.spike_deviations < 0 or min(self.window, self.fewest, self.most_skipped) < 1 or self.most_rollbacks < 0:
            raise ValueError(
                "guard: window, fewest and most_skipped must be at least 1, spike_deviations and most_rollbacks at least 0"
            )


class Diverged(ValueError):
    """The training went wrong again after its last rollback, or before there was anything to go back to."""


class Guard:
    """Judges every step by its metrics; what it remembers goes into the checkpoint, so a resumed run judges alike."""

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        self._losses: list[float] = []
        self._skipped: list[int] = []
        self.rollbacks = 0

    def judge(self, metrics: Mapping[str, float]) -> tuple[bool, str]:
        """(True, "") or (False, "the loss is nan"); the metrics are those of the whole global batch."""
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(metrics.get(name, 0.0)):
                return False, f"the {name.replace('_', ' ')} is {metrics[name]}"
        config, loss = self._config, metrics.get("loss", 0.0)
        if not config.spike_deviations or len(self._losses) < config.fewest:
            return True, ""
        middle = median(self._losses)
        deviation = MAD_TO_DEVIATION * median(abs(each - middle) for each in self._losses)
        most = middle + max(config.spike_deviations * deviation, LEAST_SHARE * abs(middle))
        if loss <= most:
            return True, ""
        return False, f"the loss is {loss:.4g}, its median over {len(self._losses)} steps {middle:.4g}"

    def accept(self, loss: float) -> None:
        self._losses = [*self._losses, loss][-self._config.window :]

    def skip(self, position: int) -> bool:
        """Note that the batch at `position` was left out; True when that was one too many."""
        recent = [each for each in self._skipped if position - each < self._config.window]
        self._skipped = [*recent, position]
        return len(self._skipped) >= self._config.most_skipped

    def allow_rollback(self, reason: str) -> None:
        """Diverged when there were enough of them."""
        if self.rollbacks >= self._config.most_rollbacks:
            raise Diverged(
                f"{reason}, for the {self.rollbacks + 1}. time after going back to a checkpoint {self.rollbacks} times; "
                "lower the learning rate, or look at the data"
            )

    def went_back(self, rollbacks: int) -> None:
        """The number of rollbacks by now, after a checkpoint was restored that knew of fewer; bad steps count afresh."""
        self.rollbacks, self._skipped = rollbacks, []

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self._losses, "skipped": self._skipped, "rollbacks": self.rollbacks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._losses, self._skipped = list(state["losses"]), list(state["skipped"])
        self.rollbacks = int(state["rollbacks"])
