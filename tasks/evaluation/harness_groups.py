"""Groups of lm-evaluation-harness, such as mmlu: a row for each figure that it takes over the tasks of a group.

Shapes: T tasks of a group, one inside two of its groups twice; D draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.artifacts import digest_of
from tasks.evaluation.harness import HarnessRun
from tasks.evaluation.harness_rows import aggregated, benchmark_of, drawn, is_score, metric_name
from tasks.evaluation.intervals import Interval, alike_interval, scores_interval

Row = Mapping[str, Any]


def group_rows(run: HarnessRun, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """`rows` are those of the tasks; a group has the figures that its file names, and where it names none no row."""
    return [
        _row(run, name, key, by_size, of_tasks)
        for name in run.result.get("groups", {})
        for key, by_size in _figures(run, name)
        if (of_tasks := _rows_of(run, name, key, rows))
    ]


def _figures(run: HarnessRun, name: str) -> Iterator[tuple[str, bool]]:
    """("acc,none", True) of {"acc,none": 0.25, "acc_stderr,none": "N/A", ...}; True: by the size of its tasks."""
    for asked in run.groups[name].aggregate_metric_list or ():
        for key in run.result["groups"][name]:
            metric, _, filter_name = key.rpartition(",")
            if metric == asked.metric and (asked.filter_list is None or filter_name in asked.filter_list):
                yield key, asked.weight_by_size


def _tasks(run: HarnessRun, name: str) -> Iterator[str]:
    """The tasks of a group and of the groups in it."""
    for child in run.result["group_subtasks"][name]:
        if child in run.tasks:
            yield child
        else:
            yield from _tasks(run, child)


def _rows_of(run: HarnessRun, name: str, key: str, rows: Sequence[Row]) -> list[Row]:
    tasks = {benchmark_of(task) for task in _tasks(run, name)}
    shown = metric_name(*key.rsplit(",", 1))
    return [row for row in rows if row["benchmark"] in tasks and row["metric"] == shown]


def _row(run: HarnessRun, name: str, key: str, by_size: bool, rows: Sequence[Row]) -> dict[str, Any]:
    unparsed, count = sum(row["unparsed"] for row in rows), sum(row["n"] for row in rows)
    return {
        "benchmark": benchmark_of(name),
        "shots": max(row["shots"] for row in rows),  # the identity tells of tasks with fewer
        "mode": " and ".join(sorted({row["mode"] for row in rows})),
        "metric": rows[0]["metric"],
        **_interval(run, name, key, by_size).record(),
        "unparsed": unparsed,
        "unparsed_share": unparsed / count,
        "identity": _identity(run, name, rows),
    }


def _interval(run: HarnessRun, name: str, key: str, by_size: bool) -> Interval:
    """Of the harness's own figure: a share of all items where these count alike, else over the items of each task."""
    results = run.result["results"]
    tasks = [task for task in _tasks(run, name) if key in results[task]]
    values = {task: _values(run, task, key) for task in tasks}
    value, count = float(results[name][key]), sum(map(len, values.values()))
    items = [float(each) for task in values for each in values[task] if is_score(each)]
    if by_size and len(items) == count:
        pooled = scores_interval(items)
        return Interval(value=value, low=pooled.low, high=pooled.high, n=count)
    metric = key.rsplit(",", 1)[0]
    found = {task: drawn(each, aggregated(run, task, metric), of=task) for task, each in values.items()}
    weights_T = [len(values[task]) if by_size else 1 for task in tasks]
    means_D = np.average(np.stack([found[task] for task in tasks]), axis=0, weights=weights_T)
    low, high = np.quantile(means_D, [0.025, 0.975])
    drawn_interval = Interval(value=value, low=float(low), high=float(high), n=count)
    return alike_interval(value, count) if drawn_interval.has_no_width and items else drawn_interval


def _values(run: HarnessRun, task: str, key: str) -> list[Any]:
    metric, filter_name = key.rsplit(",", 1)
    samples = run.result["samples"][task]
    return [sample[metric] for sample in samples if sample["filter"] == filter_name and metric in sample]


def _identity(run: HarnessRun, name: str, rows: Sequence[Row]) -> dict[str, str]:
    """What all its tasks have in common, or a digest of what each has; its own version and members are part of the task."""
    found = {}
    for field in rows[0]["identity"]:
        each = list(dict.fromkeys(str(row["identity"][field]) for row in rows))
        found[field] = each[0] if len(each) == 1 else digest_of(each)
    own = [name, str(run.result["versions"].get(name)), list(_tasks(run, name))]
    return {**found, "task": digest_of([own, found["task"]])}
