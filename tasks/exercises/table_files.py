"""The tables that exercises are made from: names, words, relations and sentences of our own writing, as YAML."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("tables")


@cache
def table(name: str) -> Any:
    """What tables/NAME.yaml holds; it is shared, so nobody changes it."""
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def names() -> Sequence[str]:
    """First names, no two alike."""
    return tuple(table("words")["names"])


def words() -> Sequence[str]:
    """Everyday nouns of three to eight letters, in lower case, no two alike."""
    return tuple(table("words")["words"])
