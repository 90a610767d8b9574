"""`espalier scaling fit | plan`: laws of anybody's table of runs, and what a law says of a budget."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from infra.settings import load_settings
from tasks.configuration import read_yaml

DEFAULT_MFU = 0.4


def fit(options: argparse.Namespace) -> int:
    """Fit a table; one JSON document, or a table for each approach. Progress goes to standard error."""
    from tasks.scaling.columns import parse_mapping
    from tasks.scaling.fit import fit_runs
    from tasks.scaling.records import record
    from tasks.scaling.runs import read_runs

    named = parse_mapping(options.columns) if options.columns else {}
    runs = read_runs(Path(options.table), columns=named, where=options.where, unit=options.loss_unit)
    sys.stderr.write(f"fitting {len(runs)} rows; the full grid of starts takes some seconds\n")
    fitted = fit_runs(
        runs,
        approach=options.approach,
        drop_highest=options.drop_highest,
        bootstraps=options.bootstraps,
        seed=options.seed,
    )
    document = record(fitted, options.approach)
    if options.hold_out:
        from tasks.scaling.held_out import held_out

        document["held_out"] = held_out(fitted.points, seed=options.seed)
    if options.plots:
        from tasks.scaling.plots import draw

        for path in draw(fitted, Path(options.plots)):
            sys.stderr.write(f"drawn: {path}\n")
    if options.json:
        return write_json(document)
    from flows.scaling_tables import fit_tables

    return _show(lambda width: fit_tables(document, width=width))


def plan(options: argparse.Namespace) -> int:
    """The best size and text for a budget, and a recipe of it."""
    from tasks.scaling.forecast import flops_of, plan, published, read_fit

    known = read_fit(Path(options.fit)) if options.fit else published()
    flops = options.flops or flops_of(options.hours, options.hardware, options.mfu)
    document = plan(known, flops, most_tokens_per_parameter=options.tokens_per_parameter_cap)
    if options.hours:
        document["budget"] = {"hours": options.hours, "hardware": options.hardware, "mfu": options.mfu}
    if options.recipe:
        document["recipe"] = _write_recipe(options, document)
    if options.json:
        return write_json(document)
    from flows.scaling_tables import plan_tables

    return _show(lambda width: plan_tables(document, width=width))


def _write_recipe(options: argparse.Namespace, document: dict[str, Any]) -> dict[str, Any]:
    from flows.scaled_recipe import write_recipe

    vocabulary = options.vocabulary or _default_vocabulary()
    return write_recipe(
        Path(options.recipe),
        document,
        vocabulary=vocabulary,
        device="cuda" if options.hardware else None,
    )


def _default_vocabulary() -> int:
    """That of the tokenizer which the default recipe trains with."""
    params = read_yaml(load_settings().checkout / "params.yaml")
    return int(params["tokenizers"]["default"]["vocabulary"])


def write_json(document: object) -> int:
    """Lists of numbers stand in one line each: a bootstrap sample is five of them."""
    text = json.dumps(document, ensure_ascii=False, indent=1, default=str)
    sys.stdout.write(re.sub(r"\[[\s\d.,eE+-]+\]", lambda found: " ".join(found[0].split()), text) + "\n")
    return 0


def _show(build: Any) -> int:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(build(console.width))
    return 0
