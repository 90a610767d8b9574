"""Gradients are of the mean over the whole global batch, however it is cut."""

from typing import Any

import pytest
import torch
from tiny_training import CONTEXT, UnequalBatches, tiny_model
from torch import Tensor
from torch.nn import functional as F

from tasks.training.batches import IGNORED, Batch
from tasks.training.distributed import Ranks
from tasks.training.gradients import accumulate_gradients
from tasks.training.machine import Decided
from tasks.training.objectives import NextToken
from tasks.training.optimizers import Optimizer, OptimizerConfig


def accumulated(micro: int, batch: Batch, precision: Any = "fp32") -> tuple[dict[str, float], dict[str, Tensor]]:
    module = tiny_model()
    decided = Decided(precision=precision, threads=1, micro_batch=micro, reason="")
    optimizer = Optimizer(module, OptimizerConfig(learning_rate=0.1))
    metrics = accumulate_gradients(module, NextToken(), batch, decided, optimizer, Ranks())
    gradients = {name: each.grad for name, each in module.named_parameters() if each.grad is not None}
    assert set(gradients) == {name for name, _ in module.named_parameters()}
    return metrics, gradients


def plain(batch: Batch) -> tuple[float, dict[str, Tensor]]:
    """The library's own logits, torch's own loss: a mean over every label of the whole batch."""
    module: Any = tiny_model()
    logits = module(input_ids=batch.tensors["ids"]).logits
    loss = F.cross_entropy(logits.flatten(0, 1), batch.tensors["labels"].flatten(), ignore_index=IGNORED)
    loss.backward()
    gradients = {name: each.grad for name, each in module.named_parameters() if each.grad is not None}
    return float(loss.detach()), gradients


@pytest.mark.parametrize("micro", [32, 8, 5, 1])
def test_gradients_are_of_the_mean_over_all_labels_however_they_are_cut(micro: int) -> None:
    """32 rows with 1 to 24 labels, as 1 x 32, 4 x 8, 7 x 5 and 32 x 1."""
    batch = UnequalBatches(32).batch(0)
    labels = (batch.tensors["labels"] != IGNORED).sum(1)
    assert labels.max() == CONTEXT > 10 * labels.min()
    loss, expected = plain(batch)
    metrics, found = accumulated(micro, batch)
    assert metrics["loss"] == pytest.approx(loss, abs=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_a_mean_of_means_would_be_seen() -> None:
    """What the test above would let through if the rows were alike."""
    batch = UnequalBatches(32).batch(0)
    _, expected = plain(batch)
    means = [plain(batch.rows(slice(start, start + 8)))[1] for start in range(0, 32, 8)]
    worst = max(
        float((sum(each[name] for each in means) / 4 - gradient).norm() / gradient.norm())
        for name, gradient in expected.items()
    )
    assert worst > 0.05


def test_micro_batches_without_labels_add_nothing() -> None:
    batch = UnequalBatches(8).batch(0)
    batch.tensors["labels"][2:6] = IGNORED
    _, whole = accumulated(8, batch)
    _, parts = accumulated(2, batch)
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)


def test_bf16_is_close_to_fp32() -> None:
    batch = UnequalBatches(32).batch(0)
    exact, gradients = accumulated(8, batch)
    rounded, others = accumulated(8, batch, "bf16")
    assert rounded["loss"] == pytest.approx(exact["loss"], rel=2e-3)
    assert rounded["loss"] != exact["loss"]
    for name, gradient in gradients.items():
        assert float((others[name] - gradient).norm() / gradient.norm()) < 0.05, name
