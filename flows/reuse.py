"""What a stage depends on, as one key: inputs, its part of the recipe, the code it can import, and the pins.

A stage is reused when the ledger knows a finished run of the same key and every file of its artifacts still has the
sha256 of its manifest. Nothing here imports torch, Ray or MLflow.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from infra.database import runs
from tasks.artifacts import digest_of, file_sha256, verify

PINNED = ("torch", "transformers", "tokenizers")
SHARED = ("tasks/artifacts.py", "tasks/configuration.py")

# The project's files that a stage's plain code can import: its own folder, those to its left, and models/.
_LEFT = ("models", "tasks/corpus", "tasks/tokenization", "tasks/training")
# how conversations are read from files is no part of it: what was read is an input, by its digest
_KEPT = ("tasks/conversations/conversation.py", "tasks/conversations/kept.py")
_ALIGNMENT = (*_LEFT, "tasks/evaluation", *_KEPT, "tasks/alignment")
CODE: Mapping[str, tuple[str, ...]] = {
    "pretrain": _LEFT,
    "evaluation": (*_LEFT, "tasks/evaluation"),
    "alignment": _ALIGNMENT,
    "release": (*_ALIGNMENT, "tasks/release"),
    # what the sizes are is part of each training's identity itself
    "scaling": (*_LEFT, "tasks/evaluation", "tasks/scaling/grid.py", "tasks/scaling/study.py"),
    "generations": (*_LEFT, "tasks/evaluation", "tasks/generations"),
    # DVC decides about these stages itself; a change merely asks it
    "corpus": ("dvc.yaml", *_LEFT, "tasks/evaluation", "tasks/alignment"),
}


@cache
def code_digest(checkout: Path, part: str) -> str:
    """sha256 over the source files of a part: a comment counts, a file of another part does not."""
    files: dict[str, str] = {}
    for name in (*CODE[part], *SHARED):
        path = checkout / name
        found = [path] if path.is_file() else sorted((*path.rglob("*.py"), *path.rglob("*.yaml")))
        plain = [item for item in found if item.name not in ("steps.py", "app.py")]
        files |= {item.relative_to(checkout).as_posix(): file_sha256(item) for item in plain}
    return digest_of(files)


@cache
def pins() -> dict[str, str]:
    return {name: version(name).split("+")[0] for name in PINNED}


def key_of(checkout: Path, part: str, **depends_on: Any) -> str:
    """One digest of everything a result depends on."""
    return digest_of({"code": code_digest(checkout, part), "pins": pins(), **depends_on})


def find(engine: Any, key: str) -> tuple[dict[str, Any] | None, str]:
    """(the outcome of the latest run with this key and its run id under "run", "") or (None, why not)."""
    found = runs.find_reusable(engine, key)
    if found is None:
        return None, ""
    for artifact in found["artifacts"]:
        intact, reason = verify(Path(artifact["path"]), digest=artifact["digest"])
        if not intact:
            return None, reason
    return {**found["outcome"], "run": found["run_id"]}, ""
