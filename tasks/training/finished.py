"""The record of a finished training: one file that is whole or not there, and that counts for that training alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_record(path: Path, identity: str) -> dict[str, Any] | None:
    """What was measured; None where nothing was yet, or of another training."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("identity") == identity else None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """`record` has its "identity"; written last, when all else of the training is done."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(path)
