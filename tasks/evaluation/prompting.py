"""The suite `prompting`: how many examples x direct or step by step x benchmark, and what order and wording change."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.artifacts import digest_of
from tasks.evaluation.asking import Asked, ask_all
from tasks.evaluation.benchmark import Item
from tasks.evaluation.cells import CONSISTENT, COT, DIRECT, LIKELIHOOD, Cell, rows_of
from tasks.evaluation.intervals import range_interval
from tasks.evaluation.kept_cells import Cells
from tasks.evaluation.questions import Questions, most_tokens, questions_of
from tasks.evaluation.replay import UNPARSED
from tasks.evaluation.subject import Subject
from tasks.evaluation.suite import Outcome, Progress, Request

ORDERS = 4  # in which the same examples are shown
ORDER_RANGE, TEMPLATE_RANGE = "order_range", "template_range"

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cells of one benchmark: its part of the matrix, and the same questions asked in other ways."""

    matrix: tuple[Cell, ...]
    ranges: dict[str, tuple[Cell, ...]]

    @property
    def cells(self) -> Iterator[Cell]:
        yield from self.matrix
        for each in self.ranges.values():
            yield from each


def run(subject: Subject, request: Request, cells: Cells, progress: Progress) -> Outcome:
    """Every cell asked once, or found among those that were asked before."""
    questions, notes = questions_of(request, subject)
    plans = [plan_of(each, request, subject.context) for each in questions]
    wanted = [cell for plan in plans for cell in plan.cells]
    asked = ask_all(wanted, subject, cells, progress, strict=bool(request.shots) and not request.skip_long)
    rows: list[Row] = []
    examples = []
    for plan in plans:
        for cell in plan.matrix:
            if found := asked.of(cell):
                rows += rows_of(cell, asked.identity(cell), found)
                examples += found
        whole = [(metric, ways) for metric, ways in plan.ranges.items() if all(map(asked.of, ways))]
        rows += [_range_row(metric, ways, asked) for metric, ways in whole]
    return Outcome(
        rows=rows, examples=examples, cells=len(asked.answers), reused=asked.reused,
        notes=tuple(note for note in (*notes, asked.note) if note),
    )  # fmt: skip


def plan_of(questions: Questions, request: Request, context: int) -> Plan:
    matrix = tuple(cell for shots in questions.shots for cell in _modes(questions, shots, request, context))
    most = max(questions.shots)
    main = next(cell for cell in matrix if cell.shots == most and cell.mode == DIRECT)
    ranges = {TEMPLATE_RANGE: tuple(replace(main, template=each) for each in questions.benchmark.templates)}
    if most > 1:
        ranges[ORDER_RANGE] = tuple(replace(main, examples=each) for each in orders(main.examples, request.seed))
    return Plan(matrix=matrix, ranges=ranges)


def _modes(questions: Questions, shots: int, request: Request, context: int) -> Iterator[Cell]:
    """Step by step only where no example is shown, or where the examples say how they come to their answers."""
    direct = Cell(
        benchmark=questions.benchmark, items=questions.items, examples=questions.examples[:shots],
        template=questions.benchmark.templates[0], mode=DIRECT,
        max_tokens=most_tokens(questions.benchmark, DIRECT, context),
    )  # fmt: skip
    yield direct
    if all(each.rationale for each in direct.examples):
        thinking = replace(direct, mode=COT, max_tokens=most_tokens(questions.benchmark, COT, context))
        yield thinking
        if request.samples > 1:
            mode = f"{CONSISTENT}{request.samples}"
            yield replace(
                thinking, mode=mode, samples=request.samples, temperature=request.temperature, seed=request.seed
            )
    if all(len(item.options) > 1 and item.right for item in (*direct.items, *direct.examples)):
        yield replace(direct, mode=LIKELIHOOD)


def orders(examples: Sequence[Item], seed: int) -> list[tuple[Item, ...]]:
    """The order they have, and up to three others, all different."""
    found = {tuple(range(len(examples))): None}
    for number in range(20 * ORDERS):
        places = list(range(len(examples)))
        random.Random(f"order/{seed}/{number}").shuffle(places)
        found[tuple(places)] = None
        if len(found) == ORDERS:
            break
    return [tuple(examples[place] for place in places) for places in found]


def _range_row(metric: str, ways: Sequence[Cell], asked: Asked) -> Row:
    """The best way to ask minus the worst, of exact match; `ways` says how many there were."""
    answers = [asked.of(each) or [] for each in ways]
    found = range_interval([[each["scores"]["exact_match"] for each in some] for some in answers])
    unparsed = max(sum(each["verdict"] == UNPARSED for each in some) for some in answers)
    identities = [asked.identity(each) for each in ways]
    varied = "shots" if metric == ORDER_RANGE else "template"
    return {
        "benchmark": ways[0].benchmark.name, "shots": ways[0].shots, "mode": DIRECT, "metric": metric,
        **found.record(), "unparsed": unparsed, "unparsed_share": unparsed / found.n, "ways": len(ways),
        "identity": {**identities[0], varied: digest_of([each[varied] for each in identities])},
    }  # fmt: skip
