"""The study of emergence in order: how many steps the time allows, then every training in a process of its own."""

import hashlib
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from flows import ladder
from flows.display import Display
from flows.ladder import Record, Rung
from infra import tracking
from infra.settings import Settings
from infra.storage import read_json, write_json
from infra.worker_process import available_cores
from tasks.emergence.report import ability_figures
from tasks.emergence.schedule import precision_for, seconds_per_step, steps_within
from tasks.emergence.study import StudyConfig, parts

STAGE = "emergence"


def study(
    config: StudyConfig, *, minutes: float, steps: int, root: Path, settings: Settings, display: Display
) -> list[Record]:
    """Train and measure what is not finished yet, each training in a folder of its own in `root`; all records."""

    asked = f"{config} {minutes} {steps}"
    plan = root / f"plan-{hashlib.sha256(asked.encode()).hexdigest()[:12]}.json"

    def climb() -> list[Record]:
        with ladder.opened(available_cores()) as pool:
            if not plan.exists():
                _plan(pool, config, plan, minutes, steps)
            return _trained(pool, _planned(config, plan), root, settings, display)

    began = time.monotonic()
    what = f"{len(config.sizes)} sizes x {config.seeds} seeds of {config.family}"
    display.stage_started(STAGE, f"{what}, in {root}")
    records = ladder.finished(parts(_planned(config, plan), root)) if plan.exists() else None
    state = "reused" if records is not None else "done"
    if records is None:
        records = ladder.in_flow(STAGE, climb)
    display.stage_ended(STAGE, state, f"{records[0]['steps']:,} steps each", time.monotonic() - began)
    return sorted(records, key=lambda each: (each["parameters"], each["seed"]))


def _plan(pool: ProcessPoolExecutor, config: StudyConfig, plan: Path, minutes: float, steps: int) -> None:
    """Steps that fit the time and this machine's precision, both found once: the same command later goes on so."""
    config = replace(config, precision=pool.submit(precision_for, config).result())
    if not steps:
        paces = list(pool.map(seconds_per_step, config.sizes, [config] * len(config.sizes)))
        steps = steps_within(paces, seeds=config.seeds, workers=available_cores(), seconds=60 * minutes)
    plan.parent.mkdir(parents=True, exist_ok=True)
    write_json(plan, {"steps": steps, "precision": config.precision})


def _planned(config: StudyConfig, plan: Path) -> StudyConfig:
    return replace(config, **(read_json(plan) or {}))


def _trained(
    pool: ProcessPoolExecutor, config: StudyConfig, root: Path, settings: Settings, display: Display
) -> list[Record]:
    """The record of every part, each an MLflow run below the study's."""
    key = hashlib.sha256(repr(config).encode()).hexdigest()[:16]
    parent = tracking.lifecycle_run(settings, run_key=key, recipe={STAGE: asdict(config)})

    def done(part: Rung, record: Record) -> None:
        values = {STAGE: {name: record[name] for name in ("size", "seed", "parameters", "steps")}}
        ladder.track(settings, parent, part, values, ability_figures(record))
        display.note(f"{part.name}: loss {record['train_loss']:.3f}")

    with tracking.tracked(settings, parent):
        return ladder.climb(pool, parts(config, root), stage=STAGE, display=display, done=done)
