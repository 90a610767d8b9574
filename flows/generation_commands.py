"""`espalier generations`: read the arguments, compare, show the table, and turn the end into a status."""

import argparse
from pathlib import Path
from typing import Any

from flows.main_job import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PREEMPTED, EXIT_USAGE, REFUSALS, Terminated
from infra.settings import Settings, apply_environment, load_settings, prepare
from tasks.corpus.corpora import load_corpus
from tasks.generations.catalogue import chosen
from tasks.generations.labelled import read_labelled
from tasks.generations.text import SPLITS


def generations(options: argparse.Namespace) -> int:
    settings = load_settings()
    models = chosen([name for name in (options.models or "").split(",") if name])
    if not options.minutes > 0:
        raise ValueError("budget-minutes: must be above 0")
    named = files_named(options)
    if options.labelled:
        read_labelled(Path(options.labelled))
    if not named:
        load_corpus(settings.checkout, settings.home, options.corpus)
    prepare(settings)
    apply_environment(settings)  # before prefect is imported: it reads its variables once
    from flows.display import Display

    display = Display(title="espalier generations")
    try:
        found, status = carry_out(options, settings, named, models, display)
    finally:
        display.close()
    if found is not None:
        _print(options, found)
    return status


def carry_out(
    options: argparse.Namespace, settings: Settings, named: dict[str, Path], models: list[str], display: Any
) -> tuple[dict[str, Any] | None, int]:
    from flows.generations import Request, compare
    from infra.data_versions import DataFailed
    from infra.workers import Preempted, WorkerFailed

    try:
        request = Request(
            files=named or files_made(options.corpus, settings, display),
            level=options.level,
            models=models,
            minutes=options.minutes,
            subwords=options.subwords,
            labelled=Path(options.labelled) if options.labelled else None,
        )
        return compare(settings, request, display), 0
    except (DataFailed, WorkerFailed) as error:
        display.error(error.message, error.log)
        is_input = error.is_input if isinstance(error, DataFailed) else error.kind in REFUSALS
        return None, EXIT_USAGE if is_input else EXIT_FAILED
    except (Preempted, Terminated):
        display.note("preempted; everything so far is kept: the same command goes on")
        return None, EXIT_PREEMPTED
    except KeyboardInterrupt:
        display.note("interrupted; everything so far is kept: the same command goes on")
        return None, EXIT_INTERRUPTED


def files_named(options: argparse.Namespace) -> dict[str, Path]:
    """The three files, or none; ValueError when some are missing, from the call or from the disk."""
    files = {name: Path(path) for name in SPLITS if (path := getattr(options, name))}
    missing = [name for name in SPLITS if name not in files]
    if files and missing:
        raise ValueError(f"--{missing[0]}: is missing; name all three of --train, --valid and --test, or none")
    for path in files.values():
        if not path.is_file():
            raise ValueError(f"{path}: there is no such file")
    return files


def files_made(corpus: str, settings: Settings, display: Any) -> dict[str, Path]:
    """Those of a corpus, which DVC brings up to date first: in a moment where nothing has changed."""
    from infra import data_versions

    display.stage_started("corpus")
    data_versions.reproduce(settings, [f"split@{corpus}"])
    display.stage_ended("corpus", "done")
    return {name: settings.data / corpus / "split" / f"{name}.jsonl" for name in SPLITS}


def _print(options: argparse.Namespace, found: dict[str, Any]) -> None:
    if options.json:
        from flows.cli import print_json

        print_json(found)
        return
    from rich.console import Console

    from flows.generation_tables import comparison

    console = Console(highlight=False)
    console.print(comparison(found, width=console.width))
