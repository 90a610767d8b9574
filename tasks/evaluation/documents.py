"""An evaluation on disk: a folder named by its identity, with document.json and examples.jsonl.

document.json   {"identity", "model": {"name", "digest", "path"}, "suite", "rows": [ROW, ...],
                 "made": {"date", "command", "commit", "machine", "seconds"}}
ROW             {"benchmark", "shots", "mode", "metric", "value", "low", "high", "n", "unparsed", "unparsed_share",
                 "identity": {"task", "shots", "template", "decoding", "data", "model", "code"}}, and what a suite adds
examples.jsonl  a line an item: {"benchmark", "shots", "mode", "id", "prompt", "completion", "extracted", "gold",
                 "verdict", "reason", "scores": {METRIC: number}}
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.artifacts import digest_of, publish

DOCUMENT_FILE, EXAMPLES_FILE = "document.json", "examples.jsonl"
NAME_CHARACTERS = 16
ROW_KEYS = (
    "benchmark",
    "shots",
    "mode",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "unparsed",
    "unparsed_share",
    "identity",
)
WHAT_A_ROW_IS = ("benchmark", "shots", "mode", "metric", "identity")  # the rest is what was found

Document = dict[str, Any]


def identity_of(suite: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A digest of what was asked of which model and how, never of what came out, of a path or of a time."""
    asked = [{name: row[name] for name in WHAT_A_ROW_IS} for row in rows]
    return digest_of({"suite": suite, "rows": asked})


def folder_of(evaluations: Path, identity: str) -> Path:
    return evaluations / identity[:NAME_CHARACTERS]


def write_document(evaluations: Path, document: Mapping[str, Any], examples: Iterable[Mapping[str, Any]]) -> Path:
    """The folder that holds both; an older one of the same identity is replaced whole."""
    _check(document)
    folder = folder_of(evaluations, document["identity"])
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    with (temporary / EXAMPLES_FILE).open("w", encoding="utf-8") as stream:
        # escapes: a lone half of a character in somebody's text can be written
        stream.writelines(json.dumps(each) + "\n" for each in examples)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (temporary / DOCUMENT_FILE).write_text(text + "\n", encoding="utf-8")
    publish(temporary, folder)
    return folder


def read_document(folder: Path) -> Document:
    """ValueError where there is none, or one whose identity is not that of its rows."""
    path = folder / DOCUMENT_FILE
    try:
        document = dict(json.loads(path.read_text(encoding="utf-8")))
        _check(document)
    except (OSError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: no evaluation there ({error}); make it with `espalier evaluate MODEL`") from error
    return document


def read_examples(folder: Path) -> Iterator[dict[str, Any]]:
    with (folder / EXAMPLES_FILE).open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def find_document(evaluations: Path, identity: str) -> Document | None:
    """The evaluation of exactly this identity, or None; what is damaged counts as not there."""
    try:
        document = read_document(folder_of(evaluations, identity))
    except ValueError:
        return None
    return document if document["identity"] == identity else None


def _check(document: Mapping[str, Any]) -> None:
    for row in document["rows"]:
        missing = [name for name in ROW_KEYS if name not in row]
        if missing:
            raise ValueError(f"a row of {row.get('benchmark', 'no benchmark')} lacks {', '.join(missing)}")
    if identity_of(document["suite"], document["rows"]) != document["identity"]:
        raise ValueError("its identity is not that of its rows")
