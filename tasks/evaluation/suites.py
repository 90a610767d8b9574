"""The suites of `espalier evaluate MODEL --suite S` by name."""

import difflib
from collections.abc import Mapping

from tasks.evaluation import prompting, safety_suite
from tasks.evaluation.harness_suite import PREFIX, harness_suite
from tasks.evaluation.suite import Suite

SUITES: Mapping[str, Suite] = {"prompting": prompting.run, "safety": safety_suite.run}


def suite_named(name: str) -> Suite:
    """By its name; "harness:TASK,TASK" is the suite of these tasks of lm-evaluation-harness."""
    if name.startswith(PREFIX):
        return harness_suite(name)
    if name not in SUITES:
        near = difflib.get_close_matches(name, SUITES, n=1)
        meant = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(f"--suite {name}: there is no such suite{meant} Give one of {', '.join(SUITES)}, {PREFIX}TASK")
    return SUITES[name]
