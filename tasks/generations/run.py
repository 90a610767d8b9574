"""The worker's function: one model of the table, from fresh weights (or counts) to its row."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tasks.generations import text as texts
from tasks.generations.catalogue import ROW_FILE
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
    )
    torch.manual_seed(work.seed)
    record = METHODS[job["model"]](work).record()
    temporary = folder / f"{ROW_FILE}.tmp"
    temporary.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    temporary.replace(folder / ROW_FILE)
    return record


def prepare(files: Mapping[str, str], folder: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Cut the three files into `folder` (made whole or not at all) and say what was found."""
    final = Path(folder)
    found = texts.cut({name: Path(path) for name, path in files.items()}, texts.TextConfig(**config))
    temporary = final.with_name(final.name + ".tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    texts.save(found, temporary)
    temporary.replace(final)
    return {
        "level": found.level,
        "vocabulary": found.vocabulary,
        "lossless": found.is_lossless,
        "splits": {
            name: {"pieces": len(split.ids), "bytes": split.bytes, "unknown": split.unknown}
            for name, split in found.splits.items()
        },
    }
