"""What a model wrote while it was trained, as it lies in the training's folder; torch is not needed to read it."""

import json
from pathlib import Path
from typing import Any

SAMPLES_FILE = "samples.jsonl"


def read_samples(folder: Path) -> list[dict[str, Any]]:
    """What was kept, the last of each (step, prompt); a resumed training writes some of them twice."""
    path = folder / SAMPLES_FILE
    # bytes and their line ends alone: a young model also says U+2028 and others that end a line of text
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    records = [record for line in lines if (record := _parsed(line)) is not None]
    return list({(record["step"], record["prompt"]): record for record in records}.values())


def _parsed(line: bytes) -> dict[str, Any] | None:
    """None for what a killed writer left of a line, and for what was written behind it."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        return None
