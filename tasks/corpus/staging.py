"""What every corpus stage shares: kept documents and refused ones side by side, counted, sealed, moved into place.

The refused and the counts lie in a folder of their own: a change in a refused document must change nothing downstream.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from tasks.artifacts import Artifact, publish, write_artifact
from tasks.corpus.documents import DOCUMENTS_FILE, Document, to_line

REFUSED_FILE, COUNTS_FILE = "refused.jsonl", "counts.json"
LONGEST_REFUSED_CHARACTERS = 20_000


class Sieve:
    """Counts what comes in and writes it to the kept or to the refused; `close` checks that the counts add up."""

    def __init__(self, kept: Mapping[str, TextIO], refused: TextIO) -> None:
        self._kept = kept
        self._refused = refused
        self.input = 0
        self.kept: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()

    def keep(self, document: Document, file: str = DOCUMENTS_FILE) -> None:
        self.input += 1
        self.kept[file] += 1
        self._kept[file].write(to_line(document))

    def refuse(self, id: str, text: str, reason: str, detail: str = "") -> None:
        """`reason` is one of a few words, counted; `detail` says more about this one document."""
        self.input += 1
        self.refused[reason] += 1
        record: dict[str, Any] = {"id": id, "reason": reason, "text": text[:LONGEST_REFUSED_CHARACTERS]}
        if detail:
            record["detail"] = detail
        if len(text) > LONGEST_REFUSED_CHARACTERS:
            record["characters"] = len(text)
        # ASCII escapes: a lone surrogate can be written, and read back as it was
        self._refused.write(json.dumps(record, sort_keys=True) + "\n")

    def counts(self) -> dict[str, Any]:
        kept, refused = sum(self.kept.values()), sum(self.refused.values())
        if self.input != kept + refused:
            raise AssertionError(f"{self.input} documents came in, {kept} kept and {refused} refused")
        counts: dict[str, Any] = {"input": self.input, "kept": kept, "refused": dict(sorted(self.refused.items()))}
        if self.changes:
            counts["changes"] = dict(sorted(self.changes.items()))
        return counts


def no_data_left(stage: str, counts: Mapping[str, Any]) -> ValueError:
    """The one sentence that ends a run without text."""
    reasons = ", ".join(f"{reason}: {number}" for reason, number in counts["refused"].items()) or "nothing came in"
    return ValueError(
        f"{stage}: no training data left: {counts['input']} documents in, {counts['kept']} kept ({reasons}); "
        "name other sources, or loosen this stage's rules under corpora: in params.yaml"
    )


@contextmanager
def sieve(
    folder: Path,
    refused_folder: Path,
    *,
    stage: str,
    parents: Iterable[str],
    recipe: Mapping[str, Any],
    files: Iterable[str] = (DOCUMENTS_FILE,),
) -> Iterator[Sieve]:
    """A stage's body: write to temporary folders, and only when all went well seal them and move them into place."""
    kept_tmp, refused_tmp = temporary(folder), temporary(refused_folder)
    with ExitStack() as stack:
        kept = {name: stack.enter_context(_text_writer(kept_tmp / name)) for name in files}
        body = Sieve(kept, stack.enter_context(_text_writer(refused_tmp / REFUSED_FILE)))
        yield body
    counts = body.counts()
    write_json(refused_tmp / COUNTS_FILE, counts)
    write_artifact(refused_tmp, kind=f"refused-{stage}", parents=parents, recipe=recipe)
    publish(refused_tmp, refused_folder)  # also when nothing is left: it is the record of why
    if not counts["kept"]:
        shutil.rmtree(kept_tmp)
        raise no_data_left(stage, counts)
    seal(kept_tmp, folder, kind=stage, parents=parents, recipe=recipe)


def temporary(folder: Path) -> Path:
    """An empty folder beside `folder` to be filled and renamed; what a killed run left there is removed."""
    path = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def seal(folder: Path, final: Path, *, kind: str, parents: Iterable[str], recipe: Mapping[str, Any]) -> Artifact:
    artifact = write_artifact(folder, kind=kind, parents=parents, recipe=recipe)
    publish(folder, final)
    return artifact


def write_json(path: Path, value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _text_writer(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="\n")
