"""How a training uses its machine: what the recipe names is taken, what it leaves open is measured, and the reason said."""

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from tiny_training import tiny_model
from torch import nn

from models.heads import PolicyWithValue, RewardModel
from tasks.training import machine
from tasks.training.machine import BF16_GAIN, MICRO_BATCH_TOKENS, Decided, Runtime, decide, place, settle, topology


def decided(runtime: Runtime, **changed: Any) -> Decided:
    return decide(runtime, tiny_model(), **{"batch_sequences": 32, "sequence_tokens": 256, **changed})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_named_is_taken(precision: Any) -> None:
    found = decided(Runtime(precision=precision, threads=1, micro_batch=5))
    assert found == Decided(precision=precision, threads=1, micro_batch=5, reason="named in the recipe")
    assert found.is_bf16 == (precision == "bf16")


@pytest.mark.parametrize(
    ("batch_sequences", "sequence_tokens", "expected"),
    [
        (32, 256, 32),  # 8192 tokens fit at once
        (256, 256, MICRO_BATCH_TOKENS // 256),
        (8, 1_000_000, 1),
        (8, 0, 8),
    ],
)
def test_a_micro_batch_holds_so_many_tokens(batch_sequences: int, sequence_tokens: int, expected: int) -> None:
    runtime = Runtime(precision="fp32", threads=1)
    found = decided(runtime, batch_sequences=batch_sequences, sequence_tokens=sequence_tokens)
    assert found.micro_batch == expected


@pytest.mark.parametrize(("gain", "precision"), [(BF16_GAIN - 0.01, "fp32"), (BF16_GAIN, "bf16"), (4.96, "bf16")])
def test_bf16_is_chosen_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, gain: float, precision: str
) -> None:
    monkeypatch.setattr(machine, "_best_seconds", lambda left, _: gain if left.dtype == torch.float32 else 1.0)
    found = decided(Runtime(threads=1))
    assert found.precision == precision
    assert found.reason == (
        f"bf16 matrix products of this model ran {gain:.1f} times as fast as fp32 (chosen from 1.3 on)"
    )


def test_the_largest_matrix_product_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []

    def watch(left: torch.Tensor, right: torch.Tensor) -> float:
        shapes.append((*left.shape, *right.shape))
        return 1.0

    monkeypatch.setattr(machine, "_best_seconds", watch)
    decided(Runtime(threads=1))
    assert shapes == [(4096, 32, 32, 300)] * 2  # the embedding, as the head it also is


def test_this_machine_decides_for_itself_and_leaves_torchs_threads_as_decided() -> None:
    found = decided(Runtime(threads=1))
    assert found.precision in ("fp32", "bf16")
    assert "times as fast" in found.reason
    assert torch.get_num_threads() == found.threads == 1


def test_threads_are_the_recipes_then_the_environments_then_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of Ray has OMP_NUM_THREADS set to what it asked for."""
    runtime = Runtime(precision="fp32")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert decided(runtime).threads == torch.get_num_threads() == 2
    assert decided(Runtime(precision="fp32", threads=1)).threads == torch.get_num_threads() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert decided(runtime).threads == 1


def test_topology_names_what_the_last_bits_depend_on() -> None:
    found = topology(2, tiny_model())
    assert (found["workers"], found["threads"], found["torch"]) == (2, 1, torch.__version__)
    assert topology(2, tiny_model()) == found != topology(1, tiny_model())
    assert all(isinstance(value, str | int) for value in found.values())


def test_what_was_decided_comes_back_from_json() -> None:
    found = decided(Runtime(precision="bf16", threads=1))
    assert Decided(**asdict(found)) == found


@pytest.mark.parametrize("changed", [{"threads": -1}, {"micro_batch": -1}, {"workers": 0}])
def test_impossible_settings_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="runtime: threads and micro_batch must be at least 0"):
        Runtime(**changed)  # type: ignore[arg-type]


def test_a_module_of_any_kind_can_be_measured() -> None:
    found = decide(Runtime(threads=1), nn.Linear(8, 8), batch_sequences=4, sequence_tokens=8)
    assert found.micro_batch == 4


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    module = tiny_model()
    for device in ("auto", "cpu"):
        place(module, Runtime(device=device))  # type: ignore[arg-type]
        assert next(module.parameters()).device.type == "cpu"
    with pytest.raises(ValueError, match="device cuda was asked for, and torch finds none"):
        place(module, Runtime(device="cuda"))


def test_checkpointing_is_asked_of_the_decoder_wherever_it_is() -> None:
    found = decided(Runtime(precision="fp32", threads=1, checkpoint_activations=True))
    assert found.checkpoint_activations
    for module in (tiny_model(), RewardModel(tiny_model()), PolicyWithValue(tiny_model())):
        settle(found, module)
        assert any(getattr(each, "gradient_checkpointing", False) for each in module.modules())
    with pytest.raises(ValueError, match="this model has no layers that know how to"):
        settle(found, nn.Linear(8, 8))


def test_layers_are_compiled_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share one compilation, and what is around them (the cache of a generation, the loss) is left as written."""
    compiled: list[str] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    settle(replace(decided(Runtime(precision="fp32", threads=1)), compile=True), RewardModel(tiny_model()))
    assert compiled == ["LlamaDecoderLayer"] * 2


def test_it_is_compiled_on_a_gpu_alone() -> None:
    assert not decided(Runtime(precision="fp32", threads=1, compile=True)).compile


@pytest.mark.parametrize(
    ("batch_sequences", "most", "expected"),
    [
        (64, 24, 16),  # four of 16, not two of 24 and one of 16
        (64, 64, 64),
        (64, 200, 64),
        (61, 24, 24),  # a prime: 24, 24 and 13
        (12, 5, 4),
        (14, 6, 6),  # 2 would be less than half of it
        (1, 1, 1),
    ],
)
def test_micro_batches_are_of_one_size_where_that_costs_little(batch_sequences: int, most: int, expected: int) -> None:
    runtime = Runtime(precision="fp32", threads=1)
    tokens = MICRO_BATCH_TOKENS // most
    assert decided(runtime, batch_sequences=batch_sequences, sequence_tokens=tokens).micro_batch == expected
