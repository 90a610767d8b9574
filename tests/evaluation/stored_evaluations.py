"""Evaluations as a folder holds them, with verdicts that a test chooses: the matrix of a benchmark, and a likelihood one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.artifacts import digest_of
from tasks.evaluation.documents import identity_of, write_document
from tasks.evaluation.intervals import mean_interval

IDENTITY = {
    "task": "last_letters: What do they spell?",
    "shots": "none",
    "template": "Q: {text}\nA:",
    "decoding": {"method": "greedy", "temperature": 0.0, "max_new_tokens": 32},
    "data": "a" * 64,
    "code": "c" * 64,
}
CELLS = (("last_letters", 0, "direct"), ("last_letters", 4, "direct"), ("last_letters", 4, "cot"))

Verdict = Callable[[str, int, str, int], str]


def example(benchmark: str, shots: int, mode: str, number: int, verdict: str, **more: Any) -> dict[str, Any]:
    gold = "yk"
    said = {"right": "yk", "wrong": "ky", "unparsed": None}[verdict]
    return {
        "benchmark": benchmark,
        "shots": shots,
        "mode": mode,
        "id": f"item-{number}",
        "prompt": "Q: Ada Roy\nA: ay\n\n" * shots + f"Q: Amy Clark {number}\nA:",
        "completion": said or "I cannot say.",
        "extracted": said,
        "gold": gold,
        "verdict": verdict,
        "reason": "" if verdict == "right" else f"{said} is not {gold}",
        "scores": {"exact_match": float(verdict == "right")},
        **more,
    }


def row_of(
    examples: Sequence[Mapping[str, Any]], identity: Mapping[str, Any], metric: str = "exact_match"
) -> dict[str, Any]:
    """A figure as the mean over these examples."""
    unparsed = sum(each["verdict"] == "unparsed" for each in examples)
    first = examples[0]
    return {
        **{name: first[name] for name in ("benchmark", "shots", "mode")},
        "metric": metric,
        **mean_interval([each["scores"][metric] for each in examples]).record(),
        "unparsed": unparsed,
        "unparsed_share": unparsed / len(examples),
        "identity": {**identity, "shots": f"{first['shots']} in order"},
    }


def write_evaluation(
    root: Path, model: str, examples: Sequence[Mapping[str, Any]], *, date: str = "2026-01-01T10:00:00", **identity: Any
) -> Path:
    """The folder of an evaluation whose figures are the means of its examples; `identity` replaces fields of IDENTITY."""
    how = {**IDENTITY, **identity, "model": digest_of(model)}
    cells: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for each in examples:
        cells.setdefault((each["benchmark"], each["shots"], each["mode"]), []).append(each)
    rows = [row_of(found, how) for found in cells.values()]
    document = {
        "identity": identity_of("prompting", rows),
        "model": {"name": model, "digest": digest_of(model), "path": f"models/{model}"},
        "suite": "prompting",
        "rows": rows,
        "made": {
            "date": date, "command": f"espalier evaluate {model} --suite prompting", "commit": "57984f5", "seconds": 12.5,
            "machine": "x86_64, Linux",
        },
    }  # fmt: skip
    return write_document(root, document, examples)


def matrix(verdict: Verdict, items: int = 20, cells: Sequence[tuple[str, int, str]] = CELLS) -> list[dict[str, Any]]:
    """Examples for every cell; `verdict` says what comes of (benchmark, shots, mode, number)."""
    return [example(*cell, number, verdict(*cell, number)) for cell in cells for number in range(items)]
