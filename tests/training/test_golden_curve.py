"""The losses of a whole tiny training are what they were: a change of the model, data order, loss or optimizer shows here.

They are no machine's own. On an AVX-512 machine all 120 were within 3e-6 (relative) of the same with ATEN_CPU_CAPABILITY
default and avx2, with MKL_CBWR=COMPATIBLE, and with ONEDNN_MAX_CPU_ISA=SSE41 besides; equal to the bit on two threads.
"""

import json
from pathlib import Path

import pytest
from golden_curve import GOLDEN, losses


def test_a_training_is_what_it_was_and_twice_the_same_to_the_bit(tmp_path: Path) -> None:
    first, second = losses(tmp_path / "first"), losses(tmp_path / "second")
    assert [loss.hex() for loss in first] == [loss.hex() for loss in second]
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len(first) == len(golden["losses"]) == 120
    assert first == pytest.approx(golden["losses"], rel=1e-3), f"see {golden['command']}"
    assert first[-1] < 0.3 * first[0]
