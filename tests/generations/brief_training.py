"""A training of seconds by the engine, and finite differences to hold its gradients against."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from tasks.training.batches import Batches
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import TrainingConfig, TrainState, train
from tasks.training.machine import Runtime
from tasks.training.objectives import Objective
from tasks.training.optimizers import OptimizerConfig, Schedule

STEP = 1e-5  # of a finite difference


def train_briefly(
    folder: Path,
    module: nn.Module,
    objective: Objective,
    batches: Batches,
    *,
    steps: int,
    batch_sequences: int,
    optimizer: OptimizerConfig,
    schedule: Schedule | None = None,
) -> list[float]:
    """The loss of each step."""
    losses: list[float] = []

    def note(state: TrainState, metrics: Mapping[str, float]) -> None:
        del state
        losses.append(metrics["loss"])

    config = TrainingConfig(
        steps=steps,
        batch_sequences=batch_sequences,
        optimizer=optimizer,
        schedule=schedule or Schedule(decay_share=1.0),
        checkpoint_steps=steps,
    )
    train(
        module,
        objective,
        batches,
        config,
        checkpoints=Checkpoints(folder, identity="brief"),
        runtime=Runtime(precision="fp32", threads=1, device="cpu"),
        seed=1,
        sequence_tokens=1,
        hooks=[note],
    )
    return losses


def largest_gradient_error(module: nn.Module, loss: Callable[[], Tensor]) -> float:
    """Between backward and central differences of every weight, as a share of the largest gradient; wants float64."""
    module.zero_grad()
    loss().backward()
    worst, largest = 0.0, 0.0
    for parameter in module.parameters():
        assert parameter.grad is not None
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for place in range(len(flat)):
            kept = float(flat[place])
            flat[place] = kept + STEP
            above = float(loss().detach())
            flat[place] = kept - STEP
            below = float(loss().detach())
            flat[place] = kept
            worst = max(worst, abs((above - below) / (2 * STEP) - float(gradient[place])))
        largest = max(largest, float(gradient.abs().max()))
    return worst / largest
