"""Two evaluations side by side: what B adds to A where both were measured in the same way, and why not elsewhere."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tasks.evaluation.comparable import PLACE, Row, comparable, place_of
from tasks.evaluation.intervals import difference_interval, paired_interval
from tasks.evaluation.stored import Evaluation, scores_of

BETTER, WORSE, UNSHOWN = "better", "worse", "no difference shown"
HIGHER, LOWER = "higher", "lower"  # where neither is better
# of n items that differ a sign test's least two-sided p is 2 ** (1 - n): fewer than six never reach .05
LEAST_DIFFERING = 6
LOWER_IS_BETTER = frozenset({
    "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "nats", "brier", "brier_score", "ece", "ter",
    "toxicity", "order_range", "template_range",
})  # fmt: skip


def compare(a: Evaluation, b: Evaluation) -> dict[str, Any]:
    """{"a", "b", "rows": what can be compared, "refused": what cannot, each with its reason}"""
    rows, refused = [], []
    for row_a, row_b, reason in _pairs(a.document["rows"], b.document["rows"]):
        about = dict(zip(PLACE, place_of(row_a or row_b or {}), strict=True))
        if row_a is None or row_b is None or reason:
            refused.append({**about, "reason": reason})
        else:
            rows.append({**about, **difference(a, b, row_a, row_b)})
    return {"a": about_of(a), "b": about_of(b), "rows": rows, "refused": refused}


def about_of(evaluation: Evaluation) -> dict[str, Any]:
    document = evaluation.document
    return {"identity": document["identity"], "model": dict(document["model"]), "made": document["made"].get("date")}


def _pairs(rows_a: Sequence[Row], rows_b: Sequence[Row]) -> Iterator[tuple[Row | None, Row | None, str]]:
    """Each row with its counterpart and "" or the reason against it; one without a counterpart beside what comes nearest."""
    left = list(rows_b)
    unmatched = []
    for row_a in rows_a:
        same = [row for row in left if place_of(row) == place_of(row_a)]
        if not same:
            unmatched.append(row_a)
            continue
        row_b = next((row for row in same if comparable(row_a, row)[0]), same[0])
        left.remove(row_b)
        yield row_a, row_b, comparable(row_a, row_b)[1]
    for row_a in unmatched:
        near = _nearest(row_a, left)
        if near is not None:
            left.remove(near)
        yield row_a, near, comparable(row_a, near)[1] if near is not None else "B has no such figure"
    for row_b in left:
        yield None, row_b, "A has no such figure"


def _nearest(row: Row, others: Sequence[Row]) -> Row | None:
    """The same metric of the same benchmark, in the same mode if there is one."""
    same = [
        other for other in others if all(other.get(name) == row.get(name) for name in ("benchmark", "subset", "metric"))
    ]
    return max(same, key=lambda other: other["mode"] == row["mode"], default=None)


def difference(a: Evaluation, b: Evaluation, row_a: Row, row_b: Row) -> dict[str, Any]:
    """{"a", "b", "difference" (b - a), "low", "high", "n", "paired", "verdict"} of two comparable rows."""
    scores_a, scores_b = scores_of(a, row_a), scores_of(b, row_b)
    paired = bool(scores_a) and scores_a.keys() == scores_b.keys()
    if paired:
        before, after = list(scores_a.values()), [scores_b[id] for id in scores_a]
        are_shares = all(0 <= score <= 1 for score in (*before, *after))
        found = (difference_interval if are_shares else paired_interval)(after, before)
        low, high = found.low, found.high
        enough = sum(x != y for x, y in zip(before, after, strict=True)) >= LEAST_DIFFERING
    else:
        low, high = _unpaired(row_a, row_b)
        enough = True
    verdict = _verdict(row_a, row_b, low, high) if enough else UNSHOWN
    return {
        "a": row_a["value"],
        "b": row_b["value"],
        "difference": row_b["value"] - row_a["value"],
        "low": low,
        "high": high,
        "n": row_b["n"],
        "paired": paired,
        "verdict": verdict,
    }


def _unpaired(row_a: Row, row_b: Row) -> tuple[float, float]:
    """The difference's interval from the two figures' own: squares of the distances added (Newcombe 1998, method 10)."""
    value_a, value_b = row_a["value"], row_b["value"]
    low = math.hypot(value_b - row_b["low"], row_a["high"] - value_a)
    high = math.hypot(row_b["high"] - value_b, value_a - row_a["low"])
    return value_b - value_a - low, value_b - value_a + high


def _verdict(row_a: Row, row_b: Row, low: float, high: float) -> str:
    """A row may say what would be "best" (None: nothing is): nearer to it is better, and beyond it is only elsewhere."""
    if low <= 0 <= high:
        return UNSHOWN
    if "best" not in row_a:
        return BETTER if (high < 0) == (row_a["metric"] in LOWER_IS_BETTER) else WORSE
    best = row_a["best"]
    if best is None or (row_a["value"] - best) * (row_b["value"] - best) < 0:
        return LOWER if high < 0 else HIGHER
    return BETTER if abs(row_b["value"] - best) < abs(row_a["value"] - best) else WORSE
