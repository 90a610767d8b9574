"""A training for the worker tests: adds up its steps, keeps its own checkpoint file, and can be killed or stopped."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class State:
    step: int
    steps: int
    total: float


class Stopped(Exception):
    exit_status = 75


def run(job: dict[str, Any], hooks: Sequence[Any]) -> dict[str, Any]:
    """job: folder, steps, seconds (per step). Resumes from folder/checkpoint.json, written at every step."""
    checkpoint = Path(job["folder"]) / "checkpoint.json"
    saved = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"step": 0, "total": 0.0}
    state = State(step=saved["step"], steps=job["steps"], total=saved["total"])
    started_at = state.step
    while state.step < state.steps:
        time.sleep(job.get("seconds", 0.0))
        state.step += 1
        state.total += state.step
        temporary = checkpoint.with_suffix(".tmp")
        temporary.write_text(json.dumps({"step": state.step, "total": state.total}))
        os.replace(temporary, checkpoint)
        for hook in hooks:
            hook(state, {"loss": 1.0 / state.step})
        if any(hook.stop_requested() for hook in hooks):
            raise Stopped(f"stopped after step {state.step}")
    return {
        "total": state.total,
        "started_at_step": started_at,
        "pid": os.getpid(),
        "threads": os.environ["OMP_NUM_THREADS"],
        "policy": os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None,
    }


def wrong(job: dict[str, Any], _: Sequence[Any]) -> dict[str, Any]:
    raise ValueError(f"steps must be positive, found {job['steps']}")


def add(left: int, right: int) -> int:
    return left + right


def process_id() -> int:
    return os.getpid()


def unserialisable() -> Any:
    return {1, 2}
