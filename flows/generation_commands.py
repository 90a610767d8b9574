"""`espalier generations`: read the arguments, compare, show the table, and turn the end into a status."""

import argparse
from pathlib import Path
from typing import Any

from infra.settings import Settings, apply_environment, load_settings, prepare
from tasks.generations.catalogue import chosen

EXIT_FAILED, EXIT_USAGE, EXIT_PREEMPTED, EXIT_INTERRUPTED = 1, 2, 75, 130
SPLITS = ("train", "valid", "test")


def generations(options: argparse.Namespace) -> int:
    settings = load_settings()
    models = chosen([name for name in (options.models or "").split(",") if name])
    if not options.minutes > 0:
        raise ValueError("budget-minutes: must be above 0")
    prepare(settings)
    apply_environment(settings)  # before prefect is imported: it reads its variables once
    from flows.display import Display
    from flows.generations import Request

    display = Display(title="espalier generations")
    try:
        request = Request(
            files=files_of(options, settings, display),
            level=options.level,
            models=models,
            minutes=options.minutes,
            subwords=options.subwords,
        )
        found, status = carry_out(settings, request, display)
    finally:
        display.close()
    if found is not None:
        _print(options, found)
    return status


def carry_out(settings: Settings, request: Any, display: Any) -> tuple[dict[str, Any] | None, int]:
    from flows.generations import compare
    from flows.main_job import REFUSALS, Terminated
    from infra.workers import Preempted, WorkerFailed

    try:
        return compare(settings, request, display), 0
    except WorkerFailed as error:
        display.error(error.message, error.log)
        return None, EXIT_USAGE if error.kind in REFUSALS else EXIT_FAILED
    except (Preempted, Terminated):
        display.note("preempted; everything so far is kept: the same command goes on")
        return None, EXIT_PREEMPTED
    except KeyboardInterrupt:
        display.note("interrupted; everything so far is kept: the same command goes on")
        return None, EXIT_INTERRUPTED


def files_of(options: argparse.Namespace, settings: Settings, display: Any) -> dict[str, Path]:
    """The three files that were named, or those of the default corpus, which DVC makes where they are missing."""
    named = {name: getattr(options, name) for name in SPLITS}
    if any(named.values()):
        missing = [name for name, path in named.items() if not path]
        if missing:
            raise ValueError(f"--{missing[0]}: is missing; name all three of --train, --valid and --test, or none")
        files = {name: Path(path) for name, path in named.items()}
        for path in files.values():
            if not path.is_file():
                raise ValueError(f"{path}: there is no such file")
        return files
    folder = settings.data / options.corpus / "split"
    if not (folder / "train.jsonl").is_file():
        from infra import data_versions

        display.stage_started("corpus")
        data_versions.reproduce(settings, [f"split@{options.corpus}"], on_line=lambda _: None)
        display.stage_ended("corpus", "done")
    return {name: folder / f"{name}.jsonl" for name in SPLITS}


def _print(options: argparse.Namespace, found: dict[str, Any]) -> None:
    if options.json:
        from flows.cli import print_json

        print_json(found)
        return
    from rich.console import Console

    from flows.generation_tables import comparison

    console = Console(highlight=False)
    console.print(comparison(found, width=console.width))
