"""Linear functions in context: what least squares finds, by hand, and a decoder that is taught and asked the same way."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.llama import LlamaShape
from models.regressor import InContextRegressor
from tasks.emergence.linear_functions import FunctionBatches, Functions, SquaredError, errors_by_examples, solved
from tasks.training.optimizers import OptimizerConfig, Schedule
from tests.generations.brief_training import train_briefly

SHAPE = LlamaShape(layers=2, width=32, heads=2, kv_heads=2, feed_forward=64, context=32)


def test_one_example_settles_a_function_of_one_number() -> None:
    assert solved(np.array([[[1.0], [2.0], [3.0]]]), np.array([[2.0, 4.0, 6.0]]), 0.0).tolist() == [[0.0, 2.0 * 2, 6.0]]


def test_ridge_shrinks_by_hand() -> None:
    """w = x y / (x^2 + ridge) = 2 / (1 + 1) = 1, so x = 2 gives 2."""
    assert solved(np.array([[[1.0], [2.0]]]), np.array([[2.0, 9.0]]), 1.0)[0, 1] == pytest.approx(2.0)


def test_of_too_few_examples_least_squares_takes_the_smallest_solution() -> None:
    """x = (1, 1), y = 2: w = (1, 1), and x = (1, 0) gives 1."""
    assert solved(np.array([[[1.0, 1.0], [1.0, 0.0]]]), np.array([[2.0, 0.0]]), 0.0)[0, 1] == pytest.approx(1.0)


def test_nothing_of_a_y_is_seen_before_it_is_foretold() -> None:
    torch.manual_seed(0)
    model = InContextRegressor(SHAPE, dimensions=2).eval()
    x_BKX, y_BK = torch.randn(1, 5, 2), torch.randn(1, 5)
    changed = y_BK.clone()
    changed[0, 2] += 1.0
    before, after = model(x_BKX, y_BK), model(x_BKX, changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


def test_the_noise_decides_what_least_squares_misses() -> None:
    """With k > X + 1 Gaussian examples the expected error is noise^2 X / (k - X - 1): 0.25 * 2 / 7 after ten of them."""
    functions = Functions(dimensions=2, examples=11, noise=0.5)
    found = errors_by_examples(InContextRegressor(SHAPE, dimensions=2), functions, rows=4000, seed=3)
    assert found["least squares"][10] == pytest.approx(0.25 * 2 / 7, rel=0.1)
    assert all(best <= other * 1.05 for best, other in zip(found["best"], found["least squares"], strict=True))


def test_a_function_of_one_number_is_learned_in_context_and_a_shuffled_one_is_not(tmp_path: Path) -> None:
    functions = Functions(dimensions=1, examples=3)
    torch.manual_seed(0)
    model = InContextRegressor(SHAPE, dimensions=1)
    optimizer, schedule = OptimizerConfig(learning_rate=0.02, adam_share=0.3), Schedule(warmup_steps=10)
    batches = FunctionBatches(functions, rows=64, seed=1)
    train_briefly(
        tmp_path, model, SquaredError(), batches, steps=150, batch_sequences=64, optimizer=optimizer, schedule=schedule
    )
    found = errors_by_examples(model, functions, rows=1000, seed=2)
    assert found["model"][2] < 0.75 * found["model"][0]
    assert found["model"][2] > found["best"][2]
    shuffled = errors_by_examples(model, Functions(dimensions=1, examples=3, shuffled=True), rows=1000, seed=2)["model"]
    assert shuffled[2] > 0.9 * shuffled[0]
