"""Trainings of two workers for the worker tests: each step is a sum over both, and one of them can hang, die or fail."""

import json
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tasks.training.watchdog import Watchdog


@dataclass
class State:
    step: int
    steps: int


def run(job: dict[str, Any], hooks: Sequence[Any]) -> dict[str, Any]:
    """job: folder, steps, seconds (until a hang is ended), and per step what befalls the second rank there, once."""
    folder, rank = Path(job["folder"]), dist.get_rank()
    kept = folder / "kept.json"
    state = State(step=json.loads(kept.read_text()) if kept.exists() else 0, steps=job["steps"])
    with Watchdog(folder, rank=rank, seconds=job["seconds"]) as watchdog:
        while state.step < state.steps:
            if rank == 1:
                befall(folder, job["befalls"].get(str(state.step)))
            total = torch.ones(1)
            dist.all_reduce(total)
            assert float(total) == 2.0
            state.step += 1
            for hook in (watchdog, *hooks):
                hook(state, {"loss": 1.0})
            if rank == 0:
                kept.write_text(json.dumps(state.step))
    return {"step": state.step}


def befall(folder: Path, what: str | None) -> None:
    mark = folder / f"befell-{what}"
    if what is None or (mark.exists() and what != "hang for ever"):
        return
    mark.touch()
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "fail":
        raise ValueError("this input is wrong on one machine only")
    threading.Event().wait()
