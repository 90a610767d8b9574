"""The suites of `espalier evaluate MODEL --suite S` by name."""

import difflib
from collections.abc import Collection, Mapping, Sequence

from tasks.evaluation import prompting, safety_suite
from tasks.evaluation.harness_suite import PREFIX, harness_suite
from tasks.evaluation.suite import Suite

SUITES: Mapping[str, Suite] = {"prompting": prompting.run, "safety": safety_suite.run}
# parts of a Request that a suite passes over
UNUSED: Mapping[str, Sequence[str]] = {
    "safety": ("shots", "samples", "temperature", "skip_long"),
    PREFIX: ("samples", "temperature", "skip_long"),
}


def suite_named(name: str) -> Suite:
    """By its name; "harness:TASK,TASK" is the suite of these tasks of lm-evaluation-harness."""
    if name.startswith(PREFIX):
        return harness_suite(name)
    if name not in SUITES:
        near = difflib.get_close_matches(name, SUITES, n=1)
        meant = f"did you mean {near[0]}?" if near else f"give one of {', '.join(SUITES)}, {PREFIX}TASK"
        raise ValueError(f"--suite {name}: there is no such suite; {meant}")
    return SUITES[name]


def refuse_unused(suite: str, given: Collection[str]) -> None:
    """ValueError for an option without a meaning: whoever gave it would take the figures for what was asked so."""
    for name in UNUSED.get(PREFIX if suite.startswith(PREFIX) else suite, ()):
        if name in given:
            raise ValueError(f"--{name.replace('_', '-')}: changes nothing in the suite {suite}; leave it out")
