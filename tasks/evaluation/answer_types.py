"""Which kind of answer a benchmark asks for: the table in answer_types.yaml."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from tasks.evaluation.extraction import AUTOMATIC, CANDIDATES, CODE, LETTERS

TABLE = Path(__file__).with_name("answer_types.yaml")
TYPES = (*CANDIDATES, CODE)


@dataclass(frozen=True, kw_only=True)
class AnswerType:
    """`letters` are those of its choices, `mode` is the rule where a row names none.

    `continues`: a completion goes on from the question, which is the beginning of the program.
    """

    type: str
    letters: str = LETTERS
    mode: str = AUTOMATIC
    continues: bool = False


@cache
def known_benchmarks() -> Mapping[str, AnswerType]:
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {name: AnswerType(**entry) for name, entry in table.items()}


def of_benchmark(name: str) -> AnswerType:
    """ValueError for a benchmark that is not in the table, with the nearest name and all of them."""
    table = known_benchmarks()
    found = table.get(plain_name(name))
    if found is None:
        near = difflib.get_close_matches(plain_name(name), table, n=1)
        meant = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(
            f'benchmark {name!r} is not known{meant} Give "answer_type" ({", ".join(TYPES)}) beside a name of your own, '
            f"or one of {', '.join(table)}"
        )
    return found


def plain_name(name: str) -> str:
    """ "Coin Flip" and "coin-flip" -> coin_flip"""
    return name.strip().lower().replace("-", "_").replace(" ", "_")
