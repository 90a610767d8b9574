"""One run of the platform: its lock, ledger, workers, tracking and clock, opened once and shared by every stage flow."""

import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flows.clock import Clock
from flows.display import Display
from flows.recipe import Recipe
from infra import processes, tracking, workers
from infra.database import runs, sessions
from infra.settings import Settings
from infra.workers import WorkerFailed, Workers
from tasks.alignment.instructions import InstructionConfig, check_asked
from tasks.corpus.corpora import load_corpus
from tasks.corpus.params import load_named

RESUMABLE = ("crashed", "interrupted", "preempted", "failed")


class Refused(Exception):
    """A gate said no: the run ends with exit status 3, and nothing more is promoted. `outcome` is the stage's."""

    exit_status = 3

    def __init__(self, message: str, outcome: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.outcome = dict(outcome)


@dataclass(kw_only=True)
class Session:
    """What the stage flows of one run share. `outcomes` holds one entry per stage that was decided, in order."""

    settings: Settings
    recipe: Recipe
    run_id: str
    display: Display
    clock: Clock
    engine: Any
    code: str | None
    workers: Workers
    started: str
    start_from: str | None = None
    resumed: bool = False
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    mlflow_run: str | None = None
    _validated: bool = False

    def check_inputs(self) -> None:
        """Refuse a wrong corpus or recipe before any server is started; one that ran to its end before is right."""
        load_corpus(self.settings.checkout, self.settings.home, self.recipe.data)
        instructions = load_named(InstructionConfig, self.settings.checkout, "instructions", self.recipe.data)
        check_asked(instructions, self.recipe.section("align").get("families") or (), self.settings.checkout)
        known = runs.list_runs(self.engine)
        if not any(run["recipe_digest"] == self.recipe.digest and run["state"] == "done" for run in known):
            self.ready_to_work()

    def ready_to_work(self) -> None:
        """Check the recipe key by key, in the child that the trainings need anyway, and let it start Ray meanwhile."""
        if self._validated:
            return
        with self.clock.part("start-up"):
            self.workers.start()
            arguments = {"name": self.recipe.name, "values": dict(self.recipe.values)}
            try:
                self.workers.call("flows.recipe:validate", arguments)
            except WorkerFailed as error:
                if error.kind == "ValueError":
                    raise ValueError(error.message) from None
                raise
            self.workers.warm()
        self._validated = True

    @property
    def tracked(self) -> str:
        """The MLflow run of the whole lifecycle; created the first time something is to be tracked."""
        if self.mlflow_run is None:
            with self.clock.part("start-up"):
                self.mlflow_run = tracking.lifecycle_run(
                    self.settings, run_key=self.run_id, recipe=dict(self.recipe.values)
                )
        return self.mlflow_run

    def outcome(self, stage: str) -> dict[str, Any]:
        """What an earlier stage of this run gave; ValueError when it has not run."""
        for outcome in self.outcomes:
            if outcome["stage"] == stage:
                return outcome
        raise ValueError(f"{stage} has not run yet: run `espalier stage {stage} --recipe {self.recipe.name}` first")

    def artifact(self, stage: str, name: str) -> dict[str, Any]:
        """{"kind", "digest", "path"} of something an earlier stage made."""
        found: dict[str, Any] = self.outcome(stage)["artifacts"][name]
        return found

    def tokens(self) -> dict[str, Any]:
        """The corpus as token ids of the models' own tokenizer: a model that was brought in has its own."""
        found: dict[str, Any] = self.outcome("pretrain")["artifacts"].get("tokens") or self.artifact("corpus", "tokens")
        return found

    def data(self, *parts: str) -> Path:
        return self.settings.data.joinpath(self.recipe.data, *parts)


_current: Session | None = None


def current() -> Session:
    if _current is None:
        raise ValueError("no run is open: stage flows run inside `espalier run`, `espalier stage` or a deployment")
    return _current


def is_open() -> bool:
    return _current is not None


@contextmanager
def opened(
    settings: Settings, recipe: Recipe, display: Display, *, command: str, start_from: str | None = None
) -> Iterator[Session]:
    """Hold the checkout, clear up after a crash, and begin a run, or go on with one that was broken off.

    The same recipe after a crash, Ctrl-C or a failure is the same run: its id, and so its MLflow runs, go on.
    """
    global _current
    clock = Clock(already_spent=_age_of_process())
    with ExitStack() as stack:
        stack.enter_context(processes.RunLock(settings.lock))
        temporary = stack.enter_context(processes.private_folder())
        engine = stack.enter_context(sessions.ledger(settings))
        runs.close_stale_runs(engine, processes.is_alive)
        tracking.close_stale(settings)
        broken = _broken_off(engine, recipe.digest)
        session = Session(
            settings=settings,
            recipe=recipe,
            run_id=broken or _new_run_id(),
            display=display,
            clock=clock,
            engine=engine,
            code=commit_of(settings.checkout),
            workers=Workers(settings, temporary),
            started=datetime.now().astimezone().isoformat(timespec="seconds"),
            start_from=start_from,
            resumed=broken is not None,
        )
        runs.start_run(
            engine,
            run_id=session.run_id,
            recipe_name=recipe.name,
            recipe=dict(recipe.values),
            recipe_digest=recipe.digest,
            code=session.code,
            command=command,
        )
        stack.enter_context(workers.opened(session.workers))
        _current = session
        try:
            yield session
        finally:
            _current = None


def _broken_off(engine: Any, recipe_digest: str) -> str | None:
    """The latest run of this recipe if it did not come to its end."""
    for run in runs.list_runs(engine):
        if run["recipe_digest"] == recipe_digest:
            return str(run["run_id"]) if run["state"] in RESUMABLE else None
    return None


def _new_run_id() -> str:
    return f"{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"


def _age_of_process() -> float:
    """Seconds since this process started: the interpreter's own start and imports are part of a run."""
    started = processes.start_time(os.getpid())
    return max(0.0, time.time() - started) if started is not None else 0.0


def commit_of(checkout: Path) -> str | None:
    """The git commit, with "+changes" when the tree differs; None without git. Recorded, never part of an identity."""
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(checkout, "status", "--porcelain") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(checkout: Path, *arguments: str) -> str:
    found = subprocess.run(
        ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return found.stdout.strip()


def figures_of(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """What the display says of a stage that ended."""
    if outcome.get("metric") is None:
        return dict(outcome.get("figures_shown") or {})
    before, after = outcome.get("before"), outcome.get("after")
    named = {outcome["metric"]: after}
    return {**named, "before": before} if before is not None else named
