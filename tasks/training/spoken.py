"""What a model wrote while it was trained, as it lies in the training's folder; torch is not needed to read it."""

import json
from pathlib import Path
from typing import Any

SAMPLES_FILE = "samples.jsonl"


def read_samples(folder: Path) -> list[dict[str, Any]]:
    """What was kept, the last of each (step, prompt); a resumed training writes some of them twice."""
    path = folder / SAMPLES_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return list({(record["step"], record["prompt"]): record for record in records}.values())
