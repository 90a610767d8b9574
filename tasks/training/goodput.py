"""Where the time of a training went: what of it is in the weights, and what was paid for losses, start-up and saving.

Effective training time is the share of the wall time that made the final weights (Llama 3: above 90 %). All of it is
told from the lines that the steps leave in metrics.jsonl, so it can be asked of any training, also one under way.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Goodput:
    """Seconds by cause; they add up to the wall time.

    productive   steps whose work is in the final weights, with the sampling and the memory retries inside them
    recomputed   steps whose work is not: done again after a loss or a rollback, or left out by the guard
    checkpoint   the loop waited for a checkpoint
    start_up     a process began (the first also: was ordered) and had not begun its first step
    dead         from the last line of a process that was lost to the start of the next, unfinished step included
    other        between the steps: samples, watchers, reading a checkpoint for a rollback
    tail         after the last step: the last checkpoint, the sealed model, the end of the processes
    """

    productive: float = 0.0
    recomputed: float = 0.0
    checkpoint: float = 0.0
    start_up: float = 0.0
    dead: float = 0.0
    other: float = 0.0
    tail: float = 0.0

    @property
    def wall(self) -> float:
        return math.fsum(asdict(self).values())

    @property
    def share(self) -> float:
        """Effective training time: the productive part of the wall time; 0 for none."""
        return self.productive / self.wall if self.wall else 0.0

    def figures(self) -> dict[str, float]:
        """{"productive_seconds": 51.2, ..., "wall_seconds": 60.0, "share": 0.853}"""
        seconds = {f"{name}_seconds": round(value, 3) for name, value in asdict(self).items()}
        return {**seconds, "wall_seconds": round(self.wall, 3), "share": round(self.share, 4)}


def split(records: Sequence[Record], began: float, ended: float) -> Goodput:
    """The wall time from `began` to `ended` (seconds since the epoch) by cause; `records` in the order of the file.

    Only lines of that time count: give one call's times for what that call did (what an earlier call did and lost is
    then no loss of this one's), or the times of the first call's begin and the last one's end for the whole, where the
    pause between calls counts as dead. A process that died before its first line is a part of the dead time.
    """
    lines = [each for each in records if began <= each["time"] <= ended]
    spent = dict.fromkeys(asdict(Goodput()), 0.0)
    before = began
    for line, is_kept in zip(lines, _kept(lines), strict=True):
        for cause, seconds in _of_line(line, before, is_first=line is lines[0], is_kept=is_kept):
            spent[cause] += seconds
        before = max(before, line["time"])
    spent["tail" if lines else "start_up"] += ended - before
    return Goodput(**spent)


def _of_line(line: Record, before: float, *, is_first: bool, is_kept: bool) -> Iterator[tuple[str, float]]:
    """What happened since the line before. Clocks differ and may be set: no part is longer than what is left."""
    left = max(0.0, line["time"] - before)
    step = min(left, float(line.get("step_seconds", 0.0)))
    yield "productive" if is_kept else "recomputed", step
    left -= step
    checkpoint = min(left, float(line.get("checkpoint_seconds", 0.0)))
    yield "checkpoint", checkpoint
    left -= checkpoint
    if "process_age" not in line:
        yield "other", left
    elif is_first:
        yield "start_up", left
    else:
        start_up = min(left, max(0.0, float(line["process_age"]) - step - checkpoint))
        yield "start_up", start_up
        yield "dead", left - start_up


def _kept(lines: Sequence[Record]) -> list[bool]:
    """Which lines' work is in the final weights: no later line is of the same step or one before, and it was not left out."""
    kept: list[bool] = []
    lowest_after = math.inf
    for line in reversed(lines):
        kept.append(line["step"] < lowest_after and not line.get("skipped"))
        lowest_after = min(lowest_after, line["step"])
    return kept[::-1]


def checkpoint_interval(cost_seconds: float, seconds_between_failures: float) -> float:
    """Seconds of training between checkpoints that lose least: sqrt(2 cost MTBF) (Young 1974; Daly 2006, first order).

    A cost of 1 s and a failure a minute: 10.95 s.
    """
    if not cost_seconds > 0 or not seconds_between_failures > 0:
        raise ValueError("checkpoint interval: the cost and the time between failures must be above 0")
    return math.sqrt(2 * cost_seconds * seconds_between_failures)
