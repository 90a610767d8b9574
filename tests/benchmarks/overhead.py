"""What the platform costs a training: the same pretraining bare and under Prefect, Ray and MLflow, in turns.

    make prove overhead      about five minutes, kept in tests/benchmarks/results/overhead.txt

The aim: a step takes at most 3 % longer. Bare is the engine alone in a process with the platform's variables; the
platform's is a Prefect flow in a home of its own, as a stage's: the task `train`, progress for the page and the screen,
MLflow fed from the spool. What a stage's start and end cost is shown in parts. tests/benchmarks/test_overhead.py holds a
small form.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, quantiles
from types import SimpleNamespace
from typing import Any

import psutil

from infra import processes, temporary_server, tracking, workers
from infra.processes import own_age, private_folder
from infra.settings import apply_environment, child_environment, load_settings
from infra.spool import SPOOL_FILE, SpoolReader, SpoolWriter
from infra.storage import read_json
from infra.workers import WORKER_FILE, Workers
from tests.benchmarks.trainings import CHECKOUT, FULL, RUN, encode_text, header, ready, starts_of, train_bare

AIM = 0.03
WORKER = "the worker"
STEPS, CHECKPOINT_STEPS, ROUNDS = 100, 50, 2
SPINNING_STEPS = 10
FIRST_MEASURED = 5  # the steps before it warm caches and allocators
PARTS = (
    "train called -> controller's process",
    "controller ready -> worker's process",
    "Ray's worker ready",
    "torch and transformers imported",
    "model, data, preflight -> first step",
    "last step -> train returned",
)


def main(steps: int = STEPS) -> None:
    header("overhead")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        inputs = encode_text(root / "data")
        bare, platform = [], []
        for turn in range(ROUNDS):
            for name, found, train in (("bare", bare, bare_run), ("platform", platform, train_on_platform)):
                folder = root / f"{name}-{turn}"
                job = FULL.job(folder, inputs, steps=steps, checkpoint_steps=CHECKPOINT_STEPS)
                found.append(train(job))
                step, between = medians(found[-1]["lines"])
                print(f"{name:>8}: step {step:.4f} s, from step to step {between:.4f} s (medians)", flush=True)
        digests = {each["artifact"]["digest"] for each in [*bare, *platform]}
        print(f"weights of all runs are {'the same bytes' if len(digests) == 1 else 'NOT THE SAME'}\n")
        print("\n".join(said(bare, platform)), flush=True)
        job = FULL.job(root / "spinning", inputs, steps=SPINNING_STEPS, checkpoint_steps=CHECKPOINT_STEPS)
        step, _ = medians(train_bare(job, OMP_WAIT_POLICY="ACTIVE", GOMP_SPINCOUNT="300000")["lines"])
        print(f"\nbare, with threads that spin while they wait, as the libraries would have it: step {step:.4f} s")


def said(bare: Sequence[Mapping[str, Any]], platform: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for place, name in enumerate(("a step", "from step to step")):
        without, with_it = (median(medians(each["lines"])[place] for each in runs) for runs in (bare, platform))
        over = with_it / without - 1
        aimed = "" if place else f" (aim at most {AIM:.0%}: {'reached' if over <= AIM else 'NOT reached'})"
        lines.append(f"{name}: bare {without:.4f} s, on the platform {with_it:.4f} s, {over:+.1%}{aimed}")
    pairs = (
        medians(after["lines"])[0] / medians(before["lines"])[0] - 1
        for before, after in zip(bare, platform, strict=True)
    )
    lines.append(f"  a step, pair by pair: {', '.join(f'{over:+.1%}' for over in pairs)}")
    quiet = [min(first_decile(each["lines"]) for each in runs) for runs in (bare, platform)]
    lines.append(f"  the quickest tenth of the steps, which neighbours disturb least: {quiet[1] / quiet[0] - 1:+.1%}")
    cpu = [median(each["cpu_per_step"] for each in runs) for runs in (bare, platform)]
    lines.append(f"CPU time of a step in the training process: bare {cpu[0]:.4f} s, on the platform {cpu[1]:.4f} s")
    lines += ["", "start and end of a stage's training, mean of the platform's runs:"]
    parts = [parts_of(each) for each in platform]
    lines += [f"  {mean(each[place] for each in parts):5.1f} s  {name}" for place, name in enumerate(PARTS)]
    lines += ["", "who else computed between the first and the last step, in hundredths of one core:"]
    others: Counter[str] = Counter()
    for each in platform:
        others.update({name: share / len(platform) for name, share in each["others"].items()})
    lines.append(f"  {100 * others.total():5.1f}  in all")
    return lines + [f"  {100 * share:5.1f}  {name}" for name, share in others.most_common(8) if share > 0.0005]


def bare_run(job: Mapping[str, Any]) -> dict[str, Any]:
    """As train_on_platform, of the engine alone."""
    found = train_bare(job)
    first, last = found["lines"][FIRST_MEASURED - 1], found["lines"][-1]
    return {**found, "cpu_per_step": (last["cpu"] - first["cpu"]) / (last["step"] - first["step"])}


def medians(lines: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """(the steps' own time, the time from line to line); the second has hooks and waits for checkpoints in it."""
    measured = lines[FIRST_MEASURED:]
    between = (after["time"] - before["time"] for before, after in pairwise(measured))
    return median(line["step_seconds"] for line in measured), median(between)


def first_decile(lines: Sequence[Mapping[str, float]]) -> float:
    """The time that a tenth of the steps keep below."""
    return quantiles((line["step_seconds"] for line in lines[FIRST_MEASURED:]), n=10)[0]


def parts_of(run: Mapping[str, Any]) -> list[float]:
    start = run["start"]
    moments = [run["began"], run["controller"], *(start[n] for n in ("process", "entered", "imported", "first_step"))]
    return [*(after - before for before, after in pairwise(moments)), run["ended"] - run["lines"][-1]["time"]]


def train_on_platform(job: Mapping[str, Any]) -> dict[str, Any]:
    """What the job returned, with its `lines`, its `start` (see starts_of), times, and what else computed meanwhile."""
    folder = Path(job["folder"])
    folder.mkdir(parents=True)
    described = folder / "job.json"
    described.write_text(json.dumps(job), encoding="utf-8")
    environment = child_environment(load_settings(CHECKOUT), {"ESPALIER_HOME": str(folder.parent / "home")})
    command = [sys.executable, "-m", "tests.benchmarks.overhead", "--on-platform", str(described)]
    finished = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"the training failed on the platform: {finished.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    lines = SpoolReader(folder / SPOOL_FILE).read()
    return {**found, "lines": lines, "start": starts_of(folder)[0]}


def on_platform(described: str) -> None:
    """In a process of its own: what `espalier stage` has around a training, without its data and its gate."""
    settings = load_settings()
    apply_environment(settings)
    from prefect import flow

    from flows.display import Display
    from flows.trained import _Progress
    from tasks.training import steps as training

    processes.may_interrupt(False)  # as flows/main_job.py does
    temporary_server.use()

    job = json.loads(Path(described).read_text(encoding="utf-8"))
    watcher = Watcher(Path(job["folder"]), int(job["config"]["training"]["steps"]))

    @flow(name="overhead")
    def stage() -> dict[str, Any]:
        run = tracking.lifecycle_run(settings, run_key="overhead")
        run = tracking.stage_run(settings, parent=run, stage="pretrain", run_key="overhead:pretrain")
        session: Any = SimpleNamespace(display=Display())
        progress = _Progress(session, "pretrain")

        def listen(record: dict[str, Any]) -> None:
            progress(record)
            watcher(record)

        open_workers.listener = listen
        began = time.time()
        with tracking.tracked(settings, run):
            result = training.train("pretrain", RUN, job, run)
        return {**result, "began": began, "ended": time.time()}

    with private_folder() as temporary, workers.opened(Workers(settings, temporary)) as open_workers:
        open_workers.start()
        open_workers.warm()
        open_workers.call(f"{ready.__module__}:{ready.__name__}", {})
        with watcher:
            result = stage()
    others = watcher.others
    per_step = others.pop(WORKER) / watcher.steps_per_second
    print(json.dumps({**result, "controller": watcher.controller, "others": others, "cpu_per_step": per_step}))


class Watcher:
    """When Ray's controller was started, and what every process computed between two steps, in cores."""

    def __init__(self, folder: Path, steps: int) -> None:
        self._folder, self._steps = folder, steps
        self.controller = float("nan")
        self.others: dict[str, float] = {}
        self.steps_per_second = 0.0
        self._at: tuple[float, dict[int, tuple[str, float]]] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._find_controller)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _find_controller(self) -> None:
        """Its start to a hundredth of a second: what the system says of it and of this process is off by the same."""
        mine = psutil.Process()
        born = time.time() - own_age()
        while not self._over.wait(0.1):
            for process in mine.children(recursive=True):
                if "TrainController" in _named(process):
                    self.controller = born + process.create_time() - mine.create_time()
                    return

    def __call__(self, record: Mapping[str, Any]) -> None:
        if record["step"] not in (FIRST_MEASURED, self._steps):
            return
        now, spent = time.monotonic(), self._spent()
        if self._at is None:
            self._at = now, spent
            return
        since, before = self._at
        self.steps_per_second = (self._steps - FIRST_MEASURED) / (now - since)
        for pid, (name, seconds) in spent.items():
            _, earlier = before.get(pid, (name, 0.0))
            self.others[name] = self.others.get(name, 0.0) + (seconds - earlier) / (now - since)

    def _spent(self) -> dict[int, tuple[str, float]]:
        """Its name now and its CPU seconds for each process; Ray's change their names."""
        worker = (read_json(self._folder / WORKER_FILE) or {}).get("pid")
        spent = {}
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                name = WORKER if process.pid == worker else _named(process)
                spent[process.pid] = name, sum(process.cpu_times()[:2])
            except psutil.Error:
                continue
        return spent


def _named(process: psutil.Process) -> str:
    """Its command in at most 60 characters, without folders and what is the same for all of them."""
    try:
        words = [word for word in process.cmdline()[:6] if not word.startswith("--")]
    except psutil.Error:
        return ""
    return " ".join(word.rpartition("/")[2] for word in words if not word.startswith("{"))[:60].strip()


def hook_cost(job: Mapping[str, Any]) -> tuple[float, float]:
    """(CPU seconds of a step, of its line in the spool with the look whether to stop), medians, in this process."""
    from tasks.training import pretraining

    spool = SpoolWriter(Path(job["folder"]))
    spent: list[float] = []
    steps: list[float] = []
    before = [time.process_time()]

    def timed(state: Any, metrics: Mapping[str, float]) -> None:
        started = time.process_time()
        spool(state, metrics)
        spool.stop_requested()
        ended = time.process_time()
        spent.append(ended - started)
        steps.append(started - before[0])
        before[0] = ended

    pretraining.run(job, [timed])
    spool.close()
    return median(steps[FIRST_MEASURED:]), median(spent[FIRST_MEASURED:])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--on-platform"]:
        on_platform(sys.argv[2])
    else:
        main(*map(int, sys.argv[1:]))
