"""Answers that are kept: a file for each cell of an evaluation, found again by its whole identity alone."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.artifacts import canonical_json, digest_of, file_sha256

Identity = Mapping[str, Any]
Examples = list[dict[str, Any]]
PINNED = ("torch", "transformers", "tokenizers")
_TREE = Path(__file__).resolve().parents[2]
# what decides about a prompt, an answer or a figure
CODE = ("models", "tasks/exercises", "tasks/evaluation")


class Cells:
    """A folder of such files. A file is named by a digest, and counts only if it holds the very identity asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, identity: Identity) -> Examples | None:
        try:
            kept = json.loads(self._path(identity).read_text(encoding="utf-8"))
            same = canonical_json(kept["identity"]) == canonical_json(identity)
            return list(kept["examples"]) if same else None
        except (OSError, ValueError, KeyError, TypeError):  # not there, or half written by a machine that went down
            return None

    def keep(self, identity: Identity, examples: Sequence[Mapping[str, Any]]) -> None:
        path = self._path(identity)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"identity": identity, "examples": list(examples)}), encoding="utf-8")
        os.replace(temporary, path)

    def _path(self, identity: Identity) -> Path:
        return self._folder / f"{digest_of(identity)}.json"


@cache
def code_digest() -> str:
    """sha256 over the source files that decide, and the versions of the libraries that compute."""
    found = [path for name in CODE for path in (_TREE / name).rglob("*.py") if path.name not in ("steps.py", "app.py")]
    files = {path.relative_to(_TREE).as_posix(): file_sha256(path) for path in sorted(found)}
    return digest_of({"files": files, "versions": {name: version(name).split("+")[0] for name in PINNED}})
