"""An iso-FLOP grid: the sizes that a budget is spent on, and how each of them is trained. Nothing here imports torch.

C = 6 N D, with N all parameters: the embedding table is tied, so it is the head too and computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Any

from tasks.scaling.laws import FLOPS_PER_PARAMETER_TOKEN
from tasks.scaling.shapes import Sized, family

# tokens a batch ~ D^0.68 leads from the laptop recipe's 4,096 to the 524,288 of gpu-124m
LAPTOP_TOKENS, LAPTOP_BATCH_TOKENS = 480 * 16 * 256, 4096
BATCH_EXPONENT, MOST_BATCH_TOKENS, BATCH_STEP = 0.68, 2**22, 8
# learning rate ~ N^-0.55 leads from the laptop recipe's to the published ones at 124M, 350M and 1B (within a fifth)
LAPTOP_BODY, RATE_EXPONENT = 853_120, 0.55
BUDGET_RATIO = 2.5  # between neighbouring budgets
SIZE_RATIO = 1.7  # between neighbouring sizes of a budget
FEWEST_SIZES, FEWEST_BUDGETS, FEWEST_STEPS = 4, 3, 10


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training of the grid; `flops` is the budget, `spent` what its whole steps come to."""

    flops: float
    sized: Sized
    batch_sequences: int
    steps: int

    @property
    def tokens(self) -> int:
        return self.steps * self.batch_sequences * int(self.sized.architecture["context"])

    @property
    def spent(self) -> float:
        return float(FLOPS_PER_PARAMETER_TOKEN * self.sized.parameters * self.tokens)

    @property
    def name(self) -> str:
        return f"{self.flops:.2e}-{self.sized.parameters}"

    def record(self) -> dict[str, Any]:
        return {
            "flops": self.flops,
            "architecture": dict(self.sized.architecture),
            "batch_sequences": self.batch_sequences,
            "steps": self.steps,
        }


def batch_sequences(tokens: float, context: int) -> int:
    """A multiple of 8 that grows with the text."""
    wanted = min(MOST_BATCH_TOKENS, LAPTOP_BATCH_TOKENS * (tokens / LAPTOP_TOKENS) ** BATCH_EXPONENT)
    return int(max(BATCH_STEP, BATCH_STEP * round(wanted / context / BATCH_STEP)))


def rate_share(body: int) -> float:
    """What share of the laptop recipe's learning rate suits a decoder with `body` parameters outside its embeddings."""
    return float(min(1.0, (body / LAPTOP_BODY) ** -RATE_EXPONENT))


def warmup_steps(steps: int) -> int:
    return min(200, steps // 20)


def check_grid(count: int, sizes: int, tokens_per_parameter: float, budgets: Sequence[float] = ()) -> None:
    """ValueError for a grid that shows nothing; needs no data, so that it can be said before anything starts."""
    if count < FEWEST_BUDGETS or sizes < FEWEST_SIZES:
        raise ValueError(
            f"scaling study: a grid has at least {FEWEST_BUDGETS} budgets and {FEWEST_SIZES} sizes of each; "
            f"found {count} and {sizes}"
        )
    if not all(0 < each < inf for each in (tokens_per_parameter, *budgets)):
        raise ValueError("scaling study: budgets and tokens per parameter must be numbers above 0")


def grid(budgets: Sequence[float], *, sizes: int, vocabulary: int, tokens_per_parameter: float) -> list[Cell]:
    """Every budget's sizes, rising by SIZE_RATIO; the middle of them has `tokens_per_parameter`.

    Where that asks for less than the smallest decoder that this vocabulary allows, the sizes begin at that one.
    """
    check_grid(len(budgets), sizes, tokens_per_parameter, budgets)
    half = SIZE_RATIO ** ((sizes - 1) / 2)
    shapes = list(family(vocabulary))
    cells = []
    for flops in sorted(budgets):
        first = max(shapes[0].parameters, sqrt(flops / (FLOPS_PER_PARAMETER_TOKEN * tokens_per_parameter)) / half)
        left = shapes
        for place in range(sizes):
            sized = _nearest(left, first * SIZE_RATIO**place)
            cells.append(_cell(flops, sized, vocabulary))
            left = left[left.index(sized) + 1 :]
    return cells


def _nearest(shapes: Sequence[Sized], parameters: float) -> Sized:
    return min(shapes, key=lambda each: abs(log(each.parameters / parameters)))


def _cell(flops: float, sized: Sized, vocabulary: int) -> Cell:
    tokens = flops / (FLOPS_PER_PARAMETER_TOKEN * sized.parameters)
    context = int(sized.architecture["context"])
    batch = batch_sequences(tokens, context)
    steps = round(tokens / (batch * context))
    if steps < FEWEST_STEPS:
        raise ValueError(
            f"scaling study: {flops:.1e} FLOPs train a decoder of {sized.parameters:,} parameters for {steps} steps; give "
            f"larger budgets, more minutes, or a data set with a smaller vocabulary than {vocabulary:,}"
        )
    return Cell(flops=flops, sized=sized, batch_sequences=batch, steps=steps)


def ladder_of(largest: float, count: int) -> list[float]:
    """Budgets that rise by BUDGET_RATIO to the largest."""
    return [largest / BUDGET_RATIO**place for place in reversed(range(count))]
