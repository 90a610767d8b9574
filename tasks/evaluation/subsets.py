"""What the training sets of a model hold of its evaluation, written beside it; clean and dirty items scored apart."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.artifacts import digest_of
from tasks.evaluation.contamination import LONGEST, SHORTEST, Finding, Item, TrainingSet, find_contamination
from tasks.evaluation.documents import DOCUMENT_FILE
from tasks.evaluation.intervals import scores_interval, share_interval
from tasks.evaluation.stored import (
    CLEAN,
    CONTAMINATION_FILE,
    DIRTY,
    Evaluation,
    items_of,
    read_evaluation,
    scores_of,
)
from tasks.pages import write_text


def record_contamination(folder: Path, training: Sequence[TrainingSet]) -> dict[str, Any]:
    """The evaluation's document with "contamination" and rows of each subset, as its folder holds it from now on."""
    evaluation = read_evaluation(folder)
    findings = _by_benchmark(find_contamination(questions_of(evaluation.examples), training) if training else [])
    evidence = {name: _evidence(found) for name, found in findings.items()}
    evaluation = replace(evaluation, evidence=evidence)
    measured = [row for row in evaluation.document["rows"] if "subset" not in row]
    document = {
        **evaluation.document,
        "rows": [*measured, *(part for row in measured for part in subset_rows(evaluation, row))],
        "contamination": {
            "rule": f"{LONGEST} words in a row, or a whole text of {SHORTEST} to {LONGEST - 1}",
            "training_sets": [{"name": each.name, "bytes": each.path.stat().st_size} for each in training],
            "benchmarks": [_summary(name, found) for name, found in findings.items()],
        },
    }
    for name, record in ((CONTAMINATION_FILE, evidence), (DOCUMENT_FILE, document)):
        write_text(folder / name, json.dumps(record, ensure_ascii=False, indent=1) + "\n")
    return document


def questions_of(examples: Iterable[Mapping[str, Any]]) -> list[Item]:
    """Each item of each benchmark once, whatever number of shots and modes it was asked in."""
    found: dict[tuple[str, str], Item] = {}
    for each in examples:
        key = (each["benchmark"], str(each["id"]))
        if key not in found:
            gold = each["gold"] if isinstance(each["gold"], str) else next(iter(each["gold"] or [""]))
            found[key] = Item(benchmark=key[0], id=key[1], question=_question(each), answer=str(gold))
    return list(found.values())


def _question(example: Mapping[str, Any]) -> str:
    """The item's own text; of a prompt the last part, which stands after the examples."""
    return str(example.get("question") or example["prompt"].split("\n\n")[-1])


def subset_rows(evaluation: Evaluation, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The row's figure over its clean and its dirty items; none where no item is dirty or the figure is no mean."""
    scores = scores_of(evaluation, row)
    items = {subset: items_of(evaluation, {**row, "subset": subset}) for subset in (CLEAN, DIRTY)}
    if not scores or not items[DIRTY]:
        return []
    return [_subset_row(row, subset, found, scores) for subset, found in items.items() if found]


def _subset_row(
    row: Mapping[str, Any], subset: str, items: Mapping[str, Mapping[str, Any]], scores: Mapping[str, float]
) -> dict[str, Any]:
    unparsed = sum(each["verdict"] == "unparsed" for each in items.values())
    return {
        **row,
        "subset": subset,
        **scores_interval([scores[id] for id in items]).record(),
        "unparsed": unparsed,
        "unparsed_share": unparsed / len(items),
        # other items are other data: two models whose dirty items differ are not compared on them
        "identity": {**row["identity"], "data": digest_of([row["identity"].get("data"), sorted(items)])},
    }


def _by_benchmark(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for each in findings:
        found.setdefault(each.item.benchmark, []).append(each)
    return found


def _evidence(findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "dirty": {
            each.item.id: {"words": each.words, "training_sets": list(each.sets)} for each in findings if each.dirty
        },
        "mostly": [each.item.id for each in findings if each.mostly],
        "unchecked": [each.item.id for each in findings if not each.checked],
    }


def _summary(benchmark: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """Counts; the share is of the items that have enough words of their own, None where there is none."""
    checked = [each for each in findings if each.checked]
    dirty = [each for each in checked if each.dirty]
    by_set: dict[str, int] = {}
    for name in (name for each in dirty for name in each.sets):
        by_set[name] = by_set.get(name, 0) + 1
    return {
        "benchmark": benchmark,
        "n": len(findings),
        "checked": len(checked),
        "dirty": len(dirty),
        "dirty_share": share_interval(len(dirty), len(checked)).record() if checked else None,
        "mostly": sum(each.mostly for each in checked),
        "by_training_set": by_set,
    }
