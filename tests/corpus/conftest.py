"""A corpus of one's own in an empty folder, and sealed folders as the stage before would leave them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.artifacts import write_artifact
from tasks.corpus.__main__ import STAGES, run
from tasks.corpus.documents import DOCUMENTS_FILE, Document, read_documents, to_line

FOLDERS = ("raw", "clean", "deduplicated", "decontaminated", "redacted")


class Checkout:
    """A folder with a params.yaml of one corpus called `own`, whose stages run in this process."""

    def __init__(self, folder: Path, sources: list[dict[str, Any]], settings: dict[str, Any]) -> None:
        self.folder = folder
        self.data = folder / ".espalier" / "data" / "own"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "params.yaml").write_text(yaml.safe_dump({"corpora": {"own": {"sources": sources, **settings}}}))

    def run(self, *stages: str) -> "Checkout":
        for stage in stages or STAGES:
            run(stage, "own", self.folder)
        return self

    def documents(self, folder: str = "raw") -> list[Document]:
        return list(read_documents(self.data / folder / DOCUMENTS_FILE))

    def texts(self, folder: str = "raw") -> list[str]:
        return [document.text for document in self.documents(folder)]

    def counts(self, stage: str) -> dict[str, Any]:
        counts: dict[str, Any] = json.loads((self.data / "refused" / stage / "counts.json").read_text())
        return counts

    def refused(self, stage: str) -> list[dict[str, Any]]:
        return refused_in(self.data / "refused" / stage)


def refused_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "refused.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., Checkout]:
    """checkout(path, limits={...}) -> a Checkout whose only source are the files at `path`."""

    def make(path: Path | None = None, *, sources: list[dict[str, Any]] | None = None, **settings: Any) -> Checkout:
        named = sources or [{"kind": "files", "path": str(path), "name": "own"}]
        return Checkout(tmp_path / "checkout", named, settings)

    return make


@pytest.fixture
def sealed(tmp_path: Path) -> Callable[..., Path]:
    """sealed(document, ...) -> a folder with these documents, sealed as a stage would."""

    def make(*documents: Document) -> Path:
        folder = tmp_path / "sealed"
        folder.mkdir(exist_ok=True)
        (folder / DOCUMENTS_FILE).write_text("".join(map(to_line, documents)), encoding="utf-8", newline="\n")
        write_artifact(folder, kind="test")
        return folder

    return make


@pytest.fixture
def refused() -> Callable[[Path], list[dict[str, Any]]]:
    return refused_in
