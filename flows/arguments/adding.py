"""How a command is added: its purpose, an example, and what it prints as JSON."""

import argparse
from collections.abc import Callable
from typing import Any

Command = Callable[[argparse.Namespace], int]


def add(commands: Any, name: str, command: Command, purpose: str, example: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog=f"example: {example}",
    )
    added.set_defaults(command=command)
    return added


def json_option(command: argparse.ArgumentParser, shape: str) -> None:
    command.add_argument("--json", action="store_true", help=f"print one JSON document: {shape}".replace("%", "%%"))
