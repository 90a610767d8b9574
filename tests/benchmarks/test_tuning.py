"""The noise of the benchmark is what the paper says, and its table compares each way of tuning with the first."""

import math

import torch
from torch import nn

from tests.benchmarks.tuning import HELD_OUT, UNSEEN, WHOLE, Asked, noise, table


def test_noise_is_uniform_and_as_long_for_a_long_text_as_for_a_short_one() -> None:
    """Of uniform noise in [-a, a] the expected squared length is n a^2 / 3: here 5^2 / 3, whatever n is."""
    embedding, ids_BT = nn.Embedding(10, 64), torch.randint(10, (40, 25))
    with noise(5.0), torch.no_grad():
        added = embedding.train()(ids_BT) - embedding.weight[ids_BT]
    assert float(added.abs().max()) <= 5 / math.sqrt(25 * 64) + 1e-6
    assert math.isclose(float(added.square().sum() / len(ids_BT)), 25 / 3, rel_tol=0.02)


def test_there_is_none_of_it_while_nothing_is_trained_or_after_the_training() -> None:
    embedding, ids_BT = nn.Embedding(10, 64), torch.arange(10)[None]
    with noise(5.0):
        assert torch.equal(embedding.eval()(ids_BT)[0], embedding.weight)
    assert torch.equal(embedding.train()(ids_BT)[0], embedding.weight)


def test_differences_are_of_the_same_seeds_and_questions() -> None:
    found = [
        Asked(arm=arm, seed=seed, parameters=1000, exact={UNSEEN: marks, HELD_OUT: [1.0, 1.0]})
        for seed in (1, 2)
        for arm, marks in ((WHOLE, [0.0, 1.0]), ("LoRA", [1.0, 0.0]))
    ]
    lines = table(found)
    assert lines[3].split()[:3] == ["LoRA", "1,000", "0.500"]
    assert "+0.000 (-1.000 to +1.000)" in lines[3]
    assert lines[-1].endswith("+0.000 (-0.658 to +0.658)"), "two questions answered alike: z^2 / (2 + z^2)"
