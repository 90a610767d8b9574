"""The `espalier` command: reads arguments, calls a flow or a ledger question, and turns the outcome into an exit status.

Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 refused by a gate, 75 preempted and 130 interrupted (both: the
same command goes on where it was). With --json one JSON document goes to standard output, everything else to standard error.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from flows.arguments import models, runs, scaling, texts
from flows.arguments.adding import Command
from infra.settings import switch_telemetry_off

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
    except PermissionError as error:
        if error.filename is None:
            raise
        print(f"espalier: {error.filename}: {error.strerror}; change its rights, or name another", file=sys.stderr)
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
    runs.add_runs(commands)
    runs.add_services(commands)
    models.add_models(commands)
    models.add_evaluate(commands)
    models.add_compare(commands)
    texts.add_data(commands)
    texts.add_generations(commands)
    texts.add_tokenizers(commands)
    scaling.add_scaling(commands)
    models.add_chat(commands)
    models.add_doctor(commands)
    return top


def print_json(document: object) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=1, default=str))


if __name__ == "__main__":
    sys.exit(main())
