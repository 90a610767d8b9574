"""A small form of tests/benchmarks/scaling.py, against three times its aims: a real slip fails, a busy machine does not."""

from tasks.scaling.parametric import grid
from tests.benchmarks.scaling import rows_of_250, times

PART, SLIP = 10, 3
AIM = {"grid": 30.0, "refits": 60.0}


def test_a_tenth_of_the_grid_and_a_thousand_refits_are_in_time() -> None:
    seconds, refits = times(rows_of_250(), grid()[::PART])
    assert seconds < SLIP * AIM["grid"] / PART
    assert refits < SLIP * AIM["refits"]
