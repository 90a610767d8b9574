"""A pretraining on real text for the benchmarks, run by the platform or bare, and when its processes were ready for it.

python -m tests.benchmarks.trainings JOB.json      the bare engine: no Prefect, Ray, MLflow, spool or other hook
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from infra.processes import own_age, private_folder
from infra.settings import child_environment, load_settings, prepare
from infra.spool import SPOOL_FILE, SpoolReader
from infra.worker_process import available_cores
from infra.workers import Workers

CHECKOUT = Path(__file__).resolve().parents[2]
STARTS_FILE = "starts.jsonl"
RUN = "tests.benchmarks.trainings:run"
# The laptop recipe's decoder, and one whose steps take a few milliseconds.
LAPTOP = {"layers": 4, "width": 128, "heads": 4, "kv_heads": 4, "feed_forward": 384, "context": 256}
TINY = {"layers": 2, "width": 64, "heads": 2, "kv_heads": 2, "feed_forward": 192, "context": 128}


def header(name: str) -> None:
    command = " ".join(["python -m", f"tests.benchmarks.{name}", *sys.argv[1:]])
    print(f"{date.today()}  {command}")
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{available_cores()} cores {platform.machine()}, Python {platform.python_version()}; load before: {load}\n")
    sys.stdout.flush()


def encode_text(root: Path, vocabulary: int = 2048) -> dict[str, str]:
    """A tokenizer and a token set of Python's own documentation, made as the data stages make them."""
    from models.tokenizers import bpe
    from tasks.artifacts import write_artifact
    from tasks.corpus.documents import SPLITS, Document, to_line
    from tasks.tokenization.encode import encode_corpus

    split, tokenizer, tokens = (root / name for name in ("split", "tokenizer", "tokens"))
    texts = [topics[name] for name in sorted(topics)]
    for folder in (split, tokenizer):
        folder.mkdir(parents=True)
    for name, part in zip(SPLITS, (texts[4:], texts[:2], texts[2:4]), strict=True):
        documents = [
            Document(id=f"{name}/{n}", group=f"{name}/{n}", kind="text", text=text) for n, text in enumerate(part)
        ]
        (split / f"{name}.jsonl").write_text("".join(map(to_line, documents)), encoding="utf-8")
    write_artifact(split, kind="split")
    bpe.save(bpe.fit(texts, vocabulary=vocabulary), tokenizer)
    write_artifact(tokenizer, kind="tokenizer")
    encode_corpus(split, tokenizer, tokens)
    return {"tokens": str(tokens), "tokenizer": str(tokenizer)}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the trained decoder and its batches are; 32-bit floats, so that every machine does the same work."""

    architecture: Mapping[str, int]
    batch_sequences: int

    def job(self, folder: Path, inputs: Mapping[str, str], *, steps: int, checkpoint_steps: int) -> dict[str, Any]:
        training = {
            "steps": steps,
            "batch_sequences": self.batch_sequences,
            "optimizer": {"learning_rate": 1e-2},
            "checkpoint_steps": checkpoint_steps,
        }
        return {
            "folder": str(folder / "run"),
            "out": str(folder / "out"),
            "kind": "pretrained",
            "identity": "b" * 64,
            "seed": 1,
            "config": {"architecture": dict(self.architecture), "training": training},
            "runtime": {"precision": "fp32", "threads": available_cores(), "micro_batch": self.batch_sequences},
            "inputs": dict(inputs),
            "parents": {"tokens": "t" * 64, "tokenizer": "k" * 64},
            "recipe": {},
        }


FULL = Size(architecture=LAPTOP, batch_sequences=16)
SMALL = Size(architecture=TINY, batch_sequences=4)


def run(job: Mapping[str, Any], hooks: Sequence[Any]) -> dict[str, Any]:
    """tasks.training.pretraining:run; leaves a line with the times at which this process was ready for it."""
    entered, age = time.time(), own_age()
    from tasks.training import pretraining

    times = {"process": entered - age, "entered": entered, "imported": time.time()}
    with (Path(job["folder"]) / STARTS_FILE).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"pid": os.getpid(), **times}) + "\n")
    return pretraining.run(job, hooks)


def starts_of(folder: Path) -> list[dict[str, Any]]:
    """A dictionary per process that entered the training, in order: pid, process, entered, imported, first_step."""
    path = folder / STARTS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    starts = [json.loads(line) for line in lines if line.endswith("}")]
    firsts = [line for line in SpoolReader(folder / SPOOL_FILE).read() if "process_age" in line]
    for start in starts:
        own = (first for first in firsts if abs(first["time"] - first["process_age"] - start["process"]) < 0.5)
        first = next(own, None)
        start["first_step"] = None if first is None else first["time"] - first["step_seconds"]
    return starts


def train_bare(job: Mapping[str, Any], **variables: str) -> dict[str, Any]:
    """What the engine alone makes of the job, in a process with the platform's environment but none of its parts.

    Beside what the job returns, `lines`: a dictionary per step, with its time.
    """
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    described = folder / "job.json"
    described.write_text(json.dumps(job), encoding="utf-8")
    environment = child_environment(load_settings(CHECKOUT), {"OMP_NUM_THREADS": str(available_cores()), **variables})
    command = [sys.executable, "-m", "tests.benchmarks.trainings", str(described)]
    finished = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"the bare training failed: {finished.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def main(described: str) -> None:
    from tasks.training import pretraining

    lines: list[dict[str, float]] = []

    def note(state: Any, metrics: Mapping[str, float]) -> None:
        lines.append({"step": state.step, "time": time.time(), "cpu": time.process_time(), **metrics})

    job = json.loads(Path(described).read_text(encoding="utf-8"))
    result = pretraining.run(job, [note])
    print(json.dumps({**result, "lines": lines}))


@contextmanager
def own_workers(root: Path, *, warm: bool = True) -> Iterator[Workers]:
    """Workers with a home of their own below `root`; warm: Ray runs, and the child has imported torch."""
    settings = load_settings(CHECKOUT, root / "home")
    prepare(settings)
    with private_folder() as temporary, Workers(settings, temporary) as workers:
        if warm:
            workers.warm()
            workers.call("tests.benchmarks.trainings:ready", {})
        yield workers


def ready() -> bool:
    """Answered once the child is through with what it was asked before."""
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
