"""The small form of the punisher: two faults on one training of a few seconds; time shares are shown, not judged."""

from itertools import islice
from pathlib import Path

import pytest

from tests.benchmarks.punisher import Fault, Punished, punish, random_faults, said
from tests.benchmarks.trainings import SMALL, encode_text, own_workers, train_bare

STEPS, CHECKPOINT_STEPS = 200, 10


def test_killed_twice_with_a_checkpoint_damaged_it_ends_with_the_bytes_of_the_bare_engine(tmp_path: Path) -> None:
    inputs = encode_text(tmp_path / "data", vocabulary=400)
    faults = [Fault(kind="kill", step=45), Fault(kind="kill, checkpoint damaged", step=95)]
    bare, job = (
        SMALL.job(tmp_path / name, inputs, steps=STEPS, checkpoint_steps=CHECKPOINT_STEPS)
        for name in ("bare", "punished")
    )
    with own_workers(tmp_path, warm=False) as workers:
        found = punish(workers, job, faults)
    unbroken = train_bare(bare)
    print("\n".join(said(found, None)))
    assert [kind for _, kind in found.done] == [fault.kind for fault in faults]
    assert found.result["artifact"]["digest"] == unbroken["artifact"]["digest"]
    assert list((found.folder / "checkpoints").glob("damaged-*"))
    adds_up(found)


def test_each_period_has_one_fault_at_a_moment_of_its_own() -> None:
    faults = list(islice(random_faults(60.0), 8))
    assert [int(fault.seconds // 60) for fault in faults] == list(range(8))
    assert len({fault.seconds % 60 for fault in faults}) == 8


def adds_up(found: Punished) -> None:
    goodput = found.goodput
    assert goodput.wall == pytest.approx(found.ended - found.began, rel=0.02)
    assert min(goodput.productive, goodput.recomputed, goodput.start_up, goodput.dead, goodput.tail) > 0
    ways = found.ways_back()
    assert len(ways) == 2
    lost = goodput.dead + goodput.start_up  # the first start is in it too
    assert sum(sum(way.values()) for way in ways) < lost + 1.0
