"""What a gate says and of what it is made: checks, each `(passed, reason)` with its figures, and their verdict.

PASS, FAIL, or INSUFFICIENT where there are too few items to say.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tasks.evaluation.comparable import comparable

PASS, FAIL, INSUFFICIENT = "PASS", "FAIL", "INSUFFICIENT"

Figures = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule of a gate."""

    rule: str
    passed: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a gate says: its checks, one headline figure before and after, and likely reasons where it says no."""

    stage: str
    verdict: str
    metric: str
    unit: str
    before: float
    after: float
    checks: tuple[Check, ...]
    likely: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict == PASS

    @property
    def reason(self) -> str:
        """The failed checks, else all of them, in one sentence."""
        failed = [check.reason for check in self.checks if not check.passed]
        return "; ".join(failed or [check.reason for check in self.checks])

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "checks": [asdict(check) for check in self.checks], "reason": self.reason}


def verdict(stage: str, checks: tuple[Check, ...], *, likely: str, **rest: Any) -> Verdict:
    said = _said(checks)
    return Verdict(stage=stage, verdict=said, checks=checks, likely="" if said == PASS else likely, **rest)


def with_checks(found: Verdict, more: Sequence[Check], *, likely: str) -> Verdict:
    """The same gate with further checks; `likely` is added where one of these says no."""
    checks = (*found.checks, *more)
    reasons = [found.likely, *([likely] if _said(more) != PASS else [])]
    return replace(found, checks=checks, verdict=_said(checks), likely="; ".join(filter(None, reasons)))


def _said(checks: Sequence[Check]) -> str:
    if any(check.rule == INSUFFICIENT and not check.passed for check in checks):
        return INSUFFICIENT
    return PASS if all(check.passed for check in checks) else FAIL


def enough(what: str, count: int, least: int) -> Check:
    passed = count >= least
    return Check(
        rule=INSUFFICIENT, passed=passed, reason=f"{count} {what} ({'at least' if passed else 'fewer than'} {least})"
    )


def measured_alike(figures: Figures, one: str, other: str) -> Check:
    """Two models' figures of one set, each with its identity: another text, decoding or code is another question."""
    passed, reason = comparable(figures[one], figures[other], (f"the {one}", other))
    said = "both figures were measured alike" if passed else f"the two figures were not measured alike: {reason}"
    return Check(rule="measured alike", passed=passed, reason=said)


def _signed(bound: float) -> str:
    return f"{bound:+.3g}" if bound else "0"


def above(what: str, interval: Figures, bound: float) -> Check:
    """The whole interval of a difference lies above the bound; a figure that is no number, or endless, fails."""
    passed = _is_finite(interval) and interval["low"] > bound
    return Check(rule=what, passed=passed, reason=_spoken(what, interval, f"must lie above {_signed(bound)}"))


def below(what: str, interval: Figures, bound: float) -> Check:
    passed = _is_finite(interval) and interval["high"] < bound
    return Check(rule=what, passed=passed, reason=_spoken(what, interval, f"must lie below {_signed(bound)}"))


def _is_finite(interval: Figures) -> bool:
    return all(math.isfinite(interval[name]) for name in ("low", "value", "high"))


def _spoken(what: str, interval: Figures, rule: str) -> str:
    return f"{what}: {interval['value']:+.4f} (interval {interval['low']:+.4f} to {interval['high']:+.4f}, {rule})"


def at_most(what: str, value: float, bound: float) -> Check:
    passed = math.isfinite(value) and value <= bound
    return Check(rule=what, passed=passed, reason=f"{what}: {value:.4f} (at most {bound:g})")


def within(what: str, interval: Figures, low: float, high: float) -> Check:
    """The whole interval lies between the bounds, both included; a figure that is no number fails."""
    passed = _is_finite(interval) and low <= interval["low"] and interval["high"] <= high
    said = f"interval {interval['low']:.4f} to {interval['high']:.4f}, must lie within {low:g} to {high:g}"
    return Check(rule=what, passed=passed, reason=f"{what}: {interval['value']:.4f} ({said})")
