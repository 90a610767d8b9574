"""How often a lost worker is started again, and what another rank's error does."""

from pathlib import Path

import pytest

from infra import attempts
from infra.spool import SPOOL_FILE
from tasks.training.machine import Runtime


def _step(folder: Path, step: int) -> None:
    with (folder / SPOOL_FILE).open("a", encoding="utf-8") as stream:
        stream.write(f'{{"step": {step}, "time": 1.0}}\n')


def test_it_may_be_lost_as_often_as_it_makes_steps_between(tmp_path: Path) -> None:
    for step in range(1, 20):
        attempts.count(tmp_path)
        _step(tmp_path, step)


def test_lost_three_times_without_a_step_it_ends_with_what_is_known(tmp_path: Path) -> None:
    _step(tmp_path, 7)
    for _ in range(attempts.LOST_WITHOUT_A_STEP):
        attempts.count(tmp_path)
    with pytest.raises(attempts.NoProgress, match=r"lost 3 times without a step between, after step 7; it was killed"):
        attempts.count(tmp_path)
    (tmp_path / "stacks-rank0-11.txt").touch()  # of a process that was killed
    (tmp_path / "stacks-rank1-12.txt").write_text("Thread")
    with pytest.raises(attempts.NoProgress, match=r"it hung, its stacks are in .*stacks-rank1-12\.txt"):
        attempts.count(tmp_path)
    attempts.forget(tmp_path)
    attempts.count(tmp_path)


def test_what_another_rank_told_is_the_outcome(tmp_path: Path) -> None:
    outcome = {"error": {"kind": "ValueError", "message": "wrong", "exit_status": None}}
    attempts.tell(tmp_path, 1, outcome)
    assert attempts.told(tmp_path) == outcome
    attempts.forget(tmp_path)
    assert attempts.told(tmp_path) is None


def test_errors_of_the_process_group_are_told_from_others() -> None:
    assert attempts.is_of_the_group(RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer"))
    assert not attempts.is_of_the_group(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not attempts.is_of_the_group(ValueError("gloo"))


def test_the_process_group_waits_for_the_engines_watchdog() -> None:
    """Two sides that import nothing of each other have one default."""
    assert Runtime().hang_seconds == attempts.HANG_SECONDS
