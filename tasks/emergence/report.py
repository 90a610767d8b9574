"""The records of a study as rows, curves, verdicts, and what the scratchpad adds at equal parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from tasks.emergence.abilities import Ability
from tasks.emergence.verdict import Curve, Verdict, judge
from tasks.evaluation.seed_intervals import Array, interval

Record = Mapping[str, Any]
MEASURES = ("exact", "nats", "distance", "brier")


def rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One row per ability, size and seed; `n` is the number of held-out items, 1/n the least that exact match can show."""
    return [
        {
            "ability": found["name"],
            "digits": found["digits"],
            "mode": found["mode"],
            "size": record["size"],
            "parameters": record["parameters"],
            "non_embedding_parameters": record["non_embedding_parameters"],
            "seed": record["seed"],
            "exact_match": fmean(found["scores"]["exact"]),
            "token_nats": fmean(found["scores"]["nats"]),
            "edit_distance": fmean(found["scores"]["distance"]),
            "brier": fmean(found["scores"]["brier"]) if found["scores"]["brier"] else None,
            "n": len(found["scores"]["exact"]),
            "train_exact_match": found["train"]["exact_match"],
            "train_token_nats": found["train"]["token_nats"],
            "train_n": found["train"]["n"],
        }
        for record in records
        for found in record["abilities"]
    ]


def ability_figures(record: Record) -> dict[str, float]:
    """Means over the items of one training, by names that a tracker takes: addition/3/direct/exact_match."""
    return {
        f"{row['ability']}/{row['digits']}/{row['mode']}/{measure}": row[measure]
        for row in rows([record])
        for measure in ("exact_match", "token_nats", "edit_distance", "brier")
        if row[measure] is not None
    }


def abilities_of(records: Sequence[Record]) -> list[Ability]:
    found = [
        Ability(name=each["name"], digits=each["digits"], mode=each["mode"])
        for record in records
        for each in record["abilities"]
    ]
    return list(dict.fromkeys(found))


def scores(records: Sequence[Record], ability: Ability, measure: str) -> tuple[list[int], Array] | None:
    """The sizes, rising, and the scores [K, S, I] of one measure as it is; None where the ability has no such measure."""
    by_size: dict[int, list[tuple[int, list[float]]]] = {}
    for record in records:
        for each in record["abilities"]:
            if (each["name"], each["digits"], each["mode"]) == (ability.name, ability.digits, ability.mode):
                by_size.setdefault(record["parameters"], []).append((record["seed"], each["scores"][measure]))
    sizes = sorted(by_size)
    found = np.array([[values for _, values in sorted(by_size[size])] for size in sizes], dtype=np.float64)
    return (sizes, found) if found.size else None


def verdicts(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The verdict on each ability; the shapes of all measures beside it."""
    found = []
    for ability in abilities_of(records):
        verdict = judged(records, ability)
        found.append(
            {
                "ability": ability.name,
                "digits": ability.digits,
                "mode": ability.mode,
                "verdict": verdict.verdict,
                "reason": verdict.reason,
                "measures": {name: asdict(shape) for name, shape in verdict.shapes.items()},
            }
        )
    return found


def judged(records: Sequence[Record], ability: Ability) -> Verdict:
    """Measures that fall as a model gets better are turned round."""
    curves: dict[str, Curve] = {}
    for measure in MEASURES:
        here = scores(records, ability, measure)
        if here is not None:
            curves[measure] = Curve(parameters=here[0], scores=here[1] if measure == "exact" else -here[1])
    others = {"edit_distance": curves["distance"], **({"brier": curves["brier"]} if "brier" in curves else {})}
    return judge(curves["exact"], curves["nats"], others)


def scratchpad_effects(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Exact match with the scratchpad and without, of the same models on the same problems; the gain's 95 % interval."""
    found = []
    for ability in abilities_of(records):
        direct = scores(records, Ability(name=ability.name, digits=ability.digits), "exact")
        written = scores(records, ability, "exact") if ability.mode == "scratchpad" else None
        if direct is None or written is None:
            continue
        for size, one_SI, other_SI in zip(written[0], written[1], direct[1], strict=True):
            gain, low, high = interval(one_SI - other_SI, least=-1.0)
            found.append(
                {
                    "ability": ability.name,
                    "digits": ability.digits,
                    "parameters": size,
                    "scratchpad": float(one_SI.mean()),
                    "direct": float(other_SI.mean()),
                    "gain": gain,
                    "low": low,
                    "high": high,
                }
            )
    return found
