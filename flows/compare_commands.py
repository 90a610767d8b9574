"""`espalier compare A B`: two evaluations side by side, and a refusal of what was not measured in the same way."""

import sys
from typing import Any

from flows.cli import EXIT_USAGE, print_json
from flows.evaluate_commands import EVALUATIONS
from infra.settings import load_settings


def compare(first: str, second: str, *, as_json: bool) -> int:
    """A table of what can be compared and a list of what cannot; status 2 when nothing can."""
    from tasks.evaluation.comparison import compare as compared
    from tasks.evaluation.stored import find_evaluation, read_evaluation

    root = load_settings().home / EVALUATIONS
    a, b = (read_evaluation(find_evaluation(root, name)) for name in (first, second))
    document = compared(a, b)
    if as_json:
        print_json(document)
    else:
        _print(document)
    if document["rows"]:
        return 0
    sys.stderr.write("espalier: nothing here can be compared: every figure was measured in another way\n")
    return EXIT_USAGE


def _print(document: dict[str, Any]) -> None:
    from rich.console import Console

    from flows.compare_tables import comparison

    console = Console(file=sys.stdout, highlight=False)
    console.print(comparison(document, width=console.width))
