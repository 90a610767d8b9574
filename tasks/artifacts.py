"""Typed handles to everything a stage produces: a folder with `artifact.json`, addressed by the digest of its bytes.

`artifact.json` holds kind, digest, parents, recipe and code commit. The digest is the sha256 of the manifest (file name
-> sha256 and size), so it depends on content alone: never on paths, machines, worker counts or time.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARTIFACT_FILE = "artifact.json"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A folder of files with its identity; `parents` are the digests of what it was made from."""

    kind: str
    digest: str
    path: Path
    parents: tuple[str, ...]
    recipe: Mapping[str, Any]
    code: str | None
    files: Mapping[str, str]

    @property
    def short(self) -> str:
        return self.digest[:12]


def canonical_json(value: object) -> str:
    """The one spelling of a value that digests are taken of: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_files(folder: Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """Relative name -> sha256 of every file below `folder` (all but artifact.json), or of `names`."""
    if names is None:
        found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        names = (name for name in found if name != ARTIFACT_FILE)
    return {name: file_sha256(folder / name) for name in sorted(names)}


def write_artifact(
    folder: Path,
    *,
    kind: str,
    parents: Iterable[str] = (),
    recipe: Mapping[str, Any] | None = None,
    code: str | None = None,
) -> Artifact:
    """Seal the files that lie in `folder` by writing artifact.json beside them."""
    files = sha256_of_files(folder)
    if not files:
        raise ValueError(f"{folder}: an artifact needs at least one file")
    artifact = Artifact(
        kind=kind,
        digest=digest_of(files),
        path=folder,
        parents=tuple(parents),
        recipe=dict(recipe or {}),
        code=code,
        files=files,
    )
    record = {
        "kind": artifact.kind,
        "digest": artifact.digest,
        "parents": list(artifact.parents),
        "recipe": artifact.recipe,
        "code": artifact.code,
        "files": files,
    }
    temporary = folder / (ARTIFACT_FILE + ".tmp")
    temporary.write_text(json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, folder / ARTIFACT_FILE)
    return artifact


def read_artifact(folder: Path) -> Artifact:
    """The handle of a sealed folder; ValueError when it is not one. Files are not hashed: see `verify`."""
    try:
        record = json.loads((folder / ARTIFACT_FILE).read_text(encoding="utf-8"))
        return Artifact(
            kind=record["kind"],
            digest=record["digest"],
            path=folder,
            parents=tuple(record["parents"]),
            recipe=record["recipe"],
            code=record["code"],
            files=record["files"],
        )
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder}: not an artifact folder ({error})") from error


def verify(folder: Path, *, digest: str | None = None) -> tuple[bool, str]:
    """Re-hash every file: (True, "") or (False, what is wrong). A missing, changed or added file is damage."""
    try:
        artifact = read_artifact(folder)
    except ValueError as error:
        return False, str(error)
    if digest is not None and artifact.digest != digest:
        return False, f"{folder}: digest is {artifact.digest[:12]}, expected {digest[:12]}"
    if digest_of(artifact.files) != artifact.digest:
        return False, f"{folder}: the manifest does not match its digest"
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {ARTIFACT_FILE}
    for name in sorted(set(artifact.files) | present):
        if name not in present:
            return False, f"{folder}: {name} is missing"
        if name not in artifact.files:
            return False, f"{folder}: {name} was added"
        if file_sha256(folder / name) != artifact.files[name]:
            return False, f"{folder}: {name} has changed"
    return True, ""


def publish(temporary: Path, final: Path) -> None:
    """Move a finished folder into place; an older one there is replaced, and readers never see a half-written one."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        old = final.with_name(final.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(final, old)
        os.replace(temporary, final)
        shutil.rmtree(old)
    else:
        os.replace(temporary, final)
