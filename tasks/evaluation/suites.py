"""The suites of `espalier evaluate MODEL --suite S` by name."""

import difflib
from collections.abc import Iterable, Mapping

from tasks.evaluation import prompting, safety_suite
from tasks.evaluation.harness_suite import PREFIX, harness_suite
from tasks.evaluation.suite import Suite

SUITES: Mapping[str, Suite] = {"prompting": prompting.run, "safety": safety_suite.run}
# fields of a Request that a suite has its own way with; one that begins so
NOT_READ: Mapping[str, tuple[str, ...]] = {
    "safety": ("shots", "samples", "temperature", "skip_long"),
    PREFIX: ("samples", "temperature", "skip_long"),
}


def suite_named(name: str) -> Suite:
    """By its name; "harness:TASK,TASK" is the suite of these tasks of lm-evaluation-harness."""
    if name.startswith(PREFIX):
        return harness_suite(name)
    if name not in SUITES:
        near = difflib.get_close_matches(name, SUITES, n=1)
        meant = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(f"--suite {name}: there is no such suite{meant} Give one of {', '.join(SUITES)}, {PREFIX}TASK")
    return SUITES[name]


def refuse_unread(suite: str, asked: Iterable[str]) -> None:
    """ValueError for something asked for that would change nothing."""
    unread = next((names for beginning, names in NOT_READ.items() if suite.startswith(beginning)), ())
    for name in asked:
        if name in unread:
            raise ValueError(f"--{name.replace('_', '-')}: changes nothing in the suite {suite}; leave it out")
