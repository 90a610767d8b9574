"""A machine that is too small, too slow, stuck, or not the one it was: named, survived where it can be, never silent."""

import os
import resource
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from test_engine_state import Rounds
from tiny_training import CHECKPOINT_STEPS, STEPS, Notes, StopAt, read_notes, run_apart, tiny_model, train_tiny
from torch import nn

from tasks.training import checkpoints as checkpoint_files
from tasks.training import engine
from tasks.training.batches import Batch
from tasks.training.checkpoint_writer import CheckpointWriter
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Preempted
from tasks.training.gradients import OutOfMemory, is_out_of_memory
from tasks.training.objectives import Loss, NextToken
from tasks.training.watchdog import Watchdog

FINAL = f"step-{STEPS:08d}"


class Hungry(NextToken):
    """After its second step it takes a hundred megabytes for every row, and gives them back; a hook of itself."""

    def __init__(self) -> None:
        self._steps = 0

    def __call__(self, state: Any, _metrics: Mapping[str, float]) -> None:
        self._steps = state.step

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        if self._steps >= 2:
            torch.ones(len(batch), 25_000_000)
        return super().loss(module, batch)


def virtual_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()


def train_in_little_memory(folder: Path, megabytes: int) -> None:
    module = tiny_model()
    torch.ones(8, 1000).sum()
    most = virtual_bytes() + megabytes * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    try:
        hungry = Hungry()
        outcome = train_tiny(folder, micro_batch=8, module=module, objective=hungry, hooks=[hungry])
        said, micro_batch = "\n".join(outcome.events), outcome.decided.micro_batch
    except OutOfMemory as error:
        said, micro_batch = str(error), 0
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    folder.with_suffix(".said").write_text(f"{micro_batch}\n{said}", encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not say how large a process is")
def test_out_of_memory_it_takes_half_the_micro_batch_once(tmp_path: Path) -> None:
    """The system's own allocator refuses: eight rows in 650 MB, then four, which fit; in 250 MB four do not fit either."""
    assert run_apart(train_in_little_memory, tmp_path / "half", 650) == 0
    micro_batch, said = (tmp_path / "half.said").read_text(encoding="utf-8").split("\n", 1)
    assert micro_batch == "4"
    assert (
        said == "step 3: micro-batches of 8 sequences do not fit into the memory; they are half as large from here on"
    )
    assert (tmp_path / "half" / FINAL).is_dir()
    assert run_apart(train_in_little_memory, tmp_path / "none", 250) == 0
    said = (tmp_path / "none.said").read_text(encoding="utf-8")
    assert (
        "out of memory in step 3: micro-batches of 4 sequences do not fit into the memory, and they were halved" in said
    )
    assert not (tmp_path / "none" / FINAL).exists()


class Crowded(NextToken):
    def __init__(self, most_rows: int) -> None:
        self._most = most_rows

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        if len(batch) > self._most:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory"
            )
        return super().loss(module, batch)


def test_half_the_micro_batch_is_the_same_training(tmp_path: Path) -> None:
    """The same global batch, to the byte of a training that had the smaller pieces from the start."""
    halved = train_tiny(tmp_path / "halved", micro_batch=8, objective=Crowded(4))
    assert (halved.decided.micro_batch, halved.decided.halved) == (4, True)
    train_tiny(tmp_path / "small", micro_batch=4)
    for name in ("model.safetensors", "optimizer.safetensors"):
        small = (tmp_path / "small" / FINAL / name).read_bytes()
        assert (tmp_path / "halved" / FINAL / name).read_bytes() == small


def test_a_single_row_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory, match="micro-batches of 1 sequences do not fit"):
        train_tiny(tmp_path, micro_batch=1, objective=Crowded(0))


def test_only_a_lack_of_memory_is_called_so() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))


class Stuck:
    """A hook that never comes back from a step."""

    def __call__(self, state: Any, _metrics: Mapping[str, float]) -> None:
        if state.step == CHECKPOINT_STEPS + 2:
            while_true_sleeps()


def while_true_sleeps() -> None:
    threading.Event().wait()


def hang(folder: Path, stuck: bool) -> None:
    with Watchdog(folder, rank=0, seconds=5.0) as watchdog:
        train_tiny(folder / "run", hooks=[watchdog, *([Stuck()] if stuck else [])])


def test_a_hang_ends_with_its_stacks_kept_and_can_be_resumed(tmp_path: Path) -> None:
    started = time.monotonic()
    assert run_apart(hang, tmp_path, True) == 1
    assert time.monotonic() - started < 60
    (stacks,) = tmp_path.glob("stacks-rank0-*.txt")
    text = stacks.read_text(encoding="utf-8")
    assert "Timeout" in text
    assert "while_true_sleeps" in text
    assert run_apart(hang, tmp_path, False) == 0
    assert list(tmp_path.glob("stacks-*.txt")) == [stacks]  # a training that ends leaves none
    train_tiny(tmp_path / "whole")
    whole = (tmp_path / "whole" / FINAL / "model.safetensors").read_bytes()
    assert (tmp_path / "run" / FINAL / "model.safetensors").read_bytes() == whole


def test_a_watchdog_of_no_seconds_watches_nothing(tmp_path: Path) -> None:
    with Watchdog(tmp_path, rank=0, seconds=0) as watchdog:
        watchdog(None, {})
    assert not list(tmp_path.iterdir())


def test_a_slow_disk_delays_the_checkpoints_and_not_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fsync takes a fifth of a second, a checkpoint a second and a half; never are two under way."""
    under_way: list[int] = []
    sync = checkpoint_files._sync

    def slow(path: Path) -> None:
        under_way.append(sum(thread.name == "checkpoint" for thread in threading.enumerate()))
        time.sleep(0.2)
        sync(path)

    monkeypatch.setattr(checkpoint_files, "_sync", slow)
    notes = Notes(tmp_path / "notes")
    train_tiny(tmp_path / "run", steps=12, checkpoint_steps=3, hooks=[notes])
    assert max(under_way) == 1
    seen = read_notes(tmp_path / "notes")
    assert [note["step"] for note in seen] == list(range(1, 13))
    waits = [note["checkpoint_seconds"] for note in seen if note.get("checkpoint_seconds", 0) > 0.2]
    assert 1 <= len(waits) <= 3  # only a checkpoint that is due while another is written waits for it
    monkeypatch.undo()
    train_tiny(tmp_path / "whole", steps=12, checkpoint_steps=3)
    for step in (9, 12):
        name = f"step-{step:08d}/model.safetensors"
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_written_is_the_step_that_was_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next step may change the weights while the thread has not begun to write."""
    begin = threading.Event()
    checkpoints = Checkpoints(tmp_path, identity="tiny")
    save = checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda *given: (begin.wait(10), save(*given)))
    writer, weights = CheckpointWriter(checkpoints), torch.zeros(4)
    writer.submit(1, {"model": {"weights": weights}}, {})
    weights.add_(1)
    begin.set()
    assert writer.wait() == ""
    saved = checkpoints.latest()
    assert saved is not None
    assert torch.equal(saved.tensors["model"]["weights"], torch.zeros(4))


def test_without_a_boundary_in_time_it_stops_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked it to stop kills half a minute later: the round it is in is lost, and said to be."""
    monkeypatch.setattr(engine, "STOP_PATIENCE_SECONDS", 0.0)
    with pytest.raises(Preempted, match=r"stopped at step 4 of 9; it goes on from the checkpoint before"):
        train_tiny(tmp_path, steps=9, checkpoint_steps=3, batches=Rounds(), hooks=[StopAt(4)])
    assert train_tiny(tmp_path, steps=9, checkpoint_steps=3, batches=Rounds()).resumed_at == 3


def test_too_small_a_disk_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"100000000 checkpoints and one being written need .* MB are free; make room"):
        train_tiny(tmp_path, kept_checkpoints=100_000_000, hooks=[lambda *_: pytest.fail("a step was made")])


def in_environment(folder: Path, allow: bool = False, **environment: str) -> Checkpoints:
    return Checkpoints(folder, identity="tiny", environment=environment, allow_change=allow)


def test_other_packages_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    with pytest.raises(Preempted):
        train_tiny(tmp_path, checkpoints=in_environment(tmp_path, torch="2.13.0", lock="a1"), hooks=[StopAt(3)])
    assert in_environment(tmp_path, torch="2.13.0", lock="a1").latest() is not None
    with pytest.raises(
        ValueError, match=r"other packages \(lock a1 -> b2, torch 2\.13\.0 -> None\); install those again"
    ):
        train_tiny(tmp_path, checkpoints=in_environment(tmp_path, lock="b2"))
    outcome = train_tiny(tmp_path, checkpoints=in_environment(tmp_path, allow=True, torch="2.13.0", lock="b2"))
    assert outcome.resumed_at == 3
    assert outcome.note == "continued, not byte-equal to an unbroken run: lock a1 -> b2"


def terminated(folder: Path) -> None:
    """As a worker is: the signal sets a flag, and the loop looks at it."""
    stop = StopAt(10**9)
    signal.signal(signal.SIGTERM, lambda *_: setattr(stop, "_wanted", 0))

    def send(state: Any, _metrics: Mapping[str, float]) -> None:
        if state.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train_tiny(folder, hooks=[send, stop])
    except Preempted as error:
        raise SystemExit(error.exit_status) from error


def test_sigterm_ends_the_step_with_a_checkpoint_and_its_own_status(tmp_path: Path) -> None:
    started = time.monotonic()
    assert run_apart(terminated, tmp_path / "run") == 75
    assert time.monotonic() - started < 30
    assert train_tiny(tmp_path / "run").resumed_at == 6
    train_tiny(tmp_path / "whole")
    whole = (tmp_path / "whole" / FINAL / "model.safetensors").read_bytes()
    assert (tmp_path / "run" / FINAL / "model.safetensors").read_bytes() == whole
