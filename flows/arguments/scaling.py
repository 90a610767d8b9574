"""`espalier scaling`."""

import argparse
from typing import Any

from flows.arguments.adding import add, json_option


def add_scaling(commands: Any) -> None:
    scaling = commands.add_parser(
        "scaling",
        help="train a ladder, fit scaling laws, plan by them, ask what emerges",
        epilog="example: espalier scaling plan --flops 1e18",
    )
    verbs = scaling.add_subparsers(title="scaling commands", required=True, metavar="VERB")
    _add_study(verbs)
    _add_fit(verbs)
    _add_plan(verbs)
    _add_emergence(verbs)


def _add_study(verbs: Any) -> None:
    command = add(
        verbs, "study", scaling_study, "train an iso-FLOP ladder of decoders on a data set and fit its laws",
        "espalier scaling study --minutes 15",
    )  # fmt: skip
    command.add_argument("--corpus", default="default", help="the data set (default: default)")
    command.add_argument("--minutes", type=float, default=15.0, help="time for all of it (default: 15)")
    command.add_argument("--budgets", default="", metavar="FLOPS,...", help="instead of --minutes: 1e12,3e12,1e13")
    command.add_argument("--count", type=int, default=3, metavar="N", help="budgets, without --budgets (default: 3)")
    command.add_argument("--sizes", type=int, default=5, metavar="N", help="sizes of each budget (default: 5)")
    command.add_argument(
        "--tokens-per-parameter", type=float, default=8.0, metavar="RATIO",
        help="in the middle of each budget's sizes (default: 8, which suits small budgets; 20 large ones)",
    )  # fmt: skip
    command.add_argument("--seed", type=int, default=1, help="of weights and order (default: 1)")
    json_option(
        command, '{"runs": [...], "table", "fit", "held_out", "foretold": {"passed", "reason"}, "plots", "folder"}'
    )


def _add_fit(verbs: Any) -> None:
    fit = add(
        verbs, "fit", scaling_fit, "fit scaling laws to a table of runs (parameters, tokens, loss)",
        "espalier scaling fit runs.csv --columns parameters=N,tokens=D,loss=L --approach 3",
    )  # fmt: skip
    fit.add_argument(
        "table", help="CSV (also .csv.gz), Parquet or JSON lines; a row a run, or a row a point of its curve"
    )
    fit.add_argument(
        "--columns", metavar="ROLE=COLUMN,...",
        help="whose column is which: parameters, tokens, flops, loss or perplexity, run; the usual names are guessed",
    )  # fmt: skip
    fit.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE", help="take these rows alone; may be repeated"
    )
    fit.add_argument(
        "--approach", choices=("1", "2", "3", "kaplan", "all"), default="all",
        help="Chinchilla's envelope (1), iso-FLOP parabolas (2), parametric law (3), Kaplan's laws (default: all)",
    )  # fmt: skip
    fit.add_argument(
        "--drop-highest", type=int, default=0, metavar="K", help="leave out the K rows of the highest loss"
    )
    fit.add_argument(
        "--loss-unit", choices=("auto", "nats", "bits"), default="auto", help="of the loss (default: auto)"
    )
    fit.add_argument("--bootstraps", type=int, default=1000, metavar="K", help="refits for intervals (default: 1000)")
    fit.add_argument("--seed", type=int, default=0, help="of the resampling (default: 0)")
    fit.add_argument("--hold-out", action="store_true", help="also fit without the largest budget and foretell it")
    fit.add_argument("--plots", metavar="FOLDER", help="draw PNG figures there")
    json_option(fit, '{"E", "A", "B", "alpha", "beta", "exponents", ...}, or {"approach_1": ..., "kaplan": ...} of all')


def _add_plan(verbs: Any) -> None:
    plan = add(
        verbs, "plan", scaling_plan, "say which size and how much text a budget is best spent on",
        "espalier scaling plan --hours 10 --hardware h200 --recipe mine.yaml",
    )  # fmt: skip
    budget = plan.add_mutually_exclusive_group(required=True)
    budget.add_argument("--flops", type=float, help="the budget, for example 1e18")
    budget.add_argument("--hours", type=float, help="the budget as time on --hardware")
    plan.add_argument("--hardware", metavar="BOARD", help="a100, h100 or h200")
    plan.add_argument(
        "--mfu", type=float, default=0.4, help="the share of its bf16 peak that is reached (default: 0.4)"
    )
    plan.add_argument("--fit", metavar="FILE", help="of `espalier scaling fit --json` (default: published constants)")
    plan.add_argument(
        "--tokens-per-parameter-cap",
        type=float,
        metavar="RATIO",
        help="at most so many tokens a parameter: text is scarce",
    )
    plan.add_argument("--recipe", metavar="FILE", help="write a recipe of the optimum to this .yaml file")
    plan.add_argument("--vocabulary", type=int, metavar="N", help="of its tokenizer (default: params.yaml's default)")
    json_option(plan, '{"flops", "optimum": {...}, "beside": [...], "over_trained": [...], "recipe"}')


def _add_emergence(verbs: Any) -> None:
    command = add(
        verbs, "emergence", scaling_emergence, "train small decoders and say which abilities are emergent",
        "espalier scaling emergence --minutes 12",
    )  # fmt: skip
    command.add_argument("--family", default="all", help="arithmetic, letters or all (default: all)")
    command.add_argument("--minutes", type=float, default=12.0, help="time for all of it (default: 12)")
    command.add_argument("--steps", type=int, default=0, help="steps of each training, instead of --minutes")
    command.add_argument("--sizes", default="", help="of 4k, 11k, 28k, 93k, 273k, 857k, 1.6m, separated by commas")
    command.add_argument("--seeds", type=int, default=3, help="trainings of each size (default: 3)")
    command.add_argument("--plots", metavar="FOLDER", help="where the figures go (default: beside the trainings)")
    json_option(command, '{"rows": [...], "verdicts": [...], "scratchpad": [...], "plots": [...]}')


def scaling_study(options: argparse.Namespace) -> int:
    from flows.study_commands import study

    return study(options)


def scaling_fit(options: argparse.Namespace) -> int:
    from flows.scaling_commands import fit

    return fit(options)


def scaling_plan(options: argparse.Namespace) -> int:
    if options.hours and not options.hardware:
        raise ValueError("--hours: name the board too, for example --hardware h200")
    from flows.scaling_commands import plan

    return plan(options)


def scaling_emergence(options: argparse.Namespace) -> int:
    from flows.emergence_commands import emergence

    return emergence(
        family=options.family, minutes=options.minutes, steps=options.steps, sizes=options.sizes, seeds=options.seeds,
        plots_folder=options.plots, as_json=options.json,
    )  # fmt: skip
