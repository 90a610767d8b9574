"""The `espalier` command: reads arguments, calls a flow or a ledger question, and turns the outcome into an exit status.

Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 refused by a gate, 75 preempted and 130 interrupted (both: the
same command goes on where it was). With --json one JSON document goes to standard output, everything else to standard error.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from infra.settings import switch_telemetry_off

Command = Callable[[argparse.Namespace], int]

EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_INTERRUPTED = 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    switch_telemetry_off()
    options = parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except ValueError as error:
        print(f"espalier: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_FAILED


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="espalier",
        description="Raise a language model from raw text to an aligned, released assistant.",
        epilog="Start with `espalier run`, then `espalier chat`. Every command has --help with an example.",
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _run_commands(commands)
    _service_commands(commands)
    _model_commands(commands)
    _evaluate_command(commands)
    _data_commands(commands)
    _generations_command(commands)
    _tokenizer_commands(commands)
    _scaling_commands(commands)
    chat = _add(commands, "chat", chat_command, "talk to a model in the terminal", "espalier chat")
    chat.add_argument("model", nargs="?", default="production", help="an alias, name or digest (default: production)")
    chat.add_argument("--once", metavar="TEXT", help="answer one message and exit")
    doctor = _add(commands, "doctor", doctor_command, "name what is missing and how to mend it", "espalier doctor")
    _json(doctor, '[{"name", "ok", "detail", "mend"}, ...]')
    return top


def _add(commands: Any, name: str, command: Command, purpose: str, example: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog=f"example: {example}",
    )
    added.set_defaults(command=command)
    return added


def _json(command: argparse.ArgumentParser, shape: str) -> None:
    command.add_argument("--json", action="store_true", help=f"print one JSON document: {shape}".replace("%", "%%"))


def _run_commands(commands: Any) -> None:
    run = _add(commands, "run", run_command, "run the whole lifecycle", "espalier run --recipe laptop")
    stage = _add(commands, "stage", run_command, "run one stage of the lifecycle", "espalier stage pretrain")
    stage.add_argument(
        "stage", choices=("corpus", "pretrain", "instruct", "reward", "align", "evaluate", "release"), help="which"
    )
    for command in (run, stage):
        command.add_argument("--recipe", default="laptop", help="a recipe's name or a .yaml file (default: laptop)")
        command.add_argument(
            "--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE",
            help="lay a value on the recipe, for example instruct.training.steps=200; may be repeated",
        )  # fmt: skip
        command.add_argument(
            "--allow-env-change", dest="assignments", action="append_const", const="runtime.allow_env_change=true",
            help="go on from a checkpoint that other packages wrote; the result is not byte-equal then",
        )  # fmt: skip
        _json(command, '{"run", "recipe", "state", "stages": [...], "time": {...}, "report"}')
    run.add_argument("--start-from", metavar="PATH", help="a Hugging Face folder to begin from instead of pretraining")
    run.set_defaults(stage=None)
    stage.set_defaults(start_from=None)


def _service_commands(commands: Any) -> None:
    up = _add(commands, "up", up_command, "start the Prefect server and worker and the MLflow server", "espalier up")
    down = _add(commands, "down", down_command, "stop what `espalier up` started", "espalier down")
    status = _add(commands, "status", status_command, "say what is running and where", "espalier status")
    deploy = _add(
        commands, "deploy", deploy_command, "register deployments and schedules with Prefect", "espalier deploy"
    )
    for command in (up, down, status):
        _json(command, '{"running", "services": [{"name", "address", "pid"}]}')
    _json(deploy, '{"registered": [...], "removed": [...]}')


def _model_commands(commands: Any) -> None:
    models = commands.add_parser(
        "models", help="list, explain, roll back models", epilog="example: espalier models list"
    )
    verbs = models.add_subparsers(title="models commands", required=True, metavar="VERB")
    listing = _add(verbs, "list", models_list, "list every version", "espalier models list --json")
    _json(listing, '[{"name", "version", "stage", "digest", "aliases", "created", "parents"}, ...]')
    show = _add(verbs, "show", models_show, "show one version", "espalier models show production")
    explain = _add(
        verbs, "explain", models_explain, "say why a version is what it is", "espalier models explain production"
    )
    for command, shape in ((show, "one version with its gate report"), (explain, "the chain of versions, nested")):
        command.add_argument("model", help="production, a name, name:version or a digest's first characters")
        _json(command, shape)
    history = _add(verbs, "history", models_history, "list promotions and rollbacks", "espalier models history")
    history.add_argument("--all", action="store_true", help="every event: registrations, gate reports, approvals")
    _json(history, '[{"seq", "at", "actor", "kind", "payload"}, ...]')
    rollback = _add(
        verbs, "rollback", models_rollback, "make the previous production model production again",
        'espalier models rollback --reason "answers got worse"',
    )  # fmt: skip
    rollback.add_argument("model", nargs="?", default="production", help="whose (default: production)")
    rollback.add_argument("--reason", required=True, help="why; kept in the history")
    _json(rollback, '{"name", "digest", "epoch"}')
    verify = _add(verbs, "verify", models_verify, "re-hash every model and the history", "espalier models verify")
    _json(verify, '[{"name", "ok", "detail"}, ...]')


def _evaluate_command(commands: Any) -> None:
    evaluate = _add(
        commands, "evaluate", evaluate_command, "take the answers out of recorded completions and score them",
        "espalier evaluate --replay completions.jsonl",
    )  # fmt: skip
    evaluate.add_argument(
        "--replay", required=True, metavar="FILE.jsonl",
        help='a line each: {"benchmark", "completion", "gold"}; also "answer_type", "question", "choices", "shots", "mode"',
    )  # fmt: skip
    evaluate.add_argument(
        "--run-code", action="store_true",
        help="run programs against their tests: limited in time and memory, without a network; no wall against an attacker",
    )  # fmt: skip
    _json(
        evaluate,
        '{"identity", "rows": [{"benchmark", "shots", "mode", "metric", "value", "low", "high", "n", "unparsed", ...}], '
        '"decisions": [{"line", "extracted", "gold", "verdict", "rule", ...}]}',
    )


def evaluate_command(options: argparse.Namespace) -> int:
    from flows.replay_commands import replay

    return replay(options.replay, run_code=options.run_code, as_json=options.json)


def _data_commands(commands: Any) -> None:
    data = commands.add_parser(
        "data", help="name the text to train on, look at conversations", epilog="example: espalier data add my/texts"
    )
    verbs = data.add_subparsers(title="data commands", required=True, metavar="VERB")
    add = _add(verbs, "add", data_add, "add your own text to a corpus", "espalier data add my/texts --replace")
    add.add_argument(
        "path", help="a file, a folder or a glob: text, Markdown, JSON lines, Parquet, zip or gzip of these"
    )
    add.add_argument("--corpus", default="default", help="which corpus of params.yaml (default: default)")
    add.add_argument("--replace", action="store_true", help="take the place of the corpus's sources, not join them")
    label = _add(verbs, "label", data_label, "give people's comparisons of answers", "espalier data label mine.jsonl")
    label.add_argument("path", help='JSON lines: {"prompt", "chosen", "rejected"}; they replace the rule annotator')
    label.add_argument("--corpus", default="default", help="which corpus of params.yaml (default: default)")
    label.add_argument("--replace", action="store_true", help="take the place of earlier comparisons, not join them")
    _json(label, '{"labels": PATH, "pairs": N}')
    look = _add(
        verbs, "look", data_look, "say what conversations a file holds, and which of its rows are none",
        "espalier data look alpaca_data.json",
    )  # fmt: skip
    look.add_argument(
        "path", help="a file, a folder or a glob: JSON, JSON lines, Parquet, CSV or TSV, also in gzip, zip or tar"
    )
    instruct = _add(
        verbs, "instruct", data_instruct, "give conversations to instruction tuning",
        "espalier data instruct alpaca_data.json",
    )  # fmt: skip
    instruct.add_argument("path", help="what `espalier data look` reads; only the assistant's turns are learned")
    instruct.add_argument("--corpus", default="default", help="which corpus of params.yaml (default: default)")
    instruct.add_argument("--replace", action="store_true", help="take the place of earlier ones, not join them")
    for command in (look, instruct):
        command.add_argument(
            "--format", default="", metavar="NAME",
            help="read it as this format, for example alpaca (default: guessed from the fields; `--format ?` lists all)",
        )  # fmt: skip
    _json(instruct, '{"conversations": PATH, "in_all": N, "dropped": N, "left_out": {REASON: N}}')
    _json(look, '{"rows", "kept", "dropped": {REASON: N}, "turns", "files": [...], "examples": [...], ...}')
    listing = _add(verbs, "list", data_list, "list the sources of every corpus", "espalier data list")
    for command in (add, listing):
        _json(command, '{"corpora": {NAME: {"sources": [...]}}}')


def _generations_command(commands: Any) -> None:
    compare = _add(
        commands, "generations", generations_command, "train the history of language models on a text, side by side",
        "espalier generations --level word --train train.txt --valid valid.txt --test test.txt",
    )  # fmt: skip
    for name in ("train", "valid", "test"):
        compare.add_argument(f"--{name}", metavar="FILE", help="plain text, a sentence a line, or JSON lines; .gz too")
    compare.add_argument("--corpus", default="default", help="whose text, where no files are named (default: default)")
    compare.add_argument(
        "--level", choices=("word", "subword", "char"), default="subword", help="what a model reads (default: subword)"
    )
    compare.add_argument("--models", metavar="NAME,…", help="which (default: all)")
    compare.add_argument(
        "--budget-minutes", dest="minutes", type=float, default=10.0, metavar="M",
        help="minutes of training of all together (default: 10)",
    )  # fmt: skip
    compare.add_argument(
        "--labelled", metavar="FILE", help="sentences with a label (JSON lines or a table): can their vectors tell it?"
    )
    compare.add_argument("--subwords", type=int, default=4096, help="size of the subword vocabulary (default: 4096)")
    _json(compare, '{"rows": [{"model", "year", "parameters", "train_flops", "seconds", "valid_perplexity", ...}]}')


def generations_command(options: argparse.Namespace) -> int:
    from flows.generation_commands import generations

    return generations(options)


def _tokenizer_commands(commands: Any) -> None:
    tokenizers = commands.add_parser(
        "tokenizers", help="compare and export tokenizers", epilog="example: espalier tokenizers measure my/texts"
    )
    verbs = tokenizers.add_subparsers(title="tokenizers commands", required=True, metavar="VERB")
    measure = _add(
        verbs, "measure", tokenizers_measure, "measure tokenizers on texts, to choose one",
        "espalier tokenizers measure korean.txt english.txt --fit bpe:8000 --fit unigram:8000 --plot choice.png",
    )  # fmt: skip
    measure.add_argument(
        "path", nargs="+", help="a text: a file, a folder or a glob; text, JSON lines, Parquet, zip, gzip"
    )
    measure.add_argument(
        "--tokenizer", action="append", default=[], metavar="NAME",
        help="a folder or file (tokenizer.json, GPT-2's vocabulary or merges, vocab.txt), or a data set of params.yaml; "
        "may be repeated (default: the data set default, where nothing is fitted)",
    )  # fmt: skip
    measure.add_argument(
        "--fit", action="append", default=[], metavar="KIND:VOCABULARY",
        help="fit one on nine lines of ten and measure on the tenth: bpe, unigram, sentencepiece_bpe or wordpiece",
    )  # fmt: skip
    measure.add_argument("--each", action="store_true", help="a text for every file in a folder or an archive")
    measure.add_argument("--only", default="", metavar="NAME,...", help="only these files, each a text: kor,eng,jpn")
    measure.add_argument("--plot", default="", metavar="FILE.png", help="draw bytes per token and tokens per word")
    _json(
        measure,
        '{"rows": [{"tokenizer", "vocabulary", "text", "bytes_per_token", "fertility", ...}], "measured", "plot"}',
    )
    export = _add(
        verbs, "export", tokenizers_export, "write a tokenizer as transformers' AutoTokenizer reads it",
        "espalier tokenizers export default my/tokenizer",
    )  # fmt: skip
    export.add_argument("tokenizer", help="a folder with tokenizer.json, or a data set of params.yaml")
    export.add_argument("folder", help="a new folder")
    _json(export, '{"folder", "vocabulary"}')


def _scaling_commands(commands: Any) -> None:
    scaling = commands.add_parser(
        "scaling",
        help="train a ladder, fit scaling laws, plan by them, ask what emerges",
        epilog="example: espalier scaling plan --flops 1e18",
    )
    verbs = scaling.add_subparsers(title="scaling commands", required=True, metavar="VERB")
    _scaling_study(verbs)
    _scaling_fit(verbs)
    _scaling_plan(verbs)
    _emergence_command(verbs)


def _scaling_study(verbs: Any) -> None:
    command = _add(
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
    _json(command, '{"runs": [...], "table", "fit", "held_out", "foretold": {"passed", "reason"}, "plots", "folder"}')


def _scaling_fit(verbs: Any) -> None:
    fit = _add(
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
    _json(fit, '{"E", "A", "B", "alpha", "beta", "exponents", ...}, or {"approach_1": ..., "kaplan": ...} of all')


def _scaling_plan(verbs: Any) -> None:
    plan = _add(
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
    _json(plan, '{"flops", "optimum": {...}, "beside": [...], "over_trained": [...], "recipe"}')


def _emergence_command(verbs: Any) -> None:
    command = _add(
        verbs, "emergence", scaling_emergence, "train small decoders and say which abilities are emergent",
        "espalier scaling emergence --minutes 12",
    )  # fmt: skip
    command.add_argument("--family", default="all", help="arithmetic, letters or all (default: all)")
    command.add_argument("--minutes", type=float, default=12.0, help="time for all of it (default: 12)")
    command.add_argument("--steps", type=int, default=0, help="steps of each training, instead of --minutes")
    command.add_argument("--sizes", default="", help="of 4k, 11k, 28k, 93k, 273k, 857k, 1.6m, separated by commas")
    command.add_argument("--seeds", type=int, default=3, help="trainings of each size (default: 3)")
    command.add_argument("--plots", metavar="FOLDER", help="where the figures go (default: beside the trainings)")
    _json(command, '{"rows": [...], "verdicts": [...], "scratchpad": [...], "plots": [...]}')


def run_command(options: argparse.Namespace) -> int:
    from flows.main_job import run

    return run(options)


def up_command(options: argparse.Namespace) -> int:
    from flows.service_commands import up

    return up(as_json=options.json)


def down_command(options: argparse.Namespace) -> int:
    from flows.service_commands import down

    return down(as_json=options.json)


def status_command(options: argparse.Namespace) -> int:
    from flows.service_commands import status

    return status(as_json=options.json)


def deploy_command(options: argparse.Namespace) -> int:
    from flows.service_commands import deploy

    return deploy(as_json=options.json)


def models_list(options: argparse.Namespace) -> int:
    from flows.model_commands import list_models

    return list_models(as_json=options.json)


def models_show(options: argparse.Namespace) -> int:
    from flows.model_commands import show

    return show(options.model, as_json=options.json)


def models_explain(options: argparse.Namespace) -> int:
    from flows.model_commands import explain

    return explain(options.model, as_json=options.json)


def models_history(options: argparse.Namespace) -> int:
    from flows.model_commands import history

    return history(everything=options.all, as_json=options.json)


def models_rollback(options: argparse.Namespace) -> int:
    from flows.model_commands import rollback

    return rollback(options.model, options.reason, as_json=options.json)


def models_verify(options: argparse.Namespace) -> int:
    from flows.model_commands import verify_all

    return verify_all(as_json=options.json)


def data_add(options: argparse.Namespace) -> int:
    from flows.data_commands import add

    return add(options.path, corpus=options.corpus, replace=options.replace, as_json=options.json)


def data_label(options: argparse.Namespace) -> int:
    from flows.data_commands import label

    return label(options.path, corpus=options.corpus, replace=options.replace, as_json=options.json)


def data_look(options: argparse.Namespace) -> int:
    from flows.data_commands import look

    return look(options.path, format=options.format, as_json=options.json)


def data_instruct(options: argparse.Namespace) -> int:
    from flows.data_commands import instruct

    return instruct(
        options.path, format=options.format, corpus=options.corpus, replace=options.replace, as_json=options.json
    )


def data_list(options: argparse.Namespace) -> int:
    from flows.data_commands import list_corpora

    return list_corpora(as_json=options.json)


def tokenizers_measure(options: argparse.Namespace) -> int:
    from flows.tokenizer_commands import measure

    return measure(
        options.path, named=options.tokenizer, fits=options.fit, each=options.each, only=options.only,
        plot=options.plot, as_json=options.json,
    )  # fmt: skip


def tokenizers_export(options: argparse.Namespace) -> int:
    from flows.tokenizer_commands import export

    return export(options.tokenizer, options.folder, as_json=options.json)


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


def chat_command(options: argparse.Namespace) -> int:
    from flows.model_commands import chat

    return chat(options.model, options.once)


def doctor_command(options: argparse.Namespace) -> int:
    from flows.doctor import doctor

    return doctor(as_json=options.json)


def print_json(document: object) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=1, default=str))


if __name__ == "__main__":
    sys.exit(main())
