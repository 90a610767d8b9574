"""The tables of the safety suite in safety/*.yaml, and what its figures mean."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("safety")


def table(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


@cache
def figures() -> Mapping[str, Mapping[str, Any]]:
    """benchmark.metric -> {"best", "says"}, of our own sets."""
    return dict(table("figures"))


def meaning_of(benchmark: str, metric: str) -> Mapping[str, Any]:
    """What a figure says and what would be best; those of a user's BBQ file mean what those of our questions do."""
    return figures()[f"{'bbq' if benchmark.startswith('bbq_') else benchmark}.{metric}"]
