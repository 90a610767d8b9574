"""The suite `harness:TASK,TASK`: tasks of lm-evaluation-harness, answered by our own code, in a document like any other."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tasks.evaluation.harness import require_package, run_harness
from tasks.evaluation.harness_groups import group_rows
from tasks.evaluation.harness_rows import harness_examples, harness_rows
from tasks.evaluation.kept_cells import Cells, code_digest
from tasks.evaluation.subject import Subject
from tasks.evaluation.suite import Outcome, Progress, Request, Suite

PREFIX = "harness:"


def harness_suite(name: str) -> Suite:
    """ "harness:arc_easy,gsm8k" -> the suite of these two tasks."""
    tasks = [task.strip() for task in name.removeprefix(PREFIX).split(",")]
    if not all(tasks):
        raise ValueError(f"--suite {name}: name the tasks after the colon, like {PREFIX}arc_easy,gsm8k")
    require_package()
    return partial(_run, tasks)


def _run(tasks: Sequence[str], subject: Subject, request: Request, cells: Cells, progress: Progress) -> Outcome:  # noqa: ARG001
    """Once for every number of shots asked for, a group before its tasks.

    The prompts are plain text, as the harness's own are by default.
    """
    rows, examples = [], []
    for number, shots in enumerate(request.shots or (None,)):
        progress("harness", number, len(request.shots) or 1)
        run = run_harness(
            subject.model,
            subject.tokenizer,
            tasks,
            folder=_folder(request),
            shots=shots,
            limit=request.limit,
            seed=request.seed,
        )
        of_tasks = harness_rows(run, subject.digest, code_digest())
        rows += [*group_rows(run, of_tasks), *of_tasks]
        examples += list(harness_examples(run))
    return Outcome(rows=rows, examples=examples, cells=len(tasks) * len(request.shots or (None,)), reused=0)


def _folder(request: Request) -> Path | None:
    if len(request.data) > 1:
        raise ValueError("--data: the harness reads one folder of task files; give one")
    return request.data[0] if request.data else None
