"""`espalier generations`: the history of language models on one text, each trained in a worker, side by side in a table."""

import json
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from flows.display import Display
from flows.main_job import terminate
from flows.reuse import key_of
from infra import processes, temporary_server, tracking, workers
from infra.settings import Settings
from infra.workers import Workers
from tasks.artifacts import file_sha256
from tasks.generations.catalogue import FOUND_FILE, ROW_FILE, budgets
from tasks.generations.plot import bars
from tasks.generations.rows import beside_counting
from tasks.training import steps as training

TEXT, TABLE_FILE, PLOT_FILE = "text", "table.json", "generations.png"
FUNCTION = "tasks.generations.run:run"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for; `files` by split. `labelled` are sentences whose labels the models' vectors are asked for."""

    files: Mapping[str, Path]
    level: str
    models: Sequence[str]
    minutes: float
    subwords: int
    labelled: Path | None = None
    seed: int = 1


class Comparison:
    """One request being carried out; the same one goes on where it was.

    Its folder is named by the text, a model's within it by the seconds too: they depend on who else is asked for.
    """

    def __init__(self, settings: Settings, request: Request, display: Display, opened: Workers) -> None:
        self.settings, self.request, self.display, self.workers = settings, request, display, opened
        identity = {
            "files": {name: file_sha256(path) for name, path in request.files.items()},
            "level": request.level,
            "subwords": request.subwords,
            "seed": request.seed,
            **({"labelled": file_sha256(request.labelled)} if request.labelled else {}),
        }
        self.key = key_of(settings.checkout, "generations", **identity)
        self.folder = settings.runs / f"generations-{self.key[:16]}"

    def text(self) -> dict[str, Any]:
        """What was found in the files, which are cut once."""
        folder = self.folder / TEXT
        if not folder.is_dir():
            self.display.stage_started("text")
            arguments = {
                "files": {name: str(path) for name, path in self.request.files.items()},
                "folder": str(folder),
                "config": {"level": self.request.level, "subwords": self.request.subwords},
            }
            found = self.workers.call("tasks.generations.run:prepare", arguments)
            self.display.stage_ended("text", "done", f"{found['splits']['train']['pieces']:,} pieces to learn from")
        return dict(json.loads((folder / FOUND_FILE).read_text(encoding="utf-8")))

    def row(self, model: str, seconds: float, parent: str) -> dict[str, Any]:
        """From its folder where it is finished, else by a worker, as a tracked run."""
        named = f"{model}-{seconds:.0f}s"
        folder = self.folder / named
        if (folder / ROW_FILE).is_file():
            found: dict[str, Any] = json.loads((folder / ROW_FILE).read_text(encoding="utf-8"))
            self.display.stage_ended(model, "reused", _headline(found))
            return found
        self.display.stage_started(model)
        began = time.monotonic()
        run = tracking.stage_run(self.settings, parent=parent, stage=model, run_key=f"{self.key[:16]}:{named}")
        job = {
            "folder": str(folder),
            "text": str(self.folder / TEXT),
            "model": model,
            "seconds": seconds,
            "seed": self.request.seed,
            "labelled": str(self.request.labelled.resolve()) if self.request.labelled else None,
            "runtime": {},
        }
        with tracking.tracked(self.settings, run):
            tracking.log_parameters(self.settings, run, {"generations": {"model": model, "seconds": seconds}})
            found = self._trained(model, job, run)
            numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
            tracking.log_metrics(self.settings, run, numbers)
            tracking.log_text(self.settings, run, "\n\n".join(found["samples"]), "samples.txt")
        self.display.stage_ended(model, "trained", _headline(found), time.monotonic() - began)
        return found

    def _trained(self, model: str, job: dict[str, Any], run: str) -> dict[str, Any]:
        def show(record: dict[str, Any]) -> None:
            self.display.progress(model, int(record["step"]), int(record["steps"]), record)

        self.workers.listener = show
        try:
            return training.train(model, FUNCTION, job, run)
        finally:
            self.workers.listener = None


def _headline(row: Mapping[str, Any]) -> dict[str, Any]:
    if row["test_perplexity"] is None:
        return {}
    bits = {} if row["bits_per_byte"] is None else {"bits per byte": row["bits_per_byte"]}
    return {row["measure"]: row["test_perplexity"], **bits}


@flow(name="generations")
def generations(folder: str, models: list[str]) -> list[dict[str, Any]]:
    """Every model of the request in its year's order; the rows of the table."""
    comparison = current()
    parent = tracking.lifecycle_run(comparison.settings, run_key=comparison.key[:16], recipe={"generations": folder})
    with tracking.tracked(comparison.settings, parent):
        shares = budgets(models, 60.0 * comparison.request.minutes)
        rows = [comparison.row(model, shares[model], parent) for model in models]
    return beside_counting(rows)


_current: Comparison | None = None


def current() -> Comparison:
    if _current is None:
        raise ValueError("no comparison is open: the flow runs inside `espalier generations`")
    return _current


def compare(settings: Settings, request: Request, display: Display) -> dict[str, Any]:
    """{"text", "rows", "folder", "plot"}; one at a time in a checkout, as every run."""
    global _current
    signal.signal(signal.SIGTERM, terminate)
    with processes.RunLock(settings.lock), processes.private_folder() as temporary:
        tracking.close_stale(settings)
        with workers.opened(Workers(settings, temporary)) as opened:
            opened.start()
            temporary_server.use()
            comparison = Comparison(settings, request, display, opened)
            comparison.folder.mkdir(parents=True, exist_ok=True)
            text = comparison.text()
            opened.warm()
            _current = comparison
            try:
                rows = generations(str(comparison.folder), list(request.models))
            finally:
                _current = None
    title = f"{text['level']} level, {text['splits']['train']['pieces']:,} pieces to learn from"
    plot = bars(rows, comparison.folder / PLOT_FILE, title=title)
    found = {"text": text, "rows": rows, "folder": str(comparison.folder), "plot": str(plot) if plot else None}
    (comparison.folder / TABLE_FILE).write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
    return found
