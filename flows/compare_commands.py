"""`espalier compare A B`: two evaluations side by side, and a refusal of what was not measured in the same way."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.cli import EXIT_USAGE, print_json
from flows.evaluate_commands import EVALUATIONS
from infra.database import sessions, versions
from infra.settings import Settings, load_settings


def compare(first: str, second: str, *, as_json: bool) -> int:
    """A table of what can be compared and a list of what cannot; status 2 when nothing can."""
    from tasks.evaluation.comparison import compare as compared
    from tasks.evaluation.stored import alike, read_evaluation

    settings = load_settings()
    a, b = map(read_evaluation, alike(_found(settings, first), _found(settings, second)))
    document = compared(a, b)
    if as_json:
        print_json(document)
    else:
        _print(document)
    if document["rows"]:
        return 0
    sys.stderr.write(
        "espalier: nothing here can be compared; evaluate both models again in the same way, or name evaluations by their "
        "identity (a model's name means its latest one)\n"
    )
    return EXIT_USAGE


def _found(settings: Settings, name: str) -> list[Path]:
    """An evaluation that is named itself, or those of a model; `production` and the like are known to the ledger."""
    from tasks.evaluation.stored import find_evaluations

    root = settings.home / EVALUATIONS
    try:
        return find_evaluations(root, name)
    except ValueError:
        with sessions.ledger(settings) as engine, suppress(ValueError):
            return find_evaluations(root, versions.find_version(engine, name)["digest"])
        raise


def _print(document: dict[str, Any]) -> None:
    from rich.console import Console

    from flows.compare_tables import comparison

    Console(file=sys.stdout, highlight=False).print(comparison(document))
