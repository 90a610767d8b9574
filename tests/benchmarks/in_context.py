"""Learning in context, long enough to compare it with the best there is.

    make prove in_context      kept in tests/benchmarks/results/in_context.txt; small form: tests/emergence/test_in_context.py

Label mappings beside the least loss that anybody can have, with shuffled labels as the control; linear functions beside
least squares, of which a decoder is to be within twice the error once it has seen 2d examples (Garg et al. 2022).
"""

import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from models.llama import LlamaShape
from models.regressor import InContextRegressor
from tasks.emergence.in_context import (
    LABELS,
    Drawn,
    label_mappings,
    least_mapping_nats,
    nats_by_place,
    repeated_cycles,
    small_attention,
)
from tasks.emergence.linear_functions import FunctionBatches, Functions, SquaredError, errors_by_examples
from tasks.training.batches import Batches
from tasks.training.objectives import NextToken, Objective
from tasks.training.optimizers import OptimizerConfig, Schedule
from tests.benchmarks.trainings import header
from tests.generations.brief_training import train_briefly

TOKENS, EXAMPLES, LETTERS, DIMENSIONS = 32, 16, 4, 3
SHAPE = LlamaShape(layers=4, width=64, heads=4, kv_heads=4, feed_forward=128, context=64)


def main() -> None:
    header("in_context")
    induction()
    mappings(steps=1000)
    linear_functions(steps=4000)


def taught(module: nn.Module, objective: Objective, batches: Batches, *, steps: int, rows: int, rate: float) -> None:
    started = time.perf_counter()
    optimizer, schedule = OptimizerConfig(learning_rate=rate, adam_share=0.3), Schedule(warmup_steps=20)
    with tempfile.TemporaryDirectory() as folder:
        train_briefly(
            Path(folder), module, objective, batches, steps=steps, batch_sequences=rows, optimizer=optimizer,
            schedule=schedule,
        )  # fmt: skip
    print(f"{steps:,} steps of {rows} sequences: {time.perf_counter() - started:.0f} s", flush=True)


def induction() -> None:
    draw = repeated_cycles(TOKENS)
    for layers in (1, 2):
        model = small_attention(layers, vocabulary=TOKENS, context=2 * TOKENS)
        taught(model, NextToken(), Drawn(draw, rows=16, seed=1), steps=600, rows=16, rate=0.05)
        nats = nats_by_place(model, draw, rows=256, seed=2)
        first, second = sum(nats[: TOKENS - 1]) / (TOKENS - 1), sum(nats[TOKENS:]) / (TOKENS - 1)
        print(f"{layers} layers, a random cycle said twice: {first:.2f} nats, then {second:.2f}\n")


def mappings(*, steps: int) -> None:
    model = small_attention(2, vocabulary=LABELS + LETTERS, context=2 * EXAMPLES)
    draw = label_mappings(EXAMPLES, letters=LETTERS)
    taught(model, NextToken(), Drawn(draw, rows=32, seed=1), steps=steps, rows=32, rate=0.01)
    shuffled = label_mappings(EXAMPLES, letters=LETTERS, shuffled=True)
    show("label mappings, nats after 0, 1, ... examples", nats_by_place(model, draw, rows=1000, seed=2))
    show("the least there is", least_mapping_nats(EXAMPLES, LETTERS))
    show("shuffled labels", nats_by_place(model, shuffled, rows=1000, seed=2))


def linear_functions(*, steps: int) -> None:
    functions = Functions(dimensions=DIMENSIONS, examples=2 * DIMENSIONS + 1)
    torch.manual_seed(0)
    model = InContextRegressor(SHAPE, dimensions=DIMENSIONS)
    taught(model, SquaredError(), FunctionBatches(functions, rows=64, seed=1), steps=steps, rows=64, rate=0.005)
    found = errors_by_examples(model, functions, rows=4000, seed=2)
    for name, errors in found.items():
        show(f"linear functions of {DIMENSIONS} numbers, squared error after 0, 1, ... examples: {name}", errors)
    share = found["model"][-1] / found["least squares"][-1]
    print(f"after 2d examples: {share:.2f} times the error of least squares (the aim: at most 2)")


def show(name: str, figures: list[float]) -> None:
    print(f"{name}\n  {' '.join(f'{each:.2f}' for each in figures)}")


if __name__ == "__main__":
    main()
