"""Evaluations as they lie in their folders: found by folder, identity or model, and read whole."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.evaluation.comparable import Row
from tasks.evaluation.documents import DOCUMENT_FILE, EXAMPLES_FILE, read_document, read_examples

CONTAMINATION_FILE = "contamination.json"
CLEAN, DIRTY = "clean", "dirty"
FEWEST_CHARACTERS = 4  # of an identity


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The files of one folder; `evidence` is contamination.json: which items a training set holds, by benchmark."""

    folder: Path
    document: Mapping[str, Any]
    examples: Sequence[Mapping[str, Any]]
    evidence: Mapping[str, Any]

    @cached_property
    def cells(self) -> dict[tuple[Any, ...], dict[str, Mapping[str, Any]]]:
        """(benchmark, shots, mode) -> id -> example"""
        found: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
        for each in self.examples:
            found.setdefault(_cell_of(each), {})[str(each["id"])] = each
        return found


def read_evaluation(folder: Path) -> Evaluation:
    """ValueError with the file for a folder that holds no whole evaluation."""
    evidence = folder / CONTAMINATION_FILE
    return Evaluation(
        folder=folder,
        document=read_document(folder),
        examples=list(read_examples(folder)) if (folder / EXAMPLES_FILE).is_file() else [],
        evidence=json.loads(evidence.read_text(encoding="utf-8")) if evidence.is_file() else {},
    )


def find_evaluations(root: Path, name: str) -> list[Path]:
    """The folders that `name` means, the latest first: a folder, an identity's first characters, or a model's name."""
    folder = Path(name).expanduser()
    if (folder / DOCUMENT_FILE).is_file():
        return [folder]
    known = _readable(root)
    named = [each for each, document in known.items() if name in _names(document)]
    if named:
        return sorted(named, key=lambda each: str(known[each]["made"].get("date")), reverse=True)
    begun = [each for each, document in known.items() if document["identity"].startswith(name)]
    if len(begun) == 1 and len(name) >= FEWEST_CHARACTERS:
        return begun
    if begun:
        raise ValueError(f"{name}: begins the identity of {len(begun)} evaluation(s); give more characters of it")
    raise ValueError(f"{name}: no evaluation has this folder, identity or model; {_there_are(known)}")


def alike(first: Sequence[Path], second: Sequence[Path]) -> tuple[Path, Path]:
    """The first pair that asks one benchmark, so that a later suite of one model hides nothing; or else the first of each."""
    asked = {folder: {row["benchmark"] for row in read_document(folder)["rows"]} for folder in {*first, *second}}
    return next(((a, b) for a in first for b in second if asked[a] & asked[b]), (first[0], second[0]))


def _readable(root: Path) -> dict[Path, dict[str, Any]]:
    """Every whole evaluation; one that is damaged is only missed by who names its folder."""
    known = {}
    for path in sorted(root.glob(f"*/{DOCUMENT_FILE}")):
        with suppress(ValueError):
            known[path.parent] = read_document(path.parent)
    return known


def _names(document: Mapping[str, Any]) -> set[str]:
    """What the model of an evaluation may be called: its name with or without a version, its folder, its digest."""
    name, digest, path = (str(document["model"].get(key) or "") for key in ("name", "digest", "path"))
    return {name, name.split(":")[0], digest, path, Path(path).name} - {""}


def _there_are(known: Mapping[Path, Mapping[str, Any]]) -> str:
    if not known:
        return "there is none yet: `espalier evaluate MODEL --suite SUITE` makes one"
    latest = sorted(known.values(), key=lambda document: str(document["made"].get("date")))[-5:]
    said = (f"{document['identity'][:8]} ({document['model'].get('name')})" for document in latest)
    return f"the latest are {', '.join(said)}"


def _cell_of(row: Row) -> tuple[Any, ...]:
    return row["benchmark"], row["shots"], row["mode"]


def items_of(evaluation: Evaluation, row: Row) -> Mapping[str, Mapping[str, Any]]:
    """id -> example behind a row; of a row about clean or dirty items only these."""
    items = evaluation.cells.get(_cell_of(row), {})
    subset = row.get("subset")
    if subset not in (CLEAN, DIRTY):
        return items
    found = evaluation.evidence.get(row["benchmark"], {})
    dirty, unchecked = set(found.get("dirty", ())), set(found.get("unchecked", ()))
    return {id: each for id, each in items.items() if id not in unchecked and (id in dirty) == (subset == DIRTY)}


def scores_of(evaluation: Evaluation, row: Row) -> dict[str, float]:
    """id -> score in the row's metric; empty where the row's figure is no mean of what the items scored (a perplexity)."""
    scores = {id: each.get("scores", {}).get(row["metric"]) for id, each in items_of(evaluation, row).items()}
    known = {id: float(score) for id, score in scores.items() if score is not None}
    if not known or len(known) < len(scores) or abs(sum(known.values()) / len(known) - row["value"]) > 1e-6:
        return {}
    return known
