"""The worker's function: one model of the table, from fresh weights (or counts) to its row."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tasks.generations import text as texts
from tasks.generations.catalogue import FOUND_FILE, ROW_FILE
from tasks.generations.labelled import read_labelled
from tasks.generations.methods import METHODS
from tasks.generations.work import Work
from tasks.training.engine import Hook
from tasks.training.job import of_record
from tasks.training.machine import Runtime


def run(job: Mapping[str, Any], hooks: Sequence[Hook]) -> dict[str, Any]:
    """Reads `text` (what texts.save wrote), trains `model` for about `seconds` in `folder`, leaves the row there too."""
    folder = Path(job["folder"])
    work = Work(
        text=texts.load(Path(job["text"])),
        folder=folder,
        seconds=float(job["seconds"]),
        seed=int(job["seed"]),
        runtime=of_record(Runtime, job["runtime"]),
        hooks=hooks,
        labelled=read_labelled(Path(job["labelled"])) if job.get("labelled") else None,
    )
    torch.manual_seed(work.seed)
    record = METHODS[job["model"]](work).record()
    temporary = folder / f"{ROW_FILE}.tmp"
    temporary.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    temporary.replace(folder / ROW_FILE)
    return record


def prepare(files: Mapping[str, str], folder: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Cut the three files into `folder`, which is whole or not there, and say what was found, there too."""
    final = Path(folder)
    found = texts.cut({name: Path(path) for name, path in files.items()}, texts.TextConfig(**config))
    said = {
        "level": found.level,
        "vocabulary": found.vocabulary,
        "lossless": found.is_lossless,
        "splits": {
            name: {"pieces": len(split.ids), "bytes": split.bytes, "unknown": split.unknown}
            for name, split in found.splits.items()
        },
    }
    temporary = final.with_name(final.name + ".tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    texts.save(found, temporary)
    (temporary / FOUND_FILE).write_text(json.dumps(said), encoding="utf-8")
    temporary.replace(final)
    return said
