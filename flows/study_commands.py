"""`espalier scaling study`: read the arguments, climb the ladder, show its table and its laws."""

import argparse
from typing import Any

from infra.settings import apply_environment, load_settings, prepare
from tasks.corpus.corpora import load_corpus
from tasks.scaling.grid import check_grid


def study(options: argparse.Namespace) -> int:
    if not options.minutes > 0:
        raise ValueError("--minutes must be above 0")
    settings = load_settings()
    load_corpus(settings.checkout, settings.home, options.corpus)
    budgets = _budgets(options.budgets)
    check_grid(len(budgets) or options.count, options.sizes, options.tokens_per_parameter, budgets)
    prepare(settings)
    apply_environment(settings)  # before prefect is imported: it reads its variables once
    from flows import ladder
    from flows.display import Display
    from flows.recipe import load
    from flows.scaling_study import Request
    from flows.scaling_study import study as carried_out
    from infra.data_versions import DataFailed

    request = Request(
        corpus=options.corpus,
        minutes=options.minutes,
        budgets=budgets,
        count=len(budgets) or options.count,
        sizes=options.sizes,
        tokens_per_parameter=options.tokens_per_parameter,
        learning_rate=float(load("laptop").values["pretrain"]["training"]["optimizer"]["learning_rate"]),
        seed=options.seed,
    )
    display = Display(title="espalier scaling study")
    try:
        found, status = ladder.carry_out(settings, display, lambda: carried_out(settings, request, display))
    except DataFailed as error:
        display.error(error.message, error.log)
        return 2 if error.is_input else 1
    if found is not None:
        _print(found, as_json=options.json)
    return status


def _budgets(text: str) -> tuple[float, ...]:
    try:
        found = tuple(sorted(float(each) for each in text.split(",") if each.strip()))
    except ValueError:
        raise ValueError(f"--budgets {text}: expected FLOPs separated by commas, for example 1e12,3e12,1e13") from None
    if len(set(found)) < len(found):
        raise ValueError(f"--budgets {text}: the same budget twice")
    return found


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        from flows.scaling_commands import write_json

        write_json(found)
        return
    from rich.console import Console
    from rich.text import Text

    from flows.study_tables import kept, study_tables

    console = Console(highlight=False)
    console.print(study_tables(found, width=console.width))
    console.print(Text("\n".join(kept(found)), style="cyan"), soft_wrap=True)
