"""From rewards and values to advantages: GAE (Schulman et al. 2016), masked whitening, the adaptive KL coefficient.

Shapes: B sequences, T tokens; masks are 1 on the tokens that the policy chose.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-8


def generalised_advantages(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, *, discount: float, smoothing: float
) -> tuple[Tensor, Tensor]:
    """(advantages, returns), both 0 outside of the mask; after the last chosen token the value is 0 (it is terminal).

    Rewards -.01 .02 -.03 1, values .5 .4 .3 .2, discount 1, smoothing .95 -> advantages .382575 .5185 .63 .8
    """
    advantages_BT = torch.zeros_like(rewards_BT)
    following_B = torch.zeros_like(rewards_BT[:, 0])
    next_value_B = torch.zeros_like(rewards_BT[:, 0])
    for place in reversed(range(rewards_BT.shape[1])):
        inside_B = mask_BT[:, place].bool()
        error_B = rewards_BT[:, place] + discount * next_value_B - values_BT[:, place]
        advantage_B = error_B + discount * smoothing * following_B
        advantages_BT[:, place] = torch.where(inside_B, advantage_B, 0.0)
        following_B = torch.where(inside_B, advantage_B, following_B)
        next_value_B = torch.where(inside_B, values_BT[:, place], next_value_B)
    return advantages_BT, torch.where(mask_BT.bool(), advantages_BT + values_BT, 0.0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and variance 1 (biased) over the mask, 0 outside: padding changes nothing."""
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    return (values - mean) * torch.rsqrt(variance + EPSILON) * mask


@dataclass(kw_only=True)
class KLController:
    """The coefficient that holds the KL to the reference near `target` nats per answer (Ziegler et al. 2019, 2.2).

    KLController(coefficient=.15, target=6, horizon=10_000).update(12, 512) -> coefficient .151536
    """

    coefficient: float
    target: float
    horizon: int

    def update(self, kl: float, answers: int) -> None:
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.coefficient *= 1 + error * answers / self.horizon
