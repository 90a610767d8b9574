"""A training whose worker is killed again and again: does it end with the same bytes, and how much of its time was work?

    make prove punisher      about twelve minutes, kept in tests/benchmarks/results/punisher.txt

The laptop's decoder is trained through Ray: unbroken, with a fault a minute, with a fault in three minutes. A fault is a
SIGKILL, one with a byte of the newest checkpoint flipped besides, or a SIGTERM; it comes at a random moment of its minute.
Checkpoints are written at Young and Daly's interval. tests/benchmarks/test_punisher.py holds a small form.
"""

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count, cycle, pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from infra.processes import is_alive
from infra.spool import SPOOL_FILE, SpoolReader
from infra.storage import read_json
from infra.workers import WORKER_FILE, Preempted, Workers
from tasks.training.goodput import Goodput, checkpoint_interval, split
from tests.benchmarks.trainings import FULL, RUN, Size, encode_text, header, own_workers, starts_of, train_bare

WORK_SECONDS = 210.0
AIMS = {60.0: 0.80, 180.0: 0.90}  # seconds between faults: effective training time
KINDS = ("kill", "kill, checkpoint damaged", "kill", "terminate")
CALIBRATION_STEPS = 25
LOOK_SECONDS = 0.05
SEED = 1


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Comes once `seconds` have gone since the call and the training has logged `step`."""

    kind: str
    seconds: float = 0.0
    step: int = 0


@dataclass(kw_only=True)
class Punished:
    """What became of a training, and when what was done to it (times since the epoch)."""

    result: dict[str, Any]
    began: float
    ended: float
    folder: Path
    done: list[tuple[float, str]] = field(default_factory=list)

    @property
    def goodput(self) -> Goodput:
        return split(SpoolReader(self.folder / SPOOL_FILE).read(), self.began, self.ended)

    def ways_back(self) -> list[dict[str, float]]:
        """For each fault the seconds of the way back to the next step."""
        found = []
        starts = [start for start in starts_of(self.folder) if start["first_step"] is not None]
        for moment, _ in self.done:
            start = next((each for each in starts if each["process"] > moment), None)
            if start is not None:
                times = [moment, *(start[name] for name in ("process", "entered", "imported", "first_step"))]
                found.append(dict(zip(WAY, (after - before for before, after in pairwise(times)), strict=True)))
        return found


WAY = (
    "noticed, new process",
    "Ray's worker ready",
    "torch and transformers imported",
    "model, data, checkpoint read",
)


def main(work_seconds: float = WORK_SECONDS) -> int:
    header("punisher")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        inputs = encode_text(root / "data")
        step, cost = calibrated(FULL, root, inputs)
        steps = max(50, round(work_seconds / step))
        print(f"bare: a step takes {step:.3f} s, a checkpoint costs the loop {cost:.3f} s; {steps} steps\n", flush=True)
        unbroken, same = None, True
        for between in (None, *AIMS):
            interval = checkpoint_interval(cost, between or max(AIMS))
            every = max(1, round(interval / step))
            print(
                f"{'no faults' if between is None else f'a fault in {between:.0f} s'}; checkpoints every {interval:.1f} s "
                f"= sqrt(2 x {cost:.3f} s x {between or max(AIMS):.0f} s), that is {every} steps",
                flush=True,
            )
            job = FULL.job(root / f"every-{between}", inputs, steps=steps, checkpoint_steps=every)
            with own_workers(root) as workers:
                found = punish(workers, job, [] if between is None else random_faults(between))
            unbroken = unbroken or found
            equal = found.result["artifact"]["digest"] == unbroken.result["artifact"]["digest"]
            same = same and equal
            print("\n".join(said(found, AIMS.get(between or 0.0))))
            print(f"weights {'byte-equal to those of' if equal else 'NOT EQUAL to'} the unbroken run\n", flush=True)
        return 0 if same else 1


def calibrated(size: Size, root: Path, inputs: Mapping[str, str]) -> tuple[float, float]:
    """(seconds of a step, what a checkpoint adds to one), both bare, from line to line: what the writer's thread takes
    from the steps' own cores is a part of the cost."""
    seconds = []
    for name, every in (("calibration", CALIBRATION_STEPS), ("calibration-1", 1)):
        job = size.job(root / name, inputs, steps=CALIBRATION_STEPS, checkpoint_steps=every)
        times = [line["time"] for line in train_bare(job)["lines"]]
        seconds.append(median(after - before for before, after in pairwise(times[2:])))
    plain, saving = seconds
    return plain, max(0.002, saving - plain)


def random_faults(between: float) -> Iterator[Fault]:
    """One in each period of `between` seconds, at any moment of it; without an end."""
    draw, kinds = random.Random(SEED), cycle(KINDS)
    for period in count():
        yield Fault(kind=next(kinds), seconds=(period + draw.random()) * between)


def punish(workers: Workers, job: Mapping[str, Any], faults: Sequence[Fault] | Iterator[Fault]) -> Punished:
    """Train to the end whatever comes: Ray starts a killed worker again, and whoever was preempted is run again."""
    folder = Path(job["folder"])
    began = time.time()
    done: list[tuple[float, str]] = []
    with punishing(folder, faults, began, done):
        while True:
            try:
                result = workers.train(RUN, job, on_metrics=None)
                break
            except Preempted:
                continue
    return Punished(result=result, began=began, ended=time.time(), folder=folder, done=done)


@contextmanager
def punishing(
    folder: Path, faults: Sequence[Fault] | Iterator[Fault], began: float, done: list[tuple[float, str]]
) -> Iterator[None]:
    over = threading.Event()

    def do_all() -> None:
        spool, last = SpoolReader(folder / SPOOL_FILE), 0
        for fault in faults:
            while time.time() - began < fault.seconds or last < fault.step or not befallen(folder, fault.kind, done):
                if over.wait(LOOK_SECONDS):
                    return
                last = max([last, *(line["step"] for line in spool.read())])

    punisher = threading.Thread(target=do_all)
    punisher.start()
    try:
        yield
    finally:
        over.set()
        punisher.join()


def befallen(folder: Path, kind: str, done: list[tuple[float, str]]) -> bool:
    """Do it to the worker that lives now; False when there is none, or too few checkpoints to damage one."""
    worker = read_json(folder / WORKER_FILE)
    checkpoints = sorted((folder / "checkpoints").glob("step-????????"))
    damages = "damaged" in kind
    if worker is None or not is_alive(worker["pid"], worker["started"]) or (damages and len(checkpoints) < 2):
        return False
    os.kill(worker["pid"], signal.SIGTERM if kind == "terminate" else signal.SIGKILL)
    done.append((time.time(), kind))
    if damages:
        while is_alive(worker["pid"], worker["started"]):
            time.sleep(0.005)
        flip_a_byte(max((folder / "checkpoints").glob("step-????????")) / "model.safetensors")
    return True


def flip_a_byte(path: Path) -> None:
    """In the middle; size and time of change stay."""
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(before.st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(before.st_size // 2)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def said(found: Punished, aim: float | None) -> list[str]:
    goodput = found.goodput
    parts = ", ".join(f"{name.replace('_', '-')} {seconds:.1f} s" for name, seconds in asdict(goodput).items())
    between = goodput.wall - goodput.tail
    aimed = "" if aim is None else f" (aim {aim:.0%}: {'reached' if goodput.share >= aim else 'NOT reached'})"
    moments = "; ".join(f"{moment - found.began:.0f} s {kind}" for moment, kind in found.done) or "none"
    lines = [
        f"  faults: {moments}",
        f"  {goodput.wall:.1f} s: {parts}",
        f"  effective training time {goodput.share:.1%}{aimed}; up to the last step {goodput.productive / between:.1%}",
    ]
    ways = found.ways_back()
    if ways:
        steps = ", ".join(f"{name} {mean(way[name] for way in ways):.1f} s" for name in WAY)
        lines.append(f"  the way back, mean of {len(ways)}: {steps}")
    return lines


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
