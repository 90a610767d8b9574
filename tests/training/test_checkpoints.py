"""A checkpoint is whole or not there, whatever happens to the process, the disk or the bits."""

import json
import os
import re
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import Notes, SignalAt, read_notes, run_apart, train_tiny

from tasks.training.checkpoint_writer import DiskFull
from tasks.training.checkpoints import DECIDED, LATEST, MANIFEST, STATE, Checkpoints, check
from tasks.training.lease import Lease


def tensors(step: int) -> dict[str, dict[str, torch.Tensor]]:
    return {"model": {"weight": torch.full((64, 64), float(step))}, "optimizer": {"steps": torch.tensor(step)}}


def save(folder: Path, *steps: int, **changed: Any) -> Checkpoints:
    checkpoints = Checkpoints(folder, **{"identity": "a training", **changed})
    for step in steps:
        checkpoints.save(step, tensors(step), {"cursor": [step, "다"]})
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def newest(folder: Path, **changed: Any) -> int | None:
    """The step of the checkpoint that a new process finds, which must be that step's in all its parts."""
    saved = Checkpoints(folder, **{"identity": "a training", **changed}).latest()
    if saved is None:
        return None
    for name, group in tensors(saved.step).items():
        assert set(saved.tensors[name]) == set(group)
        assert all(torch.equal(saved.tensors[name][key], tensor) for key, tensor in group.items())
    assert saved.record["cursor"] == [saved.step, "다"]
    return saved.step


def test_the_newest_is_found_and_the_oldest_leave(tmp_path: Path) -> None:
    save(tmp_path, 5, 10, 15, 20)
    assert newest(tmp_path) == 20
    assert names(tmp_path) == [LATEST, "step-00000010", "step-00000015", "step-00000020"]
    assert (tmp_path / LATEST).read_text(encoding="utf-8") == "step-00000020\n"
    assert names(tmp_path / "step-00000020") == [MANIFEST, "model.safetensors", "optimizer.safetensors", STATE]


def test_before_the_first_there_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "new") is None


def test_the_same_step_may_be_saved_again(tmp_path: Path) -> None:
    save(tmp_path, 5, 10)
    save(tmp_path, 10)
    assert newest(tmp_path) == 10
    assert names(tmp_path) == [LATEST, "step-00000005", "step-00000010"]


def flip_a_bit(folder: Path) -> None:
    """Same size, same time: only its sha256 tells."""
    path = folder / "model.safetensors"
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def change_state(folder: Path) -> None:
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    (folder / STATE).write_text(json.dumps({**state, "cursor": [99, ""]}), encoding="utf-8")


def without_state(folder: Path) -> None:
    """A manifest that agrees with what is there, and yet no training's state."""
    (folder / STATE).unlink()
    sums = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps({k: v for k, v in sums.items() if k != STATE}), encoding="utf-8")


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (flip_a_bit, "model.safetensors has changed"),
    (lambda folder: os.truncate(folder / "optimizer.safetensors", 20), "optimizer.safetensors has changed"),
    (change_state, "state.json has changed"),
    (lambda folder: (folder / MANIFEST).unlink(), "No such file"),
    (lambda folder: (folder / MANIFEST).write_text("{", encoding="utf-8"), "Expecting property name"),
    (lambda folder: (folder / MANIFEST).write_text("[]", encoding="utf-8"), "no attribute 'items'"),
    (lambda folder: (folder / "model.safetensors").unlink(), "No such file"),
    (lambda folder: shutil.copy(folder / STATE, folder / "more.safetensors"), "files are missing or were added"),
    (without_state, "files are missing or were added"),
    (lambda folder: [path.unlink() for path in folder.iterdir()], "No such file"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
def test_a_damaged_one_is_set_aside_and_the_one_before_is_used(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    save(tmp_path, 5, 10, 15)
    assert check(tmp_path / "step-00000015") == (True, "")
    damage(tmp_path / "step-00000015")
    passed, said = check(tmp_path / "step-00000015")
    assert not passed
    assert reason in said
    assert newest(tmp_path) == 10
    assert names(tmp_path) == [LATEST, "damaged-step-00000015", "step-00000005", "step-00000010"]
    save(tmp_path, 15)
    assert newest(tmp_path) == 15


def test_when_all_are_damaged_nothing_begins_again_by_itself(tmp_path: Path) -> None:
    save(tmp_path, 5, 10)
    flip_a_bit(tmp_path / "step-00000005")
    (tmp_path / "step-00000010" / MANIFEST).unlink()
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"every checkpoint is damaged .*remove the folder to train again from the"
        ):
            newest(tmp_path)
    with pytest.raises(ValueError, match="every checkpoint is damaged"):
        Checkpoints(tmp_path, identity="tiny").latest()
    assert names(tmp_path) == [LATEST, "damaged-step-00000005", "damaged-step-00000010"]


def test_a_training_that_finds_only_damage_does_not_start(tmp_path: Path) -> None:
    steps: list[int] = []
    train_tiny(tmp_path, steps=2)
    flip_a_bit(tmp_path / "step-00000002")
    with pytest.raises(ValueError, match="every checkpoint is damaged"):
        train_tiny(tmp_path, steps=2, hooks=[lambda state, _: steps.append(state.step)])
    assert steps == []


def test_another_trainings_checkpoint_is_not_resumed(tmp_path: Path) -> None:
    save(tmp_path, 5, identity="b" * 64)
    with pytest.raises(ValueError, match="belongs to another training \\(bbbbbbbbbbbb\\); remove its folder"):
        newest(tmp_path)
    assert newest(tmp_path, identity="b" * 64) == 5


def test_fewer_than_two_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kept_checkpoints: expected at least 2"):
        Checkpoints(tmp_path, identity="", kept=1)


def test_leftovers_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    save(tmp_path, 5)
    shutil.copytree(tmp_path / "step-00000005", tmp_path / "step-00000010.tmp")
    (tmp_path / f"{LATEST}.tmp").write_text("step-00000010", encoding="utf-8")
    assert newest(tmp_path) == 5
    assert names(tmp_path) == [LATEST, "step-00000005"]


def save_and_die(folder: Path, event: int) -> None:
    """Killed at the `event`-th file operation of a save, as the interpreter counts them."""
    checkpoints = Checkpoints(folder, identity="a training", kept=2)
    seen = 0

    def count(name: str, _arguments: object) -> None:
        nonlocal seen
        if name in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "shutil.rmtree"):
            seen += 1
            if seen == event:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    checkpoints.save(15, tensors(15), {"cursor": [15, "다"]})


def test_a_kill_at_any_point_of_a_save_leaves_a_whole_one(tmp_path: Path) -> None:
    """One process for each file operation of a save, until one gets through; a half one is never chosen."""
    found: list[int | None] = []
    for event in range(1, 100):
        folder = tmp_path / str(event)
        save(folder, 5, 10, kept=2)
        code = run_apart(save_and_die, folder, event)
        found.append(newest(folder, kept=2))
        assert not list(folder.glob("*.tmp"))
        assert not list(folder.glob("damaged-*"))
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert len(found) > 20
    assert found == sorted(found)  # ten until the rename, fifteen from there on  # type: ignore[type-var]
    assert set(found) == {10, 15}


class SmallDisk:
    """A hook that lets no file grow beyond a few kilobytes after a step; a full disk says the same in another word."""

    def __init__(self, step: int) -> None:
        self._step = step

    def __call__(self, state: Any, _metrics: object) -> None:
        if state.step == self._step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))


def fill_the_disk(folder: Path) -> None:
    try:
        train_tiny(folder, steps=20, checkpoint_steps=2, hooks=[SmallDisk(5), Notes(folder.with_suffix(".notes"))])
    except DiskFull as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (folder / "said").write_text(str(error), encoding="utf-8")
        raise SystemExit(4) from error


def test_a_full_disk_stops_the_training_and_keeps_the_older_ones(tmp_path: Path) -> None:
    """The saves of steps 6, 8 and 10 fail; 2 and 4 are whole, nothing half is left; with room again it goes on from 4."""
    folder = tmp_path / "run"
    folder.mkdir()
    assert run_apart(fill_the_disk, folder) == 4
    said = (folder / "said").read_text(encoding="utf-8")
    assert re.search("step-000000(10|12): the checkpoint cannot be written", said)  # seen at a boundary or at the next
    assert "the older ones are as they were" in said
    (folder / "said").unlink()
    assert 10 <= read_notes(folder.with_suffix(".notes"))[-1]["step"] <= 12
    assert names(folder) == [LATEST, DECIDED, "step-00000002", "step-00000004"]
    assert all(check(folder / name)[0] for name in ("step-00000002", "step-00000004"))
    assert train_tiny(folder, steps=10, checkpoint_steps=2).resumed_at == 4


def test_a_disk_that_fails_to_keep_its_word_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync is where a delayed write error shows."""
    checkpoints = save(tmp_path, 5)

    def failing(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match=r"cannot be written .*No space left"):
        checkpoints.save(10, tensors(10), {})
    monkeypatch.undo()
    assert names(tmp_path) == [LATEST, "step-00000005"]
    assert newest(tmp_path) == 5


def die_while_saving(folder: Path, event: int) -> None:
    train_tiny(folder, steps=4, checkpoint_steps=2, hooks=[DieInSaveAfter(3, event)])


class DieInSaveAfter(SignalAt):
    """SIGKILL at the n-th file that is opened for the checkpoint of the step after."""

    def __init__(self, step: int, event: int) -> None:
        super().__init__(step)
        self._event = event

    def __call__(self, state: Any, metrics: Any) -> None:
        del metrics
        if state.step == self._step:
            left, folder = iter(range(self._event)), f"step-{self._step + 1:08d}.tmp"
            sys.addaudithook(
                lambda name, values: (
                    os.kill(os.getpid(), signal.SIGKILL)
                    if name == "open" and folder in str(values[0]) and next(left, None) is None
                    else None
                )
            )


def test_a_training_that_was_killed_while_saving_goes_on(tmp_path: Path) -> None:
    train_tiny(tmp_path / "whole", steps=4, checkpoint_steps=2)
    assert run_apart(die_while_saving, tmp_path / "run", 3) == -signal.SIGKILL
    assert (tmp_path / "run" / "step-00000004.tmp").is_dir()
    assert train_tiny(tmp_path / "run", steps=4, checkpoint_steps=2).resumed_at == 2
    for name in ("model.safetensors", "optimizer.safetensors"):
        whole = tmp_path / "whole" / "step-00000004" / name
        assert (tmp_path / "run" / "step-00000004" / name).read_bytes() == whole.read_bytes()


def test_a_stale_holder_writes_no_checkpoint(tmp_path: Path) -> None:
    """The lease is looked at after all is written and before the rename."""
    lease = Lease(tmp_path)
    checkpoints = save(tmp_path / "checkpoints", 5, lease=lease)
    Lease(tmp_path)
    with pytest.raises(ValueError, match="holds this training now; a stale process must not write"):
        checkpoints.save(10, tensors(10), {})
    assert newest(tmp_path / "checkpoints") == 5
