"""`espalier models`, `evaluate`, `compare`, `chat` and `doctor`."""

import argparse
from typing import Any

from flows.arguments.adding import add, json_option


def add_models(commands: Any) -> None:
    models = commands.add_parser(
        "models", help="list, explain, roll back models", epilog="example: espalier models list"
    )
    verbs = models.add_subparsers(title="models commands", required=True, metavar="VERB")
    listing = add(verbs, "list", models_list, "list every version", "espalier models list --json")
    json_option(listing, '[{"name", "version", "stage", "digest", "aliases", "created", "parents"}, ...]')
    show = add(verbs, "show", models_show, "show one version", "espalier models show production")
    explain = add(
        verbs, "explain", models_explain, "say why a version is what it is", "espalier models explain production"
    )
    for command, shape in ((show, "one version with its gate report"), (explain, "the chain of versions, nested")):
        command.add_argument("model", help="production, a name, name:version or a digest's first characters")
        json_option(command, shape)
    history = add(verbs, "history", models_history, "list promotions and rollbacks", "espalier models history")
    history.add_argument("--all", action="store_true", help="every event: registrations, gate reports, approvals")
    json_option(history, '[{"seq", "at", "actor", "kind", "payload"}, ...]')
    rollback = add(
        verbs, "rollback", models_rollback, "make the previous production model production again",
        'espalier models rollback --reason "answers got worse"',
    )  # fmt: skip
    rollback.add_argument("model", nargs="?", default="production", help="whose (default: production)")
    rollback.add_argument("--reason", required=True, help="why; kept in the history")
    json_option(rollback, '{"name", "digest", "epoch"}')
    verify = add(verbs, "verify", models_verify, "re-hash every model and the history", "espalier models verify")
    json_option(verify, '[{"name", "ok", "detail"}, ...]')


def add_evaluate(commands: Any) -> None:
    evaluate = add(
        commands, "evaluate", evaluate_command, "ask a model the questions of a suite, or score recorded completions",
        "espalier evaluate production --suite prompting",
    )  # fmt: skip
    evaluate.add_argument(
        "models", nargs="*", metavar="MODEL",
        help="a model of `espalier models list`, or a Hugging Face model's folder; several are shown beside one another",
    )  # fmt: skip
    evaluate.add_argument(
        "--suite", metavar="S",
        help="what to ask: prompting, safety, or harness:TASK,TASK of lm-evaluation-harness (default: prompting)",
    )  # fmt: skip
    evaluate.add_argument(
        "--data", action="append", metavar="PATH",
        help="a published benchmark's file or folder instead of the built-in ones (GSM8K, MMLU, ...); more than once",
    )  # fmt: skip
    evaluate.add_argument("--shots", metavar="N,N", help="numbers of examples (default: each benchmark's own)")
    evaluate.add_argument("--samples", type=int, metavar="N", help="of self-consistency; 0 for none (default: 5)")
    evaluate.add_argument("--temperature", type=float, metavar="T", help="of these samples (default: 0.7)")
    evaluate.add_argument("--limit", type=int, metavar="N", help="items of a benchmark (default: 50)")
    evaluate.add_argument("--seed", type=int, metavar="N", help="of items, examples and samples (default: 0)")
    evaluate.add_argument(
        "--skip-long",
        action="store_true",
        default=None,
        help="leave out questions of --data that are too long for MODEL",
    )
    evaluate.add_argument(
        "--replay", metavar="FILE.jsonl",
        help='a line each: {"benchmark", "completion", "gold"}; also "answer_type", "question", "choices", "shots", "mode"',
    )  # fmt: skip
    evaluate.add_argument(
        "--run-code", action="store_true",
        help="run programs against their tests: limited in time and memory, without a network; no wall against an attacker",
    )  # fmt: skip
    json_option(
        evaluate,
        '{"identity", "rows": [{"benchmark", "shots", "mode", "metric", "value", "low", "high", "n", "unparsed", ...}], '
        '...}; of several models {"evaluations": [...]}; of a replay also '
        '"decisions": [{"line", "extracted", "gold", "verdict", "rule", ...}]',
    )


def add_compare(commands: Any) -> None:
    compare = add(
        commands, "compare", compare_command, "set two evaluations side by side, where they were measured in the same way",
        "espalier compare laptop-instruct laptop-aligned",
    )  # fmt: skip
    for name, meaning in (("A", "what was before"), ("B", "what is judged against it")):
        compare.add_argument(
            name.lower(), metavar=name,
            help=f"{meaning}: an evaluation's folder or identity, or a model's name (its latest on the other's benchmarks)",
        )  # fmt: skip
    json_option(
        compare,
        '{"a", "b", "rows": [{"benchmark", "shots", "mode", "metric", "a", "b", "difference", "low", "high", "n", "paired", '
        '"verdict"}, ...], "refused": [{"benchmark", ..., "reason"}, ...]}',
    )


def add_chat(commands: Any) -> None:
    chat = add(commands, "chat", chat_command, "talk to a model in the terminal", "espalier chat")
    chat.add_argument("model", nargs="?", default="production", help="an alias, name or digest (default: production)")
    chat.add_argument("--once", metavar="TEXT", help="answer one message and exit")


def add_doctor(commands: Any) -> None:
    doctor = add(commands, "doctor", doctor_command, "name what is missing and how to mend it", "espalier doctor")
    json_option(doctor, '[{"name", "ok", "detail", "mend"}, ...]')


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


ASKED = (
    "suite",
    "data",
    "shots",
    "samples",
    "temperature",
    "limit",
    "seed",
    "skip_long",
)  # of a model, not of a recording


def evaluate_command(options: argparse.Namespace) -> int:
    if (not options.models) == (options.replay is None):
        raise ValueError("evaluate: give either a MODEL to ask, or --replay FILE.jsonl to score a recording")
    given = {name: getattr(options, name) for name in ASKED if getattr(options, name) is not None}
    if options.replay is not None:
        if given:
            raise ValueError(
                f"--{next(iter(given)).replace('_', '-')}: is about asking a model; leave it out with --replay"
            )
        from flows.replay_commands import replay

        return replay(options.replay, run_code=options.run_code, as_json=options.json)
    if options.run_code:
        raise ValueError("--run-code: is about the programs of a recording; leave it out, or give --replay FILE.jsonl")
    from flows.evaluate_commands import evaluate

    return evaluate(options.models, given.pop("suite", "prompting"), given, as_json=options.json)


def compare_command(options: argparse.Namespace) -> int:
    from flows.compare_commands import compare

    return compare(options.a, options.b, as_json=options.json)


def chat_command(options: argparse.Namespace) -> int:
    from flows.model_commands import chat

    return chat(options.model, options.once)


def doctor_command(options: argparse.Namespace) -> int:
    from flows.doctor import doctor

    return doctor(as_json=options.json)
