"""The split of the wall time, worked by hand; times are seconds since the call began, at 1000."""

from typing import Any

import pytest

from tasks.training.goodput import Goodput, checkpoint_interval, split

BEGAN = 1000.0


def line(step: int, at: float, seconds: float = 2.0, **more: float) -> dict[str, Any]:
    return {"step": step, "time": BEGAN + at, "step_seconds": seconds, **more}


def table(lines: list[dict[str, Any]], ended: float) -> dict[str, float]:
    """What is not 0."""
    found = split(lines, BEGAN, BEGAN + ended)
    assert found.wall == pytest.approx(ended, rel=0.02)
    return {name: value for name, value in found.figures().items() if value and name not in ("wall_seconds", "share")}


def test_an_unbroken_training() -> None:
    """Ordered at 0, process at 3, first step from 8 to 10; a checkpoint's wait of 1 s, a sample of 1 s, 4 s of sealing."""
    lines = [
        line(1, 10, process_age=7.0),
        line(2, 12),
        line(3, 15, checkpoint_seconds=1.0),  # 12 to 13 waited, 13 to 15 the step
        line(4, 18),  # 15 to 16 a sample was written
    ]
    assert table(lines, 22) == {
        "productive_seconds": 8.0,
        "checkpoint_seconds": 1.0,
        "start_up_seconds": 8.0,
        "other_seconds": 1.0,
        "tail_seconds": 4.0,
    }
    assert split(lines, BEGAN, BEGAN + 22).share == pytest.approx(8 / 22)


def test_a_killed_process_loses_the_steps_since_its_checkpoint_and_its_unfinished_one() -> None:
    """Killed at 13 in step 4, checkpoint of step 2; the next process is started at 15 and makes its first step from 20."""
    lines = [line(1, 6, process_age=5.0), line(2, 8), line(3, 12), line(3, 22, process_age=7.0), line(4, 24)]
    assert table(lines, 24) == {
        "productive_seconds": 8.0,  # 1, 2, the second 3, 4
        "recomputed_seconds": 2.0,  # the first 3
        "start_up_seconds": 4.0 + 5.0,
        "other_seconds": 2.0,  # 8 to 10
        "dead_seconds": 3.0,  # 12 to 15
    }


def test_a_rollback_is_recomputed_and_so_is_a_step_that_was_left_out() -> None:
    """Step 3 was left out, 4 went wrong: back to the checkpoint of 2, read in 1 s; then 3 and 4 of other batches."""
    lines = [
        line(1, 4, process_age=4.0),
        line(2, 6),
        line(3, 8, skipped=1.0),
        line(4, 10, skipped=1.0),
        line(3, 13),
        line(4, 15),
    ]
    assert table(lines, 15) == {
        "productive_seconds": 8.0,
        "recomputed_seconds": 4.0,
        "start_up_seconds": 2.0,
        "other_seconds": 1.0,
    }
    left_out = [line(1, 4, process_age=4.0), line(2, 6, skipped=1.0), line(3, 8)]
    assert table(left_out, 8) == {"productive_seconds": 4.0, "recomputed_seconds": 2.0, "start_up_seconds": 2.0}


def test_a_process_that_resumed_before_what_the_one_before_it_had_reached_loses_all_beyond() -> None:
    """The first reached step 4, the second resumed from 1 and died after 2, the third goes on from there and ends at 3."""
    lines = [
        *[line(step, 2 + 2 * step, process_age=4.0) if step == 1 else line(step, 2 + 2 * step) for step in (1, 2, 3)],
        line(4, 10),
        line(2, 16, process_age=4.0),
        line(3, 22, process_age=4.0),
    ]
    assert table(lines, 22) == {
        "productive_seconds": 6.0,  # 1, the second 2, the second 3
        "recomputed_seconds": 6.0,  # the first 2, 3 and 4
        "start_up_seconds": 2.0 + 2.0 + 2.0,
        "dead_seconds": 2.0 + 2.0,
    }


def test_lines_of_an_earlier_call_are_not_this_ones() -> None:
    """Broken off after step 3 an hour ago; this call went on from step 1 and made 2 and 3."""
    lines = [line(step, -3600.0 + step) for step in (1, 2, 3)]
    lines += [line(2, 8, process_age=6.0), line(3, 10)]
    assert table(lines, 11) == {"productive_seconds": 4.0, "start_up_seconds": 6.0, "tail_seconds": 1.0}
    whole = split(lines, BEGAN - 3600.0, BEGAN + 11)
    assert whole.wall == pytest.approx(3611.0)
    assert whole.dead == pytest.approx(3597.0 + 2.0)  # from step 3 to the start of the process that went on
    assert whole.recomputed == pytest.approx(2.0)


def test_no_line_at_all_is_start_up_and_clocks_that_disagree_still_add_up() -> None:
    assert table([], 5) == {"start_up_seconds": 5.0}
    assert split([], BEGAN, BEGAN) == Goodput()
    assert Goodput().share == 0.0
    lines = [
        line(1, 1, seconds=9.0, process_age=0.0),  # the step is longer than there was time for
        line(2, 4, checkpoint_seconds=50.0),
        line(3, 3),  # the clock was set back
        line(3, 6, process_age=100.0),
    ]
    assert split(lines, BEGAN, BEGAN + 8).wall == pytest.approx(8.0)


def test_the_interval_between_checkpoints_is_young_and_daly_s() -> None:
    assert checkpoint_interval(1.0, 60.0) == pytest.approx(10.95, rel=1e-3)
    assert checkpoint_interval(0.5, 180.0) == pytest.approx(13.4164, rel=1e-4)
    with pytest.raises(ValueError, match="must be above 0"):
        checkpoint_interval(0.0, 60.0)


def test_figures_are_json_and_name_their_unit() -> None:
    figures = Goodput(productive=8.0, tail=2.0).figures()
    assert (figures["productive_seconds"], figures["tail_seconds"], figures["wall_seconds"]) == (8.0, 2.0, 10.0)
    assert figures["share"] == 0.8
