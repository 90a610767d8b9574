"""`espalier run` and `espalier stage`: open a session, call the flow, print the table, and turn the end into a status."""

import argparse
import signal
from collections.abc import Mapping
from typing import Any

from flows import recipe as recipes
from infra import processes
from infra.settings import apply_environment, load_settings

EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_PREEMPTED, EXIT_INTERRUPTED = 1, 2, 3, 75, 130

REFUSALS = ("ValueError", "PreflightFailed")  # what a training says of its input before its first step


class Terminated(BaseException):
    """SIGTERM: the machine is wanted for something else; what runs writes a checkpoint first."""

    exit_status = 75


def run(options: argparse.Namespace) -> int:
    """Run the whole lifecycle, or one stage of it; returns the exit status."""
    settings = load_settings()
    recipe = recipes.load(options.recipe, options.assignments)
    apply_environment(settings)  # before prefect is imported: it reads its variables once
    processes.may_interrupt(False)
    from flows.display import Display

    display = Display(title=f"espalier {'run' if options.stage is None else f'stage {options.stage}'}: {recipe.name}")
    signal.signal(signal.SIGTERM, terminate)
    record: dict[str, Any] = {}
    try:
        status = _carry_out(options, settings, recipe, display, record)
    finally:
        display.close()
    if status in (EXIT_PREEMPTED, EXIT_INTERRUPTED):
        said = "interrupted" if status == EXIT_INTERRUPTED else "preempted"
        display.note(f"{said}; everything so far is kept. Go on with: {again(options)}")
    if record and (options.json or status not in (EXIT_PREEMPTED, EXIT_INTERRUPTED)):
        _print(options, record)
    return status


def _carry_out(options: argparse.Namespace, settings: Any, recipe: Any, display: Any, record: dict[str, Any]) -> int:
    """The run itself; `record` is filled however it ends. ValueError: the input was wrong."""
    from flows import session
    from flows.conclude import concluding
    from infra import temporary_server
    from infra.data_versions import DataFailed
    from infra.workers import Preempted, WorkerFailed

    command = again(options)
    try:
        with (
            session.opened(settings, recipe, display, command=command, start_from=options.start_from) as opened,
            concluding(opened, record),
        ):
            opened.check_inputs()
            with opened.clock.part("start-up"):
                from flows.lifecycle import lifecycle

                temporary_server.use()
            lifecycle(recipe.name, list(options.assignments), options.stage)
    except session.Refused as refused:
        display.error(str(refused))
        return EXIT_REFUSED
    except (DataFailed, WorkerFailed) as error:
        display.error(error.message, error.log)
        is_input = error.is_input if isinstance(error, DataFailed) else error.kind in REFUSALS
        return EXIT_USAGE if is_input else EXIT_FAILED
    except (Preempted, Terminated):
        return EXIT_PREEMPTED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def terminate(*_: object) -> None:
    raise Terminated("SIGTERM")


def again(options: argparse.Namespace) -> str:
    """The command that goes on where this one was."""
    words = ["espalier", *(["run"] if options.stage is None else ["stage", options.stage]), "--recipe", options.recipe]
    for assignment in options.assignments:
        words += ["--set", assignment]
    if options.start_from:
        words += ["--start-from", options.start_from]
    return " ".join(words)


def _print(options: argparse.Namespace, record: Mapping[str, Any]) -> None:
    """The final table, or one JSON document; a terminal narrower than the table wraps it."""
    if options.json:
        from flows.cli import print_json

        print_json(_summary(record))
        return
    from rich.console import Console

    from flows.tables import final_table

    console = Console(highlight=False)
    console.print(final_table(record, width=console.width))


def _summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """{"run", "recipe", "state", "stages", "time", "production", "report"}"""
    run = record["run"]
    return {
        "run": run["id"],
        "recipe": run["recipe"],
        "state": run["state"],
        "stages": record["stages"],
        "time": record["time"],
        "production": record.get("production"),
        "report": record.get("report"),
    }
