"""`espalier scaling study`: an iso-FLOP ladder of our own decoders on one data set, and the laws that it bears out."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flows import ladder
from flows.display import Display
from flows.ladder import Record, Rung
from flows.reuse import key_of
from infra import data_versions, tracking
from infra.settings import Settings
from infra.storage import read_json, write_json
from tasks.artifacts import digest_of, read_artifact
from tasks.scaling.fit import Fitted, fit_runs
from tasks.scaling.grid import Cell, grid, ladder_of
from tasks.scaling.held_out import held_out
from tasks.scaling.plots import draw
from tasks.scaling.records import record
from tasks.scaling.runs import read_runs
from tasks.scaling.study import TABLE, Part, Setting, described, parts, precision_for, seconds_of, write_table
from tasks.tokenization.shards import read_index
from tasks.training.pace import longest_lane

STAGE = "ladder"
FIT_FILE = "fit.json"
GUESSED_FLOPS = 2e10  # a second of one core or GPU; only the first guess, before any step was timed
PACE_ROUNDS = 2  # larger budgets have larger decoders, which compute faster
KEPT_BACK = 0.15  # of the time, for measuring and the start of processes
MANY_EPOCHS = 4.0  # a text read more often teaches less than fresh text would (Muennighoff et al. 2023)
COLUMNS = {"parameters": "total_parameters", "tokens": "tokens", "flops": "flops", "loss": "loss", "run": "run"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """`budgets` are FLOPs; none: as many as `count` rising ones that fit into the minutes."""

    corpus: str
    minutes: float
    budgets: tuple[float, ...]
    count: int
    sizes: int
    tokens_per_parameter: float
    learning_rate: float
    seed: int


def study(settings: Settings, request: Request, display: Display) -> dict[str, Any]:
    """{"runs", "table", "fit", "held_out", "plots", "folder", ...}; the same request goes on where it was."""
    setting = _setting(settings, request, display)
    root = settings.home / "scaling" / f"{request.corpus}-{setting.data[:12]}"
    root.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    count, on_gpus = ladder.places()
    setting = replace(setting, on_gpu=on_gpus)
    plan = root / f"plan-{digest_of([repr(request), setting.data, setting.code, count, on_gpus])[:12]}.json"
    rungs = _rungs(request, setting, plan, root) if plan.exists() else []

    def climb() -> list[Record]:
        with ladder.opened(count, on_gpus=on_gpus) as pool:
            if not rungs:
                _plan(pool, request, setting, count, plan, display)
                rungs.extend(_rungs(request, setting, plan, root))
            return _trained(pool, rungs, settings, display)

    records = ladder.finished(rungs) if rungs else None
    state = "reused" if records is not None else "done"
    if records is None:
        records = ladder.in_flow("scaling-study", climb)
    display.stage_ended(STAGE, state, f"{len(records)} decoders", time.monotonic() - began)
    folder = root / digest_of([rung.identity for rung in rungs])[:12]
    folder.mkdir(exist_ok=True)
    display.stage_started("fit", "every approach from its full grid of starts, 1,000 refits")
    found = _fitted(write_table(records, folder / TABLE), request, folder)
    display.stage_ended("fit", "done")
    most = max(each["epochs"] for each in records)
    passed, reason = is_within(found["held_out"])
    return {
        "runs": records,
        **found,
        "foretold": {"passed": passed, "reason": reason},
        "folder": str(folder),
        "note": f"the longest training read its text {most:.1f} times; beyond {MANY_EPOCHS:g} times it teaches less "
        "than fresh text would, and the law then speaks of this text, not of more"
        if most > MANY_EPOCHS
        else "",
    }


def _setting(settings: Settings, request: Request, display: Display) -> Setting:
    display.stage_started("corpus")
    data_versions.reproduce(settings, [f"tokens@{request.corpus}"])
    folder = settings.data / request.corpus
    display.stage_ended("corpus", "done")
    return Setting(
        tokens=folder / "tokens",
        tokenizer=folder / "tokenizer",
        data=read_artifact(folder / "tokens").digest,
        code=key_of(settings.checkout, "scaling"),
        learning_rate=request.learning_rate,
        precision="fp32",
        seed=request.seed,
    )


def _cells(request: Request, setting: Setting, budgets: Sequence[float]) -> list[Cell]:
    vocabulary = int(read_index(setting.tokens)["vocabulary"])
    return grid(budgets, sizes=request.sizes, vocabulary=vocabulary, tokens_per_parameter=request.tokens_per_parameter)


def _rungs(request: Request, setting: Setting, plan: Path, root: Path) -> list[Part]:
    known = read_json(plan) or {}
    cells = _cells(request, setting, known["budgets"])
    return parts(cells, replace(setting, precision=known["precision"]), root)


def _plan(
    pool: ProcessPoolExecutor, request: Request, setting: Setting, count: int, plan: Path, display: Display
) -> None:
    """Budgets that fit the time, and this machine's precision, both found once: the same command later goes on so."""
    display.stage_started("pace", "a few steps of every size")
    seconds = (1 - KEPT_BACK) * 60 * request.minutes
    a_size = sum(ladder_of(1.0, request.count)) / count  # its share of the largest budget, side by side with others
    guess = ladder_of(GUESSED_FLOPS * seconds / (request.sizes * a_size), request.count)
    budgets = list(request.budgets) or guess
    precision = pool.submit(precision_for, _cells(request, setting, budgets)[-1], setting).result()
    for _ in range(0 if request.budgets else PACE_ROUNDS):
        cells = _cells(request, setting, budgets)
        settings = [replace(setting, precision=precision)] * len(cells)
        times = sorted(pool.map(seconds_of, cells, settings), reverse=True)
        budgets = [flops * seconds / longest_lane(times, count) for flops in budgets]
    _cells(request, setting, budgets)
    write_json(plan, {"budgets": budgets, "precision": precision})
    display.stage_ended("pace", "done", " ".join(f"{flops:.2g}" for flops in budgets) + " FLOPs")


def _trained(pool: ProcessPoolExecutor, rungs: Sequence[Part], settings: Settings, display: Display) -> list[Record]:
    """The record of every training, each an MLflow run below the ladder's."""
    display.stage_started(STAGE, f"{len(rungs)} decoders")
    key = digest_of([rung.identity for rung in rungs])[:16]
    parent = tracking.lifecycle_run(settings, run_key=key, recipe={"scaling study": described(rungs[0].setting)})

    def done(rung: Rung, found: Record) -> None:
        values = {"scaling study": {name: found[name] for name in ("budget", "architecture", "batch_tokens", "steps")}}
        measured = {name: found[name] for name in ("parameters", "tokens", "flops", "loss", "bits_per_byte", "epochs")}
        ladder.track(settings, parent, rung, values, measured)
        display.note(f"{found['budget']:.2g} FLOPs, {found['parameters']:,} parameters: loss {found['loss']:.3f}")

    with tracking.tracked(settings, parent):
        return ladder.climb(pool, rungs, stage=STAGE, display=display, done=done)


def _fitted(table: Path, request: Request, folder: Path) -> dict[str, Any]:
    """Laws and figures beside the table; the file of the fit is what `espalier scaling plan --fit` reads."""
    fitted: Fitted = fit_runs(read_runs(table, columns=COLUMNS, unit="nats"), seed=request.seed)
    document: dict[str, Any] = record(fitted, "all")
    write_json(folder / FIT_FILE, document)
    return {
        "table": str(table),
        "fit": document,
        "fit_file": str(folder / FIT_FILE),
        "held_out": held_out(fitted.points, seed=request.seed),
        "plots": [str(path) for path in draw(fitted, folder)],
    }


def is_within(held: Mapping[str, Any], half_width: float = 0.05) -> tuple[bool, str]:
    """Whether the small budgets foretold the best run of the largest, narrowly enough to be of use."""
    best = held["best"]
    low, high = best["interval"]
    said = f"loss {best['loss']:.3f}, foretold {best['predicted']:.3f} [{low:.3f}, {high:.3f}]"
    if not best["inside"]:
        return False, f"{said}: outside its interval"
    if best["half_width"] > half_width:
        return False, f"{said}: an interval of ±{best['half_width']:.1%} says too little"
    return True, said
