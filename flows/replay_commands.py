"""`espalier evaluate --replay`: recorded completions scored again, without a model."""

import sys
from pathlib import Path

from flows.cli import print_json


def replay(file: str, *, run_code: bool, as_json: bool) -> int:
    """A table of the benchmarks and what was not right, or a document with every decision."""
    from flows.display import Display
    from tasks.evaluation.extraction import CODE
    from tasks.evaluation.replay import decide, identity_of, read
    from tasks.evaluation.replay_rows import rows_of

    completions = read(Path(file), run_code=run_code)
    decisions = []
    display = Display()
    try:
        for number, each in enumerate(completions, 1):
            decisions.append(decide(each))
            if each.answer_type == CODE:  # all else is done in an instant
                display.progress("programs", number, len(completions))
    finally:
        display.close()
    document = {
        "identity": identity_of(completions),
        "rows": rows_of(decisions),
        "decisions": [each.record() for each in decisions],
    }
    if as_json:
        print_json(document)
        return 0
    from rich.console import Console

    from flows.replay_tables import replay_report

    console = Console(file=sys.stdout, highlight=False)
    console.print(replay_report(document, width=console.width))
    return 0
