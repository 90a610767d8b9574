"""Muon for the matrices inside the model (Jordan et al. 2024), AdamW for all else; the learning rate is given at each step.

State is a flat table of tensors, so that it goes into safetensors as it is.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from models.lora import ADAPTER, TOKEN_ROWS

# Newton-Schulz coefficients of the quintic that pushes every singular value toward 1.
QUINTIC = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """`learning_rate` is Muon's; AdamW takes `adam_share` of it. With kind adamw it is everybody's.

    Muon's update is scaled to the size of AdamW's, 0.2 sqrt(max(rows, columns)) (Liu et al. 2025), so that one learning
    rate serves matrices of every shape.
    """

    kind: Literal["muon", "adamw"] = "muon"
    learning_rate: float
    adam_share: float = 1.0
    weight_decay: float = 0.0
    momentum: float = 0.95
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1.0e-8

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and self.adam_share > 0 and self.weight_decay >= 0 and self.epsilon > 0):
            raise ValueError(
                "optimizer: learning_rate, adam_share and epsilon must be above 0, weight_decay at least 0"
            )
        if not all(0 <= each < 1 for each in (self.momentum, self.beta1, self.beta2)):
            raise ValueError("optimizer: momentum, beta1 and beta2 lie in [0, 1)")


class Optimizer:
    """All parameters of a module that want gradients; a parameter without one in a step is left as it is."""

    def __init__(self, module: nn.Module, config: OptimizerConfig) -> None:
        self._config = config
        self._named = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
        self._matrices = set(hidden_matrices(module)) & set(self._named) if config.kind == "muon" else set()
        self._state: dict[str, Tensor] = {}
        for name, tensor in self._named.items():
            for key in ("momentum",) if name in self._matrices else ("mean", "square"):
                self._state[f"{key}.{name}"] = torch.zeros_like(tensor)
        self._steps = 0
        self._fused = bool(self._named) and all(tensor.is_cuda for tensor in self._named.values())

    @torch.no_grad()
    def step(self, share: float, *, bf16: bool = False) -> None:
        """One update with `share` (the schedule's) of the learning rate; gradients are dropped afterwards.

        `bf16` is for trainings whose gradients come from bf16: Muon then orthogonalises in it too.
        """
        self._steps += 1
        rate = self._config.learning_rate * share
        self._step_muon(rate, bf16)
        self._step_adam(rate * (self._config.adam_share if self._config.kind == "muon" else 1.0))
        self.drop_gradients()

    def drop_gradients(self) -> None:
        for tensor in self._named.values():
            tensor.grad = None

    def _step_muon(self, rate: float, bf16: bool) -> None:
        by_shape: defaultdict[torch.Size, list[str]] = defaultdict(list)
        for name in self._matrices:
            if self._named[name].grad is not None:
                by_shape[self._named[name].shape].append(name)
        for shape, names in sorted(by_shape.items()):
            names.sort()
            stacked = torch.stack([self._nesterov(name) for name in names])
            updates = orthogonal(stacked.bfloat16() if bf16 else stacked)
            size = 0.2 * math.sqrt(max(shape))
            for name, update in zip(names, updates, strict=True):
                weight = self._named[name]
                weight.mul_(1 - rate * self._config.weight_decay).add_(update, alpha=-rate * size)

    def _nesterov(self, name: str) -> Tensor:
        gradient, momentum = self._named[name].grad, self._state[f"momentum.{name}"]
        assert gradient is not None
        momentum.lerp_(gradient, 1 - self._config.momentum)
        return gradient.lerp(momentum, self._config.momentum)

    def _step_adam(self, rate: float) -> None:
        names = [name for name in self._named if name not in self._matrices and self._named[name].grad is not None]
        if self._fused:
            for decaying in (True, False):
                some = [name for name in names if (self._named[name].dim() >= 2) == decaying]
                self._adam_fused(some, rate, self._config.weight_decay if decaying else 0.0)
        else:
            for name in names:
                self._adam(name, rate)

    def _adam(self, name: str, rate: float) -> None:
        config, weight, gradient = self._config, self._named[name], self._named[name].grad
        assert gradient is not None
        correction1, correction2 = 1 - config.beta1**self._steps, 1 - config.beta2**self._steps
        mean, square = self._state[f"mean.{name}"], self._state[f"square.{name}"]
        mean.lerp_(gradient, 1 - config.beta1)
        square.mul_(config.beta2).addcmul_(gradient, gradient, value=1 - config.beta2)
        if weight.dim() >= 2:
            weight.mul_(1 - rate * config.weight_decay)
        divisor = (square / correction2).sqrt_().add_(config.epsilon)
        weight.addcdiv_(mean, divisor, value=-rate / correction1)

    def _adam_fused(self, names: list[str], rate: float, decay: float) -> None:
        """All of them in one kernel; on a GPU it is the launches that take the time. It counts its step itself."""
        weights: list[Tensor] = [self._named[name] for name in names]
        if not weights:
            return
        adamw(
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            [self._state[f"mean.{name}"] for name in names],
            [self._state[f"square.{name}"] for name in names],
            [],
            list(torch.full((len(weights),), self._steps - 1.0, device=weights[0].device).unbind()),
            fused=True,
            amsgrad=False,
            beta1=self._config.beta1,
            beta2=self._config.beta2,
            lr=rate,
            weight_decay=decay,
            eps=self._config.epsilon,
            maximize=False,
        )

    def tensors(self) -> dict[str, Tensor]:
        return {**self._state, "steps": torch.tensor(self._steps)}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """ValueError when they belong to another model or kind of optimizer."""
        if set(tensors) != {*self._state, "steps"}:
            raise ValueError("the optimizer's state belongs to another model or optimizer; it cannot be resumed")
        self._steps = int(tensors["steps"])
        for name, tensor in self._state.items():
            tensor.copy_(tensors[name])

    def parameters(self) -> Iterable[Tensor]:
        return self._named.values()


def hidden_matrices(module: nn.Module) -> list[str]:
    """The matrices that map hidden states to hidden states: no embedding or rows of one, no vocabulary or scalar head."""
    tables = {id(each.weight) for each in module.modules() if isinstance(each, nn.Embedding)}
    names = []
    for name, tensor in module.named_parameters():
        # one row gives a scalar; its name would not do: BERT calls the values of its attention as others call such a head
        gives_scalar = tensor.shape[:1] == (1,) and ADAPTER not in name  # an adapter of rank 1 has one row too
        is_head = gives_scalar or name.split(".")[-2:-1] in (["lm_head"], ["head"], ["seq_relationship"])
        if tensor.dim() == 2 and id(tensor) not in tables and not is_head and TOKEN_ROWS not in name:
            names.append(name)
    return names


def orthogonal(matrices_NAB: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, nearly: five steps of Newton-Schulz bring singular values to about 1."""
    a, b, c = QUINTIC
    transposed = matrices_NAB.shape[-2] > matrices_NAB.shape[-1]
    x: Tensor = matrices_NAB.mT if transposed else matrices_NAB
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if transposed else x


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Warm-up from 0, a plateau at 1, and over the last `decay_share` of the steps a line down to `final_share`."""

    warmup_steps: int = 0
    decay_share: float = 0.5
    final_share: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup_steps < 0 or not (0 <= self.decay_share <= 1 and 0 <= self.final_share <= 1):
            raise ValueError("schedule: warmup_steps must be at least 0, decay_share and final_share lie in [0, 1]")

    def share(self, step: int, steps: int) -> float:
        """The share of the learning rate for the update that makes step `step` (from 1) of `steps`.

        Schedule(decay_share=0.5).share(step, 4) for steps 1..4 -> 1, 1, 1, 0.5
        """
        warm = min(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0
        decay = steps * self.decay_share
        left = 1.0 if not decay else min(1.0, (steps - step + 1) / decay)
        return warm * (self.final_share + (1 - self.final_share) * left)


def clip_gradients(parameters: Iterable[Tensor], most: float) -> float:
    """Scale all gradients so that their joint norm is at most `most`; returns the norm before."""
    with_gradient = [tensor for tensor in parameters if tensor.grad is not None]
    return float(torch.nn.utils.clip_grad_norm_(with_gradient, most))
