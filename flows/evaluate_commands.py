"""`espalier evaluate MODEL`: a suite of benchmarks asked of a model; what was asked before is not asked again."""

import platform
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.cli import print_json
from flows.session import commit_of
from infra.database import sessions, versions
from infra.settings import Settings, load_settings

EVALUATIONS = "evaluations"
CELLS = "cells"


def evaluate(models: Sequence[str], suite: str, asked: dict[str, Any], *, as_json: bool) -> int:
    """A table of the rows, of several models beside one another, or the documents; the folder that holds each is named."""
    from tasks.evaluation.subject import subject_in
    from tasks.evaluation.suite import Request
    from tasks.evaluation.suites import refuse_unused

    refuse_unused(suite, asked)
    request = Request(**_read(asked))
    settings = load_settings()
    subjects = [subject_in(**_named(settings, model)) for model in models]  # no name is wrong when the first is asked
    documents = [_evaluated(settings, subject, suite, request) for subject in subjects]
    if as_json:
        print_json(documents[0] if len(documents) == 1 else {"evaluations": documents})
        return 0
    from rich.console import Console

    from flows.evaluate_tables import evaluation_report
    from flows.evaluate_together import evaluations_report

    shown = evaluation_report(documents[0]) if len(documents) == 1 else evaluations_report(documents)
    Console(file=sys.stdout, highlight=False).print(shown)
    return 0


def _evaluated(settings: Settings, subject: Any, suite: str, request: Any) -> dict[str, Any]:
    """The document of one model, as it lies in its folder."""
    from flows.display import Display
    from flows.evaluation_record import keep_record
    from tasks.evaluation.documents import EXAMPLES_FILE, find_document, folder_of, identity_of, write_document
    from tasks.evaluation.kept_cells import Cells
    from tasks.evaluation.report import PAGE_FILE
    from tasks.evaluation.suites import suite_named

    began = time.monotonic()
    run = suite_named(suite)
    folder = settings.home / EVALUATIONS
    display = Display()
    try:
        outcome = run(subject, request, Cells(folder / CELLS), display.progress)
    finally:
        display.close()
    identity = identity_of(suite, outcome.rows)
    if find_document(folder, identity) is None:
        document = {
            "identity": identity,
            "model": {"name": subject.name, "digest": subject.digest, "path": str(subject.path)},
            "suite": suite,
            "rows": outcome.rows,
            "made": _made(settings, time.monotonic() - began),
        }
        write_document(folder, document, outcome.examples)
    kept = folder_of(folder, identity)
    recorded = keep_record(settings, kept)
    for note in outcome.notes:
        sys.stderr.write(f"{note}\n")
    sys.stderr.write(
        f"{outcome.reused} of {outcome.cells} cells reused, {outcome.cells - outcome.reused} asked\n"
        f"page     {kept / PAGE_FILE}\nanswers  {kept / EXAMPLES_FILE}\n"
    )
    # the same model may have been asked under another name
    return {**recorded, "model": {"name": subject.name, "digest": subject.digest, "path": str(subject.path)}}


def _read(asked: dict[str, Any]) -> dict[str, Any]:
    """The options as a Request takes them."""
    read = dict(asked)
    if "shots" in asked:
        numbers = asked["shots"].split(",")
        if not all(each.strip().isdecimal() for each in numbers):
            raise ValueError(f"--shots {asked['shots']}: expected numbers with commas between them, like 0,1,4")
        read["shots"] = tuple(sorted({int(each) for each in numbers}))
    if "data" in asked:
        read["data"] = tuple(Path(each).expanduser() for each in asked["data"])
    return read


def _named(settings: Settings, model: str) -> dict[str, Any]:
    """A folder, or a model of the ledger with its digest there."""
    path = Path(model).expanduser()
    if path.is_dir() or "/" in model:
        return {"folder": path.resolve(), "name": path.resolve().name}
    with sessions.ledger(settings) as engine:
        found = versions.find_version(engine, model)
    return {"folder": Path(found["path"]), "name": f"{found['name']}:{found['version']}", "digest": found["digest"]}


def _made(settings: Settings, seconds: float) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["espalier", *sys.argv[1:]]),
        "commit": commit_of(settings.checkout),
        "machine": f"{platform.machine()}, {platform.system()}",
        "seconds": round(seconds, 1),
    }
