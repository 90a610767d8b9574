"""One model's part of a comparison, and how what it learned becomes its row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.generations.labelled import Labelled, label_reading
from tasks.generations.learning import Learner, learn
from tasks.generations.rows import PERPLEXITY, Nats, Row, figures
from tasks.generations.sentences import Represent, neighbours_told
from tasks.generations.text import Ids, Text
from tasks.training.engine import Hook
from tasks.training.machine import Runtime

PROMPT_PIECES, SAID_PIECES, SAMPLES = 8, 40, 2
SCORED = ("valid", "test")

Score = Callable[[Ids], Nats]
Say = Callable[[Sequence[int], int], list[int]]


@dataclass(frozen=True, kw_only=True)
class Work:
    """`seconds` are those of the training; what is kept of it lies in `folder`."""

    text: Text
    folder: Path
    seconds: float
    seed: int
    runtime: Runtime
    hooks: Sequence[Hook] = ()
    labelled: Labelled | None = None


def learned_row(
    name: str,
    work: Work,
    learner: Learner,
    *,
    score: Score | None = None,
    sample: Say | None = None,
    probe: Callable[[], Mapping[str, Any]] = dict,
    represent: Represent | None = None,
    measured: Callable[[], Mapping[str, Any]] = dict,
    measure: str = PERPLEXITY,
    note: str = "",
) -> Row:
    """Train, then score the whole valid and test texts, let it say something, and ask it what its kind can answer;
    `represent` makes vectors of sentences."""
    learned = learn(
        learner,
        folder=work.folder,
        seconds=work.seconds,
        text_tokens=len(work.text.splits["train"].ids),
        runtime=work.runtime,
        seed=work.seed,
        hooks=work.hooks,
    )
    learner.module.eval()
    nats = {split: score(work.text.splits[split].ids) for split in SCORED} if score is not None else {}
    return Row(
        model=name,
        parameters=learner.parameters,
        train_flops=learned.train_flops,
        seconds=learned.seconds,
        measure=measure,
        samples=said(work.text, sample) if sample is not None else (),
        probe={**probe(), **(_read_off(represent, work) if represent is not None else {})},
        note=note,
        further={"steps": learned.steps, "tokens": learned.tokens},
        **{**(figures(work.text, nats) if nats else {}), **measured()},
    )


def _read_off(represent: Represent, work: Work) -> dict[str, str]:
    """What a linear reader tells from the vectors of sentences."""
    found = neighbours_told(represent, work.text, work.seed)
    if work.labelled is not None:
        found |= label_reading(represent, work.text, work.labelled, work.seed)
    return found


def said(text: Text, sample: Say) -> list[str]:
    """What follows the beginnings of a few lines of the test text."""
    found = []
    for prompt in beginnings(text, SAMPLES):
        found.append(f"{text.spoken(prompt)} | {text.spoken(sample(prompt, SAID_PIECES))}")
    return found


def beginnings(text: Text, count: int, pieces: int = PROMPT_PIECES) -> list[list[int]]:
    """The first pieces of the first test lines that have twice as many."""
    lines, line = [], list[int]()
    for number in text.splits["test"].ids.tolist():
        if number != text.end_id:
            line.append(number)
            continue
        if len(line) >= 2 * pieces:
            lines.append(line[:pieces])
        if len(lines) == count:
            break
        line = []
    return lines
