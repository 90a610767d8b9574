"""What there is to read, and by which rules: the only stage that looks at the outside, each time, in a moment.

It writes a fingerprint of every source and the settings of every stage, one file each; DVC compares these files, so a
changed source re-runs ingest, a changed rule its own stage, and nothing else. No path of this machine is in them.
"""

import platform
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.artifacts import file_sha256
from tasks.corpus.corpora import CorpusConfig
from tasks.corpus.decontaminate import evaluation_files
from tasks.corpus.files import list_files
from tasks.corpus.params import PARAMS_FILE
from tasks.corpus.python_docs import python_fingerprint
from tasks.corpus.sources import SOURCES_FILE, Source
from tasks.corpus.staging import seal, temporary, write_json

TASK_FILES = "task_files.json"


def take_inventory(folder: Path, config: CorpusConfig, checkout: Path, name: str) -> None:
    """inventory/sources.json, inventory/task_files.json and inventory/STAGE.json, of the data set `name`."""
    temporary_folder = temporary(folder)
    write_json(temporary_folder / SOURCES_FILE, [_described(source, checkout) for source in config.sources])
    write_json(temporary_folder / TASK_FILES, _own_tasks(checkout, name))
    for stage, settings in stage_settings(config, checkout).items():
        write_json(temporary_folder / f"{stage}.json", settings)
    seal(temporary_folder, folder, kind="inventory", parents=(), recipe={})


def stage_settings(config: CorpusConfig, checkout: Path) -> dict[str, Any]:
    """What each stage's result depends on beside its input."""
    rules = config.decontaminate
    # pairs, not a mapping: two files in different folders may share a name
    texts = sorted([path.name, file_sha256(path)] for path in evaluation_files(checkout, rules))
    sources = [source.identity() for source in config.sources]
    return {
        "ingest": {"sources": sources, "limits": asdict(config.limits)},
        "clean": asdict(config.clean),
        "deduplicate": asdict(config.deduplicate),
        "decontaminate": {**asdict(rules), "evaluation_texts": texts},
        "redact": asdict(config.redact),
        "split": asdict(config.split),
    }


def _described(source: Source, checkout: Path) -> dict[str, Any]:
    if source.kind == "python":
        return {"name": "python", "version": platform.python_version(), "sha256": python_fingerprint(source)}
    return {"name": source.name, "files": _fingerprints(list_files(source, checkout))}


def _fingerprints(files: Iterable[tuple[str, Path]]) -> list[dict[str, Any]]:
    return [{"name": name, "bytes": path.stat().st_size, "sha256": file_sha256(path)} for name, path in files]


def _own_tasks(checkout: Path, name: str) -> list[dict[str, Any]]:
    """The files that `instructions: NAME: task_files` of params.yaml names, and those of rows that these name in turn.

    One that is not there or no task is said by the stage that reads it.
    """
    from tasks.configuration import read_yaml  # pydantic, behind the loader, is needed only where settings are read

    settings = (read_yaml(checkout / PARAMS_FILE).get("instructions") or {}).get(name) or {}
    found = []
    for path in (checkout / str(each) for each in settings.get("task_files") or ()):
        found.append(path)
        try:
            source = read_yaml(path).get("source")
        except ValueError:
            continue
        if isinstance(source, dict) and "file" in source:
            found.append(path.parent / Path(str(source["file"])).expanduser())
    return _fingerprints([(path.name, path) for path in found if path.is_file()])
