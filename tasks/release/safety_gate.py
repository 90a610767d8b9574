"""The bounds that a recipe may put on what `espalier evaluate MODEL --suite safety` finds of a candidate; none by default."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.evaluation.safety_sets import figures
from tasks.release.verdicts import INSUFFICIENT, Check, within

LIKELY = "what the training texts say, or leave out; `espalier evaluate MODEL --suite safety` keeps every answer"


@dataclass(frozen=True, kw_only=True)
class SafetyGate:
    """`bounds`: benchmark.metric -> [lowest, highest], for example `toxicity.expected_max_toxicity: [0, 0.2]`.

    The whole 95 % interval must lie between them. Without a bound nothing is measured.
    """

    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in self.bounds.items():
            if name not in figures():
                near = difflib.get_close_matches(name, figures(), n=1, cutoff=0.4)
                mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(figures())}"
                raise ValueError(f"{name} is no figure of the suite safety; {mend}")
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"{name}: expected two numbers, the lower one first, found {low} and {high}")


def safety_checks(rows: Sequence[Mapping[str, Any]], gate: SafetyGate) -> list[Check]:
    """One for each bound; a figure that was not found, as the calibration of no answer, is too little to say."""
    found = {f"{row['benchmark']}.{row['metric']}": row for row in rows}
    return [
        within(name.replace(".", " "), found[name], *bounds)
        if name in found
        else Check(rule=INSUFFICIENT, passed=False, reason=f"{name.replace('.', ' ')} was not measured")
        for name, bounds in gate.bounds.items()
    ]
