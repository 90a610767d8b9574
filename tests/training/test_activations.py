"""Activations that are not kept are computed again: the same losses and gradients from less memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import CONTEXT, UnequalBatches, tiny_model
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from models.heads import PolicyWithValue, RewardModel
from models.llama import LlamaShape, build_llama
from tasks.alignment.ppo import ClippedPolicy, PPOConfig
from tasks.alignment.reward import PairwisePreference
from tasks.training.batches import Batch
from tasks.training.distributed import Ranks
from tasks.training.gradients import accumulate_gradients
from tasks.training.machine import Decided, settle
from tasks.training.objectives import NextToken, Objective
from tasks.training.optimizers import Optimizer, OptimizerConfig, Schedule
from tasks.training.preflight import Start, first_wrong


def next_token() -> tuple[nn.Module, Objective, Batch]:
    return tiny_model(), NextToken(), UnequalBatches(6).batch(0)


def pairs() -> tuple[nn.Module, Objective, Batch]:
    module = RewardModel(tiny_model())
    ids = UnequalBatches(6).batch(0).tensors["ids"].view(3, 2, CONTEXT)
    mask = torch.ones_like(ids)
    mask[:, 0, 15:] = 0
    answer = mask.clone()
    answer[..., :8] = 0
    return module, PairwisePreference(), Batch(tensors={"ids": ids, "mask": mask, "answer": answer}, tokens=ids.numel())


def answers() -> tuple[nn.Module, Objective, Batch]:
    ids = UnequalBatches(6).batch(0).tensors["ids"]
    drawn = torch.randn(4, 6, CONTEXT - 1, generator=torch.Generator().manual_seed(1))
    actions = torch.zeros(6, CONTEXT - 1)
    actions[:, 10:] = 1
    names = ("old_log_probabilities", "old_values", "advantages", "returns")
    tensors = {"ids": ids, "mask": torch.ones_like(ids), "actions": actions, **dict(zip(names, drawn, strict=True))}
    config = PPOConfig(iterations=1, optimizer=OptimizerConfig(learning_rate=0.1))
    return PolicyWithValue(tiny_model()), ClippedPolicy(config), Batch(tensors=tensors, tokens=ids.numel())


def gradients(made: Any, precision: Any, checkpoint: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
    torch.manual_seed(3)
    module, objective, batch = made()
    decided = Decided(
        precision=precision, threads=1, micro_batch=2, reason="", checkpoint_activations=checkpoint
    )  # in several parts
    settle(decided, module.train())
    optimizer = Optimizer(module, OptimizerConfig(learning_rate=0.1))
    metrics = accumulate_gradients(module, objective, batch, decided, optimizer, Ranks())
    return metrics, {name: each.grad for name, each in module.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("made", [next_token, pairs, answers])
def test_losses_and_gradients_are_the_same(made: Any, precision: str) -> None:
    metrics, kept = gradients(made, precision, checkpoint=False)
    again, computed_again = gradients(made, precision, checkpoint=True)
    assert again == pytest.approx(metrics, abs=1e-6)
    assert set(kept) == set(computed_again)
    for name, tensor in kept.items():
        torch.testing.assert_close(computed_again[name], tensor, rtol=0, atol=1e-6)


def most_bytes(precision: Any, *, checkpoint: bool, trace: Path) -> int:
    """What torch's allocator held at most during one batch, by its own account: what a process holds is the system's."""
    shape = LlamaShape(layers=12, width=64, context=256)
    module = build_llama(shape, vocabulary=300, end_id=0, pad_id=1).train()
    decided = Decided(precision=precision, threads=1, micro_batch=16, reason="", checkpoint_activations=checkpoint)
    settle(decided, module)
    ids = torch.randint(300, (16, 256))
    batch = Batch(tensors={"ids": ids, "labels": ids}, tokens=ids.numel())
    optimizer = Optimizer(module, OptimizerConfig(learning_rate=0.1))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        accumulate_gradients(module, NextToken(), batch, decided, optimizer, Ranks())
    profiled.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    held = [event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]"]
    return int(max(held) - held[0])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_memory_of_twelve_layers_falls(tmp_path: Path, precision: str) -> None:
    """Of each layer its input is kept, 64 numbers a token; in between there are about 1700, of one layer at a time."""
    kept, again = (most_bytes(precision, checkpoint=each, trace=tmp_path / "trace.json") for each in (False, True))
    assert again < 0.3 * kept


def test_the_preflight_keeps_no_activations_either() -> None:
    """A layer that computes again is called in both passes, and each is left as it was."""
    calls: dict[bool, int] = {}
    for checkpoint in (False, True):
        module = tiny_model().train()
        settle(
            Decided(precision="fp32", threads=1, micro_batch=2, reason="", checkpoint_activations=checkpoint), module
        )
        seen: list[nn.Module] = []
        module.get_submodule("model.layers.0.input_layernorm").register_forward_hook(
            lambda layer, *_, seen=seen: seen.append(layer)
        )
        start = Start(
            module=module,
            objective=NextToken(),
            batch=UnequalBatches(4).batch(0),
            optimizer=Optimizer(module, OptimizerConfig(learning_rate=0.1)),
            steps=1,
            schedule=Schedule(),
        )
        assert first_wrong(start, ()) is None
        assert all(each.training for each in module.modules())
        calls[checkpoint] = len(seen)
    assert calls == {False: 5, True: 10}  # 1 x 4 and 4 x 1
