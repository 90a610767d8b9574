"""Memory stays bounded however long the text is: measured as the peak of a process of its own."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.corpus.__main__ import STAGES

CHECKOUT = Path(__file__).resolve().parents[2]

# VmHWM is of this program alone; ru_maxrss, where there is no /proc, may be inherited from the one that started it.
PEAK = """
import resource, sys
from pathlib import Path
from tasks.corpus.__main__ import run
for stage in sys.argv[1:]:
    run(stage, "own", Path.cwd())
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
print(found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_bytes(checkout: Path, *stages: str) -> int:
    result = subprocess.run(
        [sys.executable, "-c", PEAK, *stages],
        cwd=checkout, env={"PYTHONPATH": str(CHECKOUT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(result.stdout)


def test_two_hundred_megabytes_are_read_in_a_hundred(checkout: Callable[..., Any], tmp_path: Path) -> None:
    block = "".join(f"Paragraph {number} of a text that does not end.\n\n" for number in range(20_000)).encode()
    with (tmp_path / "long.txt").open("wb") as stream:
        for _ in range(230):
            stream.write(block)
    own = checkout(tmp_path / "long.txt")
    size = (tmp_path / "long.txt").stat().st_size
    assert size > 200_000_000
    assert peak_bytes(own.folder, "inventory", "ingest") < 130_000_000
    assert own.counts("ingest")["kept"] > 40_000
    (tmp_path / "long.txt").unlink()


def test_all_stages_hold_less_than_the_text(checkout: Callable[..., Any], tmp_path: Path) -> None:
    chance = random.Random(5)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(5000)]
    files = tmp_path / "files"
    files.mkdir()
    (files / "few.txt").write_text("\n\n".join(" ".join(chance.choices(words, k=500)) for _ in range(30)))
    least = peak_bytes(checkout(files, limits={"group_bytes": 8192}).folder, *STAGES)
    for number in range(16):
        text = "\n\n".join(" ".join(chance.choices(words, k=500)) for _ in range(290))
        (files / f"{number}.txt").write_text(text)
    own = checkout(files)
    more = peak_bytes(own.folder, *STAGES) - least
    assert more < 13_000_000
    size = sum(path.stat().st_size for path in files.iterdir())
    assert size > 16_000_000
    assert own.counts("split")["kept"] > 2000
