"""A benchmark as data: a YAML file in benchmarks/ says what is asked, how an answer is read, and which examples are shown.

source: {maker: last_letters}       # exercises that are made here, or {format: gsm8k}: rows of a published file
answer_type: letters                # of answer_types.py
rule: auto                          # of extraction.py
templates: ["{text} ...", ...]      # wordings of the question, the first is the usual one
shots: [0, 1, 4]                    # how many examples the columns of the matrix show
examples: wei2022_maths             # a file in benchmarks/examples/; without it they are drawn where no item comes from
likelihood: texts                   # or letters: what is scored of the options
max_tokens: {direct: 16, cot: 64}
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasks.evaluation.answer_types import TYPES
from tasks.evaluation.extraction import modes
from tasks.evaluation.golds import golds_of

FOLDER = Path(__file__).with_name("benchmarks")
EXAMPLES_FOLDER = FOLDER / "examples"
KEYS = ("source", "answer_type", "rule", "templates", "shots", "examples", "likelihood", "max_tokens")
NEEDED = ("source", "answer_type", "templates", "max_tokens")
SOURCES = ("maker", "format")
LIKELIHOODS = ("texts", "letters")
FEWEST_TEMPLATES = 2
CHOICES = "choices"  # the slot of made items that lists their options


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question. `shown` is its answer as an example shows it, `golds` are what an answer is compared with.

    `place` is where it comes from, for people; `rationale` the way to the answer, "" where there is none.
    """

    id: str
    place: str
    slots: Mapping[str, str]
    shown: str
    golds: tuple[str, ...]
    options: tuple[str, ...] = ()
    right: tuple[int, ...] = ()  # which of the options are right
    rationale: str = ""

    @property
    def question(self) -> tuple[tuple[str, str], ...]:
        """What makes two items the same question, whatever the wording around it and the options beside it."""
        return tuple(sorted((name, text) for name, text in self.slots.items() if name != CHOICES))

    @property
    def letters(self) -> str:
        return string.ascii_uppercase[: len(self.options)]

    def record(self) -> dict[str, Any]:
        """What its identity is made of."""
        names = ("id", "shown", "rationale")
        lists = {"slots": dict(self.slots), "golds": list(self.golds), "options": list(self.options)}
        return {**{name: getattr(self, name) for name in names}, **lists, "right": list(self.right)}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    name: str
    source: str  # one of SOURCES
    origin: str  # the maker's or the format's name
    answer_type: str
    templates: tuple[str, ...]
    max_tokens: Mapping[str, int]
    rule: str = "auto"
    shots: tuple[int, ...] = (0, 1, 4)
    examples: str = ""
    likelihood: str = "texts"

    def record(self) -> dict[str, Any]:
        """The text of the task, for its identity: how many tokens or examples stands in the identity itself."""
        names = ("name", "source", "origin", "answer_type", "rule", "likelihood")
        return {name: getattr(self, name) for name in names}


@cache
def benchmarks() -> Mapping[str, Benchmark]:
    """All of benchmarks/*.yaml by name."""
    return {path.stem: read_benchmark(path) for path in sorted(FOLDER.glob("*.yaml"))}


def read_benchmark(path: Path) -> Benchmark:
    """ValueError with the file, what is wrong in it and how to mend it."""
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({' '.join(str(error).split())}); mend it") from error
    if not isinstance(table, dict):
        raise ValueError(f"{path}: expected keys and values, {', '.join(NEEDED)} among them")
    try:
        return _benchmark(path.stem, table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _benchmark(name: str, table: Mapping[str, Any]) -> Benchmark:
    for key in NEEDED:
        if key not in table:
            raise ValueError(f"{key} is missing; give it")
    for key in table:
        if key not in KEYS:
            raise ValueError(f"{key}: no such key; there are {', '.join(KEYS)}")
    source = table["source"]
    if not isinstance(source, dict) or len(source) != 1 or next(iter(source)) not in SOURCES:
        raise ValueError(f"source: expected {{maker: NAME}} or {{format: NAME}}, found {source!r}")
    if table["answer_type"] not in TYPES:
        raise ValueError(f"answer_type {table['answer_type']!r} is not known; give one of {', '.join(TYPES)}")
    rule = table.get("rule", "auto")
    if rule not in modes(table["answer_type"]):
        raise ValueError(f"rule {rule!r} is none for a {table['answer_type']}; give one of the rules of extraction.py")
    templates = tuple(table["templates"])
    if len(templates) < FEWEST_TEMPLATES or not all("{text}" in each for each in templates):
        raise ValueError(f"templates: expected at least {FEWEST_TEMPLATES}, each with {{text}} in it")
    ((kind, origin),) = source.items()
    scored = table.get("likelihood", LIKELIHOODS[0])
    if scored not in LIKELIHOODS:
        raise ValueError(f"likelihood {scored!r}: expected one of {', '.join(LIKELIHOODS)}")
    return Benchmark(
        name=name, source=kind, origin=origin, answer_type=table["answer_type"], rule=rule, templates=templates,
        examples=table.get("examples", ""), max_tokens=table["max_tokens"], likelihood=scored,
        shots=tuple(table.get("shots", Benchmark.shots)),
    )  # fmt: skip


def fixed_examples(benchmark: Benchmark) -> tuple[Item, ...]:
    """The examples of the file that a benchmark names, in their order."""
    path = EXAMPLES_FOLDER / f"{benchmark.examples}.yaml"
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))["examples"]
    return tuple(
        Item(
            id=f"{benchmark.examples}/{number}", place=f"{path}, example {number}", slots={"text": row["question"]},
            shown=str(row["answer"]), golds=golds_of(str(row["answer"]), benchmark.answer_type, "", ()),
            rationale=row["rationale"],
        )
        for number, row in enumerate(rows, start=1)
    )  # fmt: skip
