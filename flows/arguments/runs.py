"""`espalier run` and `stage`, and the services around them."""

import argparse
from typing import Any

from flows.arguments.adding import add, json_option


def add_runs(commands: Any) -> None:
    run = add(commands, "run", run_command, "run the whole lifecycle", "espalier run --recipe laptop")
    stage = add(commands, "stage", run_command, "run one stage of the lifecycle", "espalier stage pretrain")
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
        json_option(command, '{"run", "recipe", "state", "stages": [...], "time": {...}, "report"}')
    run.add_argument("--start-from", metavar="PATH", help="a Hugging Face folder to begin from instead of pretraining")
    run.set_defaults(stage=None)
    stage.set_defaults(start_from=None)


def add_services(commands: Any) -> None:
    up = add(commands, "up", up_command, "start the Prefect server and worker and the MLflow server", "espalier up")
    down = add(commands, "down", down_command, "stop what `espalier up` started", "espalier down")
    status = add(commands, "status", status_command, "say what is running and where", "espalier status")
    deploy = add(
        commands, "deploy", deploy_command, "register deployments and schedules with Prefect", "espalier deploy"
    )
    for command in (up, down, status):
        json_option(command, '{"running", "services": [{"name", "address", "pid"}]}')
    json_option(deploy, '{"registered": [...], "removed": [...]}')


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
