"""A cell of the matrix: one benchmark, some examples, one mode; its identity, and the rows that its answers give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.artifacts import digest_of
from tasks.evaluation.benchmark import Benchmark, Item
from tasks.evaluation.intervals import scores_interval
from tasks.evaluation.kept_cells import code_digest
from tasks.evaluation.replay import UNPARSED
from tasks.evaluation.subject import Subject

DIRECT, COT, CONSISTENT, LIKELIHOOD = "direct", "cot", "cot-sc", "likelihood"
PLAIN, TURNS = "Q: and A: in plain text", "turns of the model's chat template"


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """`examples` in the order in which they are shown; `samples` 0 is one greedy answer.

    Two cells are the same one where `identity_of` them is.
    """

    benchmark: Benchmark
    items: tuple[Item, ...]
    examples: tuple[Item, ...]
    template: str
    mode: str
    max_tokens: int  # of an answer
    samples: int = 0
    temperature: float = 0.0  # of the samples
    seed: int = 0

    @property
    def shots(self) -> int:
        return len(self.examples)

    @property
    def reasons(self) -> bool:
        return self.mode not in (DIRECT, LIKELIHOOD)

    @property
    def title(self) -> str:
        other = "" if self.template == self.benchmark.templates[0] else " in another wording"
        return f"{self.benchmark.name}, {self.shots}-shot {self.mode}{other}"


def identity_of(cell: Cell, subject: Subject) -> dict[str, str]:
    """Everything that a figure depends on, as texts and digests."""
    return {
        "mode": cell.mode,
        "task": digest_of(cell.benchmark.record()),
        "shots": f"{cell.shots}: {digest_of([each.record() for each in cell.examples])}",
        "template": f"{cell.template} [{TURNS if subject.talks else PLAIN}]",
        "decoding": _decoding(cell),
        "data": digest_of([each.record() for each in cell.items]),
        "model": subject.digest,
        "code": code_digest(),
    }


def _decoding(cell: Cell) -> str:
    if cell.mode == LIKELIHOOD:
        return "log-likelihood of each option"
    if cell.samples:
        sampled = f"{cell.samples} samples at temperature {cell.temperature}, seed {cell.seed}"
        return f"{sampled}, at most {cell.max_tokens} tokens, majority"
    return f"greedy, at most {cell.max_tokens} tokens"


def rows_of(cell: Cell, identity: Mapping[str, str], examples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each metric, with its interval over items; unparsed answers count as not right, and are counted."""
    unparsed = sum(each["verdict"] == UNPARSED for each in examples)
    known = {"benchmark": cell.benchmark.name, "shots": cell.shots, "mode": cell.mode}
    counts = {"unparsed": unparsed, "unparsed_share": unparsed / len(examples), "identity": dict(identity)}
    return [
        {**known, "metric": metric, **scores_interval([each["scores"][metric] for each in examples]).record(), **counts}
        for metric in examples[0]["scores"]
    ]
