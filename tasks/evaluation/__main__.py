"""DVC's door: `python -m tasks.evaluation baseline NAME` counts the n-grams of a token set, in a checkout.

Exit status 2 and one sentence when the settings or the data are wrong.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from tasks.artifacts import read_artifact
from tasks.corpus.staging import seal, temporary
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tasks.evaluation", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("name", help="a name of params.yaml")
    options = parser.parse_args()
    try:
        STAGES[options.stage](options.name, Path.cwd())
    except (ValueError, OSError) as error:
        sys.stderr.write(f"ValueError: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
