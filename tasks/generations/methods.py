"""What each generation is here: its size, its optimizer, how it is scored and what it can be asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.generations import counting
from tasks.generations.rows import Row
from tasks.generations.text import Text
from tasks.training.engine import Hook
from tasks.training.machine import Runtime


@dataclass(frozen=True, kw_only=True)
class Work:
    """One model's part of a comparison."""

    text: Text
    folder: Path
    seconds: float
    seed: int
    runtime: Runtime
    hooks: Sequence[Hook] = ()


Method = Callable[[Work], Row]

METHODS: Mapping[str, Method] = {
    "ngram": lambda work: counting.ngram(work.text, work.seed),
    "ngram+cache": lambda work: counting.with_cache(work.text, work.seed),
}
