"""Whether two figures were measured in the same way: every field of their identity but the model must agree.

A figure with another template, another number of shots or another sampling temperature is another question; to compare
the two says nothing about the models.
"""

import re
from collections.abc import Mapping
from typing import Any

PLACE = ("benchmark", "subset", "shots", "mode", "metric")  # what a row is about
MODEL = "model"
LONGEST_SAID = 60  # characters of a value in a reason
_DIGEST = re.compile(r"[0-9a-f]{12,}")

Row = Mapping[str, Any]


def place_of(row: Row) -> tuple[Any, ...]:
    """("gsm8k", None, 5, "cot", "exact_match"): two rows with the same place ask for the same figure."""
    return tuple(row.get(name) for name in PLACE)


def comparable(row_a: Row, row_b: Row, called: tuple[str, str] = ("A", "B")) -> tuple[bool, str]:
    """(True, ""), or (False, "decoding differs: temperature 0.0 in A, 0.7 in B; ..."): a gate's question and its reason."""
    elsewhere = [name for name in PLACE if row_a.get(name) != row_b.get(name)]
    reasons = [_said(name, row_a.get(name), row_b.get(name), called) for name in elsewhere]
    how_a, how_b = (dict(row.get("identity") or {}) for row in (row_a, row_b))
    if not how_a or not how_b:
        lacking = " and ".join(name for name, how in zip(called, (how_a, how_b), strict=True) if not how)
        return False, "; ".join([*reasons, f"{lacking} does not say how it was measured (it has no identity)"])
    for name in sorted((how_a.keys() | how_b.keys()) - {MODEL, *elsewhere}):
        if how_a.get(name) != how_b.get(name):
            reasons.append(_said(name, how_a.get(name), how_b.get(name), called))
    return not reasons, "; ".join(reasons)


def _said(name: str, in_a: Any, in_b: Any, called: tuple[str, str]) -> str:
    """template differs: "Q: {question}" in A, "Question: {question}" in B"""
    a, b = called
    if isinstance(in_a, Mapping) and isinstance(in_b, Mapping):
        parts = [
            f"{key} {_shown(in_a.get(key))} in {a}, {_shown(in_b.get(key))} in {b}"
            for key in sorted(in_a.keys() | in_b.keys())
            if in_a.get(key) != in_b.get(key)
        ]
        return f"{name} differs: {'; '.join(parts)}"
    if isinstance(in_a, str) and isinstance(in_b, str):
        shown_a, shown_b = _from_difference(in_a, in_b)
    else:
        shown_a, shown_b = _shown(in_a), _shown(in_b)
    verb = "differ" if name == "shots" else "differs"
    return f"{name} {verb}: {shown_a} in {a}, {shown_b} in {b}"


def _from_difference(in_a: str, in_b: str) -> tuple[str, str]:
    """Both texts from a little before the first character that is not the same, so that the difference is seen."""
    in_a, in_b = _short_digests(in_a), _short_digests(in_b)
    if max(len(in_a), len(in_b)) <= LONGEST_SAID:
        return _shown(in_a), _shown(in_b)
    same = next(
        (place for place, (a, b) in enumerate(zip(in_a, in_b, strict=False)) if a != b), min(len(in_a), len(in_b))
    )
    start = max(0, same - LONGEST_SAID // 4)
    before = "… " if start else ""
    return before + _shown(in_a[start:]), before + _shown(in_b[start:])


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if not isinstance(value, str):
        return str(value)
    shown = " ".join(_short_digests(value).split())
    if _DIGEST.fullmatch(value):
        return shown
    return f'"{shown if len(shown) <= LONGEST_SAID else shown[: LONGEST_SAID - 1] + "…"}"'


def _short_digests(text: str) -> str:
    return _DIGEST.sub(lambda found: found.group()[:12], text)
