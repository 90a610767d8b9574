"""DVC's door: `python -m tasks.evaluation baseline NAME` counts the n-grams of a token set, in a checkout."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from tasks.artifacts import read_artifact
from tasks.corpus.staging import seal, temporary
from tasks.door import enter
from tasks.evaluation.baseline import BaselineConfig, count


def baseline(name: str, checkout: Path) -> None:
    """tokens/ -> baseline/."""
    data = checkout / ".espalier" / "data" / name
    config = BaselineConfig()
    folder = data / "baseline"
    temporary_folder = temporary(folder)
    count(data / "tokens", temporary_folder, config)
    parents = [read_artifact(data / "tokens").digest]
    seal(temporary_folder, folder, kind="baseline", parents=parents, recipe=asdict(config))


STAGES: Mapping[str, Callable[[str, Path], None]] = {"baseline": baseline}


if __name__ == "__main__":
    raise SystemExit(enter("tasks.evaluation", STAGES, lambda stage, name, checkout: STAGES[stage](name, checkout)))
