"""Checkpoints that are whole or not there: a temporary folder, sha256 manifest, fsync, rename, and LATEST last.

step-00000040/ holds model.safetensors, optimizer.safetensors, state.json and manifest.json. A damaged one is set aside
and the one before it is used; when none of those that were written is whole, training refuses to begin again by itself.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.training.lease import Lease

LATEST, MANIFEST, STATE, DECIDED = "LATEST", "manifest.json", "state.json", "decided.json"
DAMAGED = "damaged-"

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint that was read and checked: named groups of tensors, and the rest of the state as JSON.

    `changes` says what of the environment differs from the one it was written in.
    """

    step: int
    tensors: Mapping[str, dict[str, Tensor]]
    record: dict[str, Any]
    changes: Sequence[str] = ()


class Checkpoints:
    """The checkpoints of one training; `identity` is what a checkpoint must carry to be resumed from.

    `environment` (versions of packages, the digest of the lock file) must be the same too, unless `allow_change`: a patch
    of a library that changes one line has changed whole trainings (OPT-175B's log).
    """

    def __init__(
        self,
        folder: Path,
        *,
        identity: str,
        kept: int = 3,
        lease: Lease | None = None,
        environment: Mapping[str, str] | None = None,
        allow_change: bool = False,
    ) -> None:
        if kept < 2:
            raise ValueError("kept_checkpoints: expected at least 2: a damaged one needs another before it")
        self.folder = folder
        self._identity = identity
        self._kept = kept
        self._lease = lease
        self._environment = dict(environment or {})
        self._allow_change = allow_change
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.tmp"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def save(self, step: int, tensors: Mapping[str, Tensors], record: Mapping[str, Any]) -> Path:
        """Write the checkpoint of `step`; OSError (a full disk) leaves the older ones as they were."""
        final = self.folder / f"step-{step:08d}"
        temporary = final.with_suffix(".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            for name, group in tensors.items():
                save_file(dict(group), temporary / f"{name}.safetensors")
            state = {**record, "step": step, "identity": self._identity, "environment": self._environment}
            _write_text(temporary / STATE, json.dumps(state, sort_keys=True, indent=1))
            sums = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
            _write_text(temporary / MANIFEST, json.dumps(sums, sort_keys=True, indent=1))
            for path in [*temporary.iterdir(), temporary]:
                _sync(path)
        except (OSError, SafetensorError) as error:  # the library wraps what the system says
            shutil.rmtree(temporary, ignore_errors=True)
            raise OSError(
                f"{final}: the checkpoint cannot be written ({error}); the older ones are as they were"
            ) from error
        if self._lease is not None:
            self._lease.check()
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        pointer = self.folder / f"{LATEST}.tmp"
        _write_text(pointer, final.name)
        _sync(pointer)
        os.replace(pointer, self.folder / LATEST)
        _sync(self.folder)
        self._forget_old()
        return final

    def decided(self, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was decided when this training began, by `decide` if it begins now.

        Killed before its first checkpoint and started again, it must not measure the machine anew: its bytes depend on it.
        """
        path = self.folder / DECIDED
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            _write_text(temporary, json.dumps(decide(), sort_keys=True))
            os.replace(temporary, path)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def latest(self) -> Saved | None:
        """The newest whole checkpoint, or None before the first; ValueError when there were some and none is whole."""
        damaged = [path.name for path in self.folder.glob(f"{DAMAGED}*")]
        for path in sorted(self.folder.glob("step-????????"), reverse=True):
            passed, reason = check(path)
            if passed:
                return self._read(path)
            os.replace(path, self.folder / f"{DAMAGED}{path.name}")
            damaged.append(f"{path.name}: {reason}")
        if damaged:
            raise ValueError(
                f"{self.folder}: every checkpoint is damaged ({'; '.join(damaged)}); "
                "remove the folder to train again from the start"
            )
        return None

    def _read(self, path: Path) -> Saved:
        record = json.loads((path / STATE).read_text(encoding="utf-8"))
        if record["identity"] != self._identity:
            raise ValueError(f"{path}: belongs to another training ({record['identity'][:12]}); remove its folder")
        changes = self._changes(path, record.get("environment", {}))
        groups = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
        return Saved(step=record["step"], tensors=groups, record=record, changes=changes)

    def _changes(self, path: Path, before: Mapping[str, str]) -> list[str]:
        now = self._environment
        names = sorted({*before, *now})
        changes = [
            f"{name} {before.get(name)} -> {now.get(name)}" for name in names if before.get(name) != now.get(name)
        ]
        if changes and not self._allow_change:
            raise ValueError(
                f"{path}: was written with other packages ({', '.join(changes)}); install those again, or go on with "
                "--allow-env-change, not byte-equal to an unbroken run"
            )
        return changes

    def require_space(self, tensors: Mapping[str, Tensors]) -> None:
        """ValueError when the disk has no room for all the checkpoints that will be kept, and one being written."""
        size = sum(tensor.numel() * tensor.element_size() for group in tensors.values() for tensor in group.values())
        needed, free = (self._kept + 1) * size, shutil.disk_usage(self.folder).free
        if free < needed:
            raise ValueError(
                f"{self.folder}: {self._kept} checkpoints and one being written need {needed / 1e6:,.0f} MB, "
                f"{free / 1e6:,.0f} MB are free; make room, or lower kept_checkpoints"
            )

    def _forget_old(self) -> None:
        for path in sorted(self.folder.glob("step-????????"))[: -self._kept]:
            shutil.rmtree(path)


def check(path: Path) -> tuple[bool, str]:
    """(True, "") or (False, what is wrong): exactly the files of the manifest are there and have their sha256."""
    try:
        sums = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in sums.items():
            if _sha256(path / name) != expected:
                return False, f"{name} has changed"
        present = {each.name for each in path.iterdir()} - {MANIFEST}
        if present != set(sums) or STATE not in sums:
            return False, "files are missing or were added"
        return True, ""
    except (OSError, ValueError, AttributeError) as error:
        return False, str(error)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
