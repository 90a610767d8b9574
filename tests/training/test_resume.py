"""Killed and started again, a training ends in the same bytes as one that nobody touched."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_training import CHECKPOINT_STEPS, STEPS, Notes, SignalAt, read_notes, run_apart, start_apart, train_tiny

from tasks.training.checkpoints import Checkpoints
from tasks.training.lease import LEASE_FILE, Lease, start_mark

FINAL = f"step-{STEPS:08d}"
needs_start_marks = pytest.mark.skipif(
    not start_mark(os.getpid()), reason="this system does not say when a process was started"
)


def straight(folder: Path, precision: str, kind: str) -> None:
    train_tiny(folder, precision=precision, kind=kind, hooks=[Notes(folder.with_suffix(".notes"))])


def killed(folder: Path, precision: str, kind: str, step: int) -> None:
    hooks = [Notes(folder.with_suffix(".notes")), SignalAt(step)]
    train_tiny(folder, precision=precision, kind=kind, hooks=hooks)


def weights(folder: Path) -> dict[str, bytes]:
    names = ("model.safetensors", "optimizer.safetensors")
    return {name: (folder / FINAL / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """unbroken("fp32", "muon") -> the folder of a training that ran from its first step to its last, made once."""
    made: dict[tuple[str, str], Path] = {}

    def make(precision: str, kind: str) -> Path:
        if (precision, kind) not in made:
            made[precision, kind] = tmp_path_factory.mktemp("unbroken") / "run"
            assert run_apart(straight, made[precision, kind], precision, kind) == 0
        return made[precision, kind]

    return make


@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_killed_and_resumed_is_never_stopped(
    unbroken: Callable[[str, str], Path], tmp_path: Path, precision: str, kind: str
) -> None:
    """Killed between two checkpoints, then in the first step after one; every step's metrics are the unbroken run's."""
    whole, folder = unbroken(precision, kind), tmp_path / "run"
    for step in (CHECKPOINT_STEPS + 2, 2 * CHECKPOINT_STEPS + 1):
        assert run_apart(killed, folder, precision, kind, step) == -signal.SIGKILL
    assert run_apart(straight, folder, precision, kind) == 0
    assert weights(folder) == weights(whole)
    notes = read_notes(folder.with_suffix(".notes"))
    assert [note["step"] for note in notes] == [1, 2, 3, 4, 5, 6, 5, 6, 7, 8, 9, 9, 10]
    expected = {note["step"]: note for note in read_notes(whole.with_suffix(".notes"))}
    for note in notes:
        for name in ("loss", "gradient_norm", "learning_rate"):
            assert note[name] == expected[note["step"]][name]


def test_the_choices_do_change_the_weights(unbroken: Callable[[str, str], Path]) -> None:
    """Else equal bytes would say nothing."""
    made = [weights(unbroken(precision, kind)) for precision in ("fp32", "bf16") for kind in ("muon", "adamw")]
    assert len({each["model.safetensors"] for each in made}) == 4


def test_two_runs_are_one(unbroken: Callable[[str, str], Path], tmp_path: Path) -> None:
    assert run_apart(straight, tmp_path / "run", "bf16", "muon") == 0
    whole = unbroken("bf16", "muon")
    assert weights(tmp_path / "run") == weights(whole)
    losses = [note["loss"] for note in read_notes(whole.with_suffix(".notes"))]
    assert losses == [note["loss"] for note in read_notes((tmp_path / "run").with_suffix(".notes"))]
    assert losses[-1] < 0.95 * losses[0]  # it learns, too


def leased(folder: Path, step: int, number: int) -> None:
    hooks = [SignalAt(step, number)] if step else []
    try:
        train_tiny(folder / "checkpoints", lease=Lease(folder), hooks=hooks)
    except ValueError as error:
        (folder / f"refused-{os.getpid()}").write_text(str(error), encoding="utf-8")
        raise SystemExit(3) from error


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] in "Tt"


@needs_start_marks
def test_a_run_ends_the_one_that_held_the_folder(unbroken: Callable[[str, str], Path], tmp_path: Path) -> None:
    """The first one sleeps in its sixth step; it is gone before the second one looks for a checkpoint."""
    first = start_apart(leased, tmp_path, 6, signal.SIGSTOP)
    wait_for(lambda: is_stopped(first.pid))
    assert run_apart(leased, tmp_path, 0, 0) == 0
    first.join(10)
    assert first.exitcode == -signal.SIGKILL
    assert weights(tmp_path / "checkpoints") == weights(unbroken("fp32", "muon"))


@needs_start_marks
def test_a_stale_run_that_wakes_up_writes_nothing(unbroken: Callable[[str, str], Path], tmp_path: Path) -> None:
    """As if it slept on another machine, where the second run cannot end it; its checkpoint of step 8 is refused."""
    first = start_apart(leased, tmp_path, 7, signal.SIGSTOP)
    wait_for(lambda: is_stopped(first.pid))
    lease = tmp_path / LEASE_FILE
    lease.write_text(lease.read_text(encoding="utf-8").replace(start_mark(first.pid), "elsewhere"), encoding="utf-8")
    assert run_apart(leased, tmp_path, 0, 0) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")}
    os.kill(first.pid, signal.SIGCONT)
    first.join(60)
    assert first.exitcode == 3
    assert "holds this training now; a stale process must not write" in (tmp_path / f"refused-{first.pid}").read_text(
        encoding="utf-8"
    )
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")}
    assert {path: at for path, at in after.items() if ".tmp" not in str(path) and path.is_file()} == {
        path: at for path, at in before.items() if path.is_file()
    }
    assert weights(tmp_path / "checkpoints") == weights(unbroken("fp32", "muon"))
    Checkpoints(tmp_path / "checkpoints", identity="tiny")
    assert not list((tmp_path / "checkpoints").glob("*.tmp"))


def test_a_damaged_newest_checkpoint_costs_steps_but_no_bytes(
    unbroken: Callable[[str, str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert run_apart(killed, folder, "fp32", "muon", 9) == -signal.SIGKILL
    newest = folder / "step-00000008" / "optimizer.safetensors"
    os.truncate(newest, newest.stat().st_size - 1)
    assert run_apart(straight, folder, "fp32", "muon") == 0
    steps = [note["step"] for note in read_notes(folder.with_suffix(".notes"))]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 10]
    assert weights(folder) == weights(unbroken("fp32", "muon"))
    assert (folder / "damaged-step-00000008").is_dir()


def test_the_steps_of_the_optimizer_are_kept(unbroken: Callable[[str, str], Path]) -> None:
    """Adam's bias correction counts them: forgotten, a resumed run would take giant steps."""
    kept = load_file(unbroken("fp32", "adamw") / FINAL / "optimizer.safetensors")
    assert int(kept["steps"]) == STEPS
