"""Advantages, whitening and the KL controller against figures that were worked by hand."""

import pytest
import torch
from torch import Tensor

from tasks.alignment.advantages import KLController, generalised_advantages, masked_mean, whiten

REWARDS, VALUES = [-0.01, 0.02, -0.03, 1.0], [0.5, 0.4, 0.3, 0.2]
ADVANTAGES = [0.382575, 0.5185, 0.63, 0.8]
WHITENED = [-1.30850999, -0.42007456, 0.30871375, 1.41987080]


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(found: Tensor, expected: list[float], within: float = 1e-6) -> bool:
    return torch.allclose(found, torch.tensor(expected, dtype=found.dtype), rtol=0, atol=within)


def test_advantages_and_returns_of_a_small_episode() -> None:
    advantages, returns = generalised_advantages(
        rows(REWARDS), rows(VALUES), torch.ones(1, 4), discount=1.0, smoothing=0.95
    )
    # from the end: 1 - .2 = .8; (-.03 + .2 - .3) + .95 x .8 = .63; ...
    assert close(advantages[0], ADVANTAGES)
    assert close(returns[0], [0.882575, 0.9185, 0.93, 1.0])
    assert close(whiten(advantages, torch.ones(1, 4))[0], WHITENED)


def test_smoothing_1_gives_the_reward_to_go_and_0_the_one_step_error() -> None:
    whole, mask = rows(REWARDS), torch.ones(1, 4)
    _, returns = generalised_advantages(whole, rows(VALUES), mask, discount=1.0, smoothing=1.0)
    assert close(returns[0], [0.98, 0.99, 0.97, 1.0])
    advantages, _ = generalised_advantages(whole, rows(VALUES), mask, discount=0.5, smoothing=0.0)
    errors = [-0.01 + 0.2 - 0.5, 0.02 + 0.15 - 0.4, -0.03 + 0.1 - 0.3, 1 - 0.2]
    assert close(advantages[0], errors)
    # in between both shrink what comes later: each step back is worth .5 x .8 = .4
    advantages, _ = generalised_advantages(whole, rows(VALUES), mask, discount=0.5, smoothing=0.8)
    assert close(advantages[0], [sum(0.4**far * error for far, error in enumerate(errors[at:])) for at in range(4)])


@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 0), (0, 4), (2, 5)])
def test_padding_on_either_side_changes_nothing(before: int, after: int) -> None:
    """Prompts stand before the answer, padding behind it; garbage there must not leak into the episode."""

    def padded(values: list[float], fill: float) -> list[float]:
        return [fill] * before + values + [fill] * after

    mask = rows(padded([1.0] * 4, 0.0))
    advantages, returns = generalised_advantages(
        rows(padded(REWARDS, 70.0)), rows(padded(VALUES, -9.0)), mask, discount=1.0, smoothing=0.95
    )
    assert close(advantages[0], padded(ADVANTAGES, 0.0))
    assert close(returns[0], padded([0.882575, 0.9185, 0.93, 1.0], 0.0))
    assert close(whiten(rows(padded(ADVANTAGES, 55.0)), mask)[0], padded(WHITENED, 0.0))
    assert float(masked_mean(rows(padded(VALUES, 99.0)), mask)) == pytest.approx(0.35)


def test_answers_of_different_length_do_not_touch_one_another() -> None:
    rewards, values = rows(REWARDS, [5.0, 1.0, 0.0, 0.0]), rows(VALUES, [1.0, 0.5, 8.0, 8.0])
    mask = rows([1.0] * 4, [1.0, 1.0, 0.0, 0.0])
    advantages, _ = generalised_advantages(rewards, values, mask, discount=1.0, smoothing=0.95)
    assert close(advantages[0], ADVANTAGES)
    assert close(advantages[1], [5 + 0.5 - 1 + 0.95 * 0.5, 0.5, 0, 0])  # the second token is the last: nothing follows


def test_whitening_has_mean_0_and_biased_variance_1_and_survives_equal_advantages() -> None:
    values = torch.randn(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3 + 2
    mask = (torch.arange(35).view(5, 7) % 3 > 0).double()
    whitened = whiten(values, mask)[mask.bool()]
    assert float(whitened.mean()) == pytest.approx(0, abs=1e-9)
    assert float(whitened.var(correction=0)) == pytest.approx(1, abs=1e-6)
    assert whiten(torch.full((2, 3), 0.7), torch.ones(2, 3)).abs().max() < 1e-3
    assert float(masked_mean(values, torch.zeros_like(mask))) == 0


@pytest.mark.parametrize(
    ("kl", "coefficient"), [(12, 0.151536), (6, 0.15), (3, 0.148464), (0, 0.148464), (-4, 0.148464)]
)
def test_the_coefficient_follows_the_kl_by_at_most_a_fifth(kl: float, coefficient: float) -> None:
    controller = KLController(coefficient=0.15, target=6, horizon=10_000)
    controller.update(kl, 512)
    assert controller.coefficient == pytest.approx(coefficient, abs=1e-9)


def test_a_small_error_moves_the_coefficient_in_proportion() -> None:
    controller = KLController(coefficient=0.15, target=6, horizon=10_000)
    controller.update(6.6, 1000)  # one tenth above: x (1 + .1 x 1000 / 10000)
    assert controller.coefficient == pytest.approx(0.15 * 1.01)
