"""One global batch to gradients: micro-batch by micro-batch, over every rank, normalised once for all of it."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import nn

from tasks.training.batches import Batch
from tasks.training.bf16_llama import bf16_layers
from tasks.training.distributed import Ranks
from tasks.training.machine import Decided
from tasks.training.objectives import Objective
from tasks.training.optimizers import Optimizer

# What torch says where a CPU's memory is at its end; a GPU's has an exception of its own.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad allocation")
_SHORT_OF_MEMORY = "ranks that ran out of memory"


class OutOfMemory(Exception):
    """A micro-batch did not fit into the memory; raised by every rank in the same step, with no gradient left."""


def accumulate_gradients(
    module: nn.Module, objective: Objective, batch: Batch, decided: Decided, optimizer: Optimizer, ranks: Ranks
) -> dict[str, float]:
    """Gradients of the mean over the whole global batch: over every micro-batch and rank, never a mean of means.

    OutOfMemory when one rank could not hold its micro-batch; ValueError for a batch with nothing to learn from.
    """
    own = batch.rows(ranks.rows(len(batch)))
    weight = ranks.sum(objective.weight(own))
    if not weight > 0:
        raise ValueError("a batch has nothing to learn from: every label is masked; check the template and the lengths")
    try:
        sums = _backward(module, objective, own, decided, weight)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        sums = {_SHORT_OF_MEMORY: 1.0}
    totals = ranks.sums(sums)  # before the gradients: all ranks must know when one of them has none
    if _SHORT_OF_MEMORY in totals:
        optimizer.drop_gradients()
        raise OutOfMemory(f"micro-batches of {decided.micro_batch} sequences do not fit into the memory")
    ranks.sum_gradients(optimizer.parameters())
    return {**batch.metrics, **{name: value / weight for name, value in totals.items()}}


def _backward(module: nn.Module, objective: Objective, own: Batch, decided: Decided, weight: float) -> dict[str, float]:
    """Gradients of this rank's rows, divided by the weight of all; the sums of what the objective says of them."""
    sums: dict[str, float | torch.Tensor] = {}
    device = next(module.parameters()).device
    # around the backward pass too: activations that were not kept are computed again there
    with bf16_layers(module) if decided.is_bf16 and device.type == "cpu" else nullcontext():
        # moved once: a GPU is waited for at each move, and has nothing to do until the next pass is launched
        moved = micro_batches(own.to(device), decided.micro_batch)
        for micro, there in zip(micro_batches(own, decided.micro_batch), moved, strict=True):
            if objective.weight(micro) == 0:
                continue
            with torch.autocast(device.type, torch.bfloat16, enabled=decided.is_bf16):
                loss = objective.loss(module, there)
            (loss.total / weight).backward()  # type: ignore[no-untyped-call]
            for name, value in loss.sums.items():
                sums[name] = sums.get(name, 0.0) + value
    return {name: float(value) for name, value in sums.items()}


def micro_batches(batch: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, len(batch), size):
        yield batch.rows(slice(start, start + size))


def is_out_of_memory(error: BaseException) -> bool:
    """torch.OutOfMemoryError on a GPU, a RuntimeError with the allocator's words on a CPU, Python's own MemoryError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)
