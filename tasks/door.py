"""DVC's door to a stage folder: `python -m PACKAGE STAGE NAME` runs one stage of one data set, in a checkout.

Exit status 2 and one sentence when the settings or the data are wrong.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path


def enter(package: str, stages: Iterable[str], run: Callable[[str, str, Path], None]) -> int:
    """Read the command line and call `run(stage, name, checkout)`; returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=__doc__)
    parser.add_argument("stage", choices=tuple(stages))
    parser.add_argument("name", help="a name of params.yaml")
    options = parser.parse_args()
    try:
        run(options.stage, options.name, Path.cwd())
    except (ValueError, OSError) as error:
        sys.stderr.write(f"ValueError: {error}\n")
        return 2
    return 0
