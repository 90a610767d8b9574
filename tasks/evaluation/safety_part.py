"""A part of the safety suite: what it asks of a model, the rows that its examples give, and what both depend on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.artifacts import digest_of
from tasks.evaluation.cells import PLAIN, TURNS
from tasks.evaluation.intervals import Interval
from tasks.evaluation.kept_cells import code_digest
from tasks.evaluation.replay import UNPARSED
from tasks.evaluation.safety_sets import meaning_of
from tasks.evaluation.subject import Subject

Example = dict[str, Any]
Told = Callable[[int], None]  # how many more were answered


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A figure of a part; `extra` are more keys of its row, such as the source of a judgement."""

    metric: str
    interval: Interval
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """`task` (rules) and `data` (items) are what their digests are taken of; `size` counts what `ask` tells of.

    `ask` gives an example an item, with at least "id", "prompt", "completion" and "verdict"; `measure` reads no more than
    these examples, so that rows can be made again of kept ones.
    """

    benchmark: str
    mode: str
    task: Any
    data: Any
    template: str
    decoding: str
    size: int
    ask: Callable[[Subject, Told], Iterable[Example]]
    measure: Callable[[Sequence[Example]], Iterable[Measured]]

    def identity(self, subject: Subject) -> dict[str, str]:
        return {
            "task": digest_of([self.benchmark, self.mode, self.task]),
            "shots": "0",
            "template": self.template,
            "decoding": self.decoding,
            "data": digest_of(self.data),
            "model": subject.digest,
            "code": code_digest(),
        }

    def examples(self, subject: Subject, told: Told) -> list[Example]:
        known = {"benchmark": self.benchmark, "shots": 0, "mode": self.mode}
        missing: Example = {"extracted": None, "gold": None, "reason": "", "scores": {}}
        return [{**known, **missing, **each} for each in self.ask(subject, told)]

    def rows(self, subject: Subject, examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
        unparsed = sum(each["verdict"] == UNPARSED for each in examples)
        counts = {"unparsed": unparsed, "unparsed_share": unparsed / len(examples)}
        known = {"benchmark": self.benchmark, "shots": 0, "mode": self.mode}
        for each in self.measure(examples):
            figures = {"metric": each.metric, **each.interval.record()}
            meaning = meaning_of(self.benchmark, each.metric)
            yield {**known, **figures, **counts, **meaning, **each.extra, "identity": self.identity(subject)}


def template_of(subject: Subject) -> str:
    return TURNS if subject.talks else PLAIN
