"""Ends what a run left behind when it was killed: `python -m infra.sweeper FOLDER` waits for its parent's end, then sweeps.

Standard input is a pipe that only the parent holds: it closes however the parent ends. What the parent started carries
FOLDER in its environment; a parent that ended well has removed the folder, and there is nothing to do.
"""

import shutil
import signal
import sys
from pathlib import Path


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    folder = Path(sys.argv[1])
    sys.stdin.buffer.read()
    if folder.exists():
        from infra.processes import end_marked

        end_marked(folder)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
