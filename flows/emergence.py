"""The study of emergence in order: how many steps the time allows, then every training in a process of its own."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import active_children, connection, get_context, parent_process
from pathlib import Path
from typing import Any

from flows.display import Display
from tasks.emergence.schedule import precision_for, seconds_per_step, steps_within
from tasks.emergence.study import Part, StudyConfig, parameters_of, parts, run, steps_made

STAGE = "emergence"
LOOKED_EVERY_SECONDS = 1.0


def study(config: StudyConfig, *, minutes: float, steps: int, root: Path, display: Display) -> list[dict[str, Any]]:
    """Train and measure what is not finished yet, each training in a folder of its own in `root`; all records."""
    began = time.monotonic()
    with _workers() as pool:
        what = f"{len(config.sizes)} sizes x {config.seeds} seeds of {config.family}"
        display.stage_started(STAGE, f"{what}, in {root}")
        config = _planned(pool, config, root, minutes, steps)
        records = _trained(pool, parts(config, root), display)
    display.stage_ended(STAGE, "done", f"{config.steps:,} steps each", time.monotonic() - began)
    return records


@contextmanager
def _workers() -> Iterator[ProcessPoolExecutor]:
    """A process a core, each with one thread: that is faster for products this small than all cores on one training.

    What ends the study early ends them at once: a pool would else wait for every training that it was given.
    """
    pool = ProcessPoolExecutor(_cores(), mp_context=get_context("spawn"), initializer=_die_with_parent)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in active_children():
            worker.terminate()
        raise
    pool.shutdown()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _die_with_parent() -> None:
    """A worker whose parent was killed ends too; what it had trained lies in its checkpoints."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _planned(pool: ProcessPoolExecutor, config: StudyConfig, root: Path, minutes: float, steps: int) -> StudyConfig:
    """With steps that fit the time and this machine's precision, both found once: the same command later goes on so."""
    asked = f"{config} {minutes} {steps}"
    path = root / f"plan-{hashlib.sha256(asked.encode()).hexdigest()[:12]}.json"
    if not path.exists():
        config = replace(config, precision=pool.submit(precision_for, config).result())
        if not steps:
            paces = list(pool.map(seconds_per_step, config.sizes, [config] * len(config.sizes)))
            steps = steps_within(paces, seeds=config.seeds, workers=_cores(), seconds=60 * minutes)
        root.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"steps": steps, "precision": config.precision}), encoding="utf-8")
    return replace(config, **json.loads(path.read_text(encoding="utf-8")))


def _trained(pool: ProcessPoolExecutor, all_parts: Sequence[Part], display: Display) -> list[dict[str, Any]]:
    """The record of every part, in rising size; what is finished is read, the bar counts steps, weighed by the size."""
    known = {part: part.record() for part in all_parts}
    records = [record for record in known.values() if record is not None]
    futures: dict[Future[dict[str, Any]], Part] = {
        pool.submit(run, part): part for part, record in known.items() if record is None
    }
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=LOOKED_EVERY_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            part, record = futures[future], future.result()
            records.append(record)
            display.note(f"{part.size}, seed {part.seed}: loss {record['train_loss']:.3f}")
        made, steps = _progress(all_parts)
        if made < steps:
            display.progress(STAGE, made, steps)
    return sorted(records, key=lambda each: (each["parameters"], each["seed"]))


def _progress(all_parts: Sequence[Part]) -> tuple[int, int]:
    weights = {part.size: max(1, parameters_of(part.size) // 1000) for part in all_parts}
    made = sum(weights[part.size] * steps_made(part) for part in all_parts)
    return made, sum(weights[part.size] * part.config.steps for part in all_parts)
