"""Linear functions learned from examples in the context, beside least squares on the same examples (Garg et al. 2022).

y = w x + noise, with w and x drawn anew for each sequence: w ~ N(0, I / X), x ~ N(0, I), so that y without noise is of
size 1. Errors are those against the function itself, without the noise of the y that is asked for.

Shapes: B functions, K examples, X dimensions of x.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tasks.training.batches import Batch, Stateless
from tasks.training.objectives import Loss

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Functions:
    """`shuffled`, the control: the y of a sequence are dealt out to its x anew, so that no x tells its y."""

    dimensions: int
    examples: int
    noise: float = 0.25
    shuffled: bool = False

    def draw(self, generator: np.random.Generator, rows: int) -> tuple[Array, Array, Array]:
        """x [B, K, X], y [B, K] with noise, and y without it."""
        x_BKX = generator.standard_normal((rows, self.examples, self.dimensions))
        w_BX = generator.standard_normal((rows, self.dimensions)) / np.sqrt(self.dimensions)
        true_BK = np.einsum("bkx,bx->bk", x_BKX, w_BX)
        if self.shuffled:
            true_BK = generator.permuted(true_BK, axis=1)
        return x_BKX, true_BK + self.noise * generator.standard_normal(true_BK.shape), true_BK


class FunctionBatches(Stateless):
    """Fresh functions without an end, by (seed, position)."""

    def __init__(self, functions: Functions, *, rows: int, seed: int) -> None:
        self._functions, self._rows, self._seed = functions, rows, seed

    def batch(self, position: int) -> Batch:
        x_BKX, y_BK, _ = self._functions.draw(np.random.default_rng([self._seed, position]), self._rows)
        tensors = {"x": torch.from_numpy(x_BKX).float(), "y": torch.from_numpy(y_BK).float()}
        return Batch(tensors=tensors, tokens=2 * y_BK.size)


class SquaredError:
    """Of every y of a sequence, the first one's too, which nothing foretells; per example."""

    def weight(self, batch: Batch) -> float:
        return float(batch.tensors["y"].numel())

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        x_BKX, y_BK = batch.tensors["x"], batch.tensors["y"]
        total = (module(x_BKX, y_BK).float() - y_BK).square().sum()
        return Loss(total=total, sums={"loss": total.detach().double()})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state


@torch.no_grad()
def errors_by_examples(module: nn.Module, functions: Functions, *, rows: int, seed: int) -> dict[str, list[float]]:
    """Mean squared errors after 0, 1, ... K - 1 examples, of the model, of least squares and of the best linear rule.

    The best one is ridge regression at noise^2 X, the mean of w given the examples: nobody is better on average.
    """
    x_BKX, y_BK, true_BK = functions.draw(np.random.default_rng([seed]), rows)
    module.eval()
    foretold_BK = module(torch.from_numpy(x_BKX).float(), torch.from_numpy(y_BK).float()).double().numpy()
    ridge = functions.noise**2 * functions.dimensions
    found = {"model": foretold_BK, "least squares": solved(x_BKX, y_BK, 0.0), "best": solved(x_BKX, y_BK, ridge)}
    return {name: [float(each) for each in ((said - true_BK) ** 2).mean(0)] for name, said in found.items()}


def solved(x_BKX: Array, y_BK: Array, ridge: float) -> Array:
    """[B, K]: at each x, what the examples before it foretell; of solutions that fit equally well the smallest.

    solved(x 1 2 3, y 2 4 6, 0) -> 0 4 6
    """
    rows, examples, dimensions = x_BKX.shape
    foretold_BK = np.zeros((rows, examples))
    for shown in range(1, examples):
        seen_BKX, said_BK = x_BKX[:, :shown], y_BK[:, :shown]
        gram_BXX = np.einsum("bkx,bkz->bxz", seen_BKX, seen_BKX) + ridge * np.eye(dimensions)
        moment_BX = np.einsum("bkx,bk->bx", seen_BKX, said_BK)
        w_BX = np.einsum("bxz,bz->bx", np.linalg.pinv(gram_BXX, hermitian=True), moment_BX)
        foretold_BK[:, shown] = np.einsum("bx,bx->b", x_BKX[:, shown], w_BX)
    return foretold_BK
