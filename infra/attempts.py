"""When a training worker is worth another start: a process that was lost is, a wrong input is not, nor endless trying.

Ray starts all workers of a training again when one of them is lost, and tells them nothing of why; these notes in the
training's folder do.
"""

from pathlib import Path
from typing import Any

from infra.spool import SPOOL_FILE, SpoolReader
from infra.storage import read_json, write_json

ATTEMPTS_FILE, ERROR_OF_RANK = "attempts.json", "error-of-rank-"
LOST_WITHOUT_A_STEP = 3
HANG_SECONDS = 300.0  # where a job names none: what the engine's watchdog then takes (a test holds the two together)


class WorkerLost(Exception):
    """The training workers are gone and Ray does not bring them back; `str` says what is known of why."""


class NoProgress(WorkerLost):
    """Lost several times without a step between: another start would not help."""


def forget(folder: Path) -> None:
    """Before a training is handed to Ray: what was noted of earlier ones."""
    (folder / ATTEMPTS_FILE).unlink(missing_ok=True)
    for path in folder.glob(f"{ERROR_OF_RANK}*.json"):
        path.unlink()


def told(folder: Path) -> dict[str, Any] | None:
    """The outcome of all ranks where one of them has told of an error before they were started again."""
    found = (read_json(path) for path in sorted(folder.glob(f"{ERROR_OF_RANK}*.json")))
    return next((outcome for outcome in found if outcome is not None), None)


def count(folder: Path) -> None:
    """Note that the first rank starts; NoProgress when the starts before this one made no new step."""
    before = read_json(folder / ATTEMPTS_FILE) or {"steps": -1, "started": 0}
    steps = max((record["step"] for record in SpoolReader(folder / SPOOL_FILE).read()), default=0)
    started = before["started"] + 1 if before["steps"] == steps else 1
    write_json(folder / ATTEMPTS_FILE, {"steps": steps, "started": started})
    if started > LOST_WITHOUT_A_STEP:
        raise NoProgress(
            f"a training worker was lost {LOST_WITHOUT_A_STEP} times without a step between, after step {steps}; "
            + _likely(folder)
        )


def tell(folder: Path, rank: int, outcome: dict[str, Any]) -> None:
    """Leave an error of this rank to all: the others may wait in a collective until they are started again."""
    write_json(folder / f"{ERROR_OF_RANK}{rank}.json", outcome)


def is_of_the_group(error: Exception) -> bool:
    """Whether a collective failed because a process that takes part in it is gone or silent."""
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in ("gloo", "nccl"))


def _likely(folder: Path) -> str:
    """A hang leaves its stacks; what the system kills leaves nothing."""
    written = (path for path in folder.glob("stacks-*.txt") if path.stat().st_size)
    found = sorted(written, key=lambda path: path.stat().st_mtime)
    return f"it hung, its stacks are in {found[-1]}" if found else "it was killed: look whether memory ran out"
