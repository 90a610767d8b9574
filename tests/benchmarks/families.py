"""Leave one family out at small scale: tuned on the other families, a model is asked the held-out one without a shot.

    make prove families                                             a base is pretrained on Python's documentation first
    python -m tests.benchmarks.families --base FOLDER --plot FILE   any pretrained folder

Beside the gain over the base: how it grows with the number of families, and a control that saw task names and bare fields
instead of templates. The base is asked in plain text, since it knows no turns.
"""

import argparse
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics

from infra.worker_process import available_cores
from tasks.alignment.families import Pool
from tasks.alignment.family_study import Result, Study
from tasks.alignment.tuning import Tuning
from tasks.emergence.family_report import Study as Found
from tasks.emergence.family_report import draw, table
from tasks.exercises.phrases import Material, gather
from tasks.exercises.task_files import all_tasks
from tasks.training import pretraining
from tasks.training.machine import Runtime
from tests.benchmarks.trainings import FULL, encode_text, header

PRETRAINING_STEPS = 480
PLOT = Path(__file__).with_name("results") / "families.png"
UNSEEN_EVERY = 8  # of the documents


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path)
    parser.add_argument("--plot", type=Path, default=PLOT)
    parser.add_argument("--held-out", nargs="+", help="families; all of them if none is named")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=available_cores())
    given = parser.parse_args()
    header("families")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        base = given.base or pretrained(root)
        seen, unseen = material()
        pool = Pool(tasks=all_tasks(), seen=seen, unseen=unseen)
        runtime = Runtime(threads=given.threads)
        study = Study(
            pool=pool, base=base, folder=root / "tuned", seeds=range(1, given.seeds + 1),
            tuning=Tuning(steps=given.steps, batch_sequences=16, runtime=runtime),
        )  # fmt: skip
        found = run(study, given.held_out or pool.families)
    print("\n".join(table(found)))
    print(f"{draw(found, given.plot).name}; {time.perf_counter() - started:.0f} s")


def run(study: Study, held_out: tuple[str, ...]) -> Found:
    base = {family: study.base_marks(family) for family in held_out}
    results: list[Result] = []
    for result in study.results(held_out):
        results.append(result)
        print(
            f"seed {result.seed}, {result.held_out} held out, trained on {len(result.families)} by {result.wording}: "
            f"{sum(result.marks.exact) / len(result.marks.exact):.3f}",
            flush=True,
        )
    print()
    return Found(base, results)


def material() -> tuple[Material, Material]:
    """Of Python's documentation, what is trained on and what is asked about."""
    documents = [
        {"id": name, "group": name, "kind": "text", "text": topics[name]} for place, name in enumerate(sorted(topics))
    ]
    seen = gather((each for place, each in enumerate(documents) if place % UNSEEN_EVERY), most=20_000)
    return seen, gather(documents[::UNSEEN_EVERY], most=20_000, without=seen)


def pretrained(root: Path) -> Path:
    inputs = encode_text(root / "data")
    job = FULL.job(root / "base", inputs, steps=PRETRAINING_STEPS, checkpoint_steps=PRETRAINING_STEPS)
    job["runtime"]["precision"] = "auto"
    outcome = pretraining.run(job, [])
    print(
        f"base: {outcome['parameters']:,} parameters, loss {outcome['metrics']['loss']:.3f} nats, {outcome['seconds']} s\n"
    )
    return Path(outcome["artifact"]["path"])


if __name__ == "__main__":
    main()
