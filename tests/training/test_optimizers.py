"""Muon and AdamW are torch's own, step for step, each on the parameters that are its own."""

import copy
import math
from typing import Any

import pytest
import torch
from tiny_training import tiny_model
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from models.heads import PolicyWithValue, RewardModel
from models.nnlm import Nnlm, NnlmShape
from models.recurrent import RecurrentModel, RecurrentShape
from tasks.training.optimizers import (
    NEWTON_SCHULZ_STEPS,
    QUINTIC,
    Optimizer,
    OptimizerConfig,
    Schedule,
    clip_gradients,
    orthogonal,
)


def matrices(count: int = 1) -> nn.Module:
    """Tall, wide and square ones, two of one shape: they are orthogonalised together."""
    torch.manual_seed(1)
    shapes = [(16, 8), (8, 16), (12, 12), (16, 8)] * count
    return nn.ModuleList([nn.Linear(columns, rows, bias=False) for rows, columns in shapes])


def set_gradients(module: nn.Module, step: int, *, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(1000 * seed + step)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def fp32_newton_schulz(gradient: Tensor, coefficients: Any, steps: int, epsilon: float) -> Tensor:
    """torch's own function runs in bf16; this is the published algorithm without that."""
    a, b, c = coefficients
    x = gradient.T if gradient.shape[0] > gradient.shape[1] else gradient
    x = x / x.norm().clamp(min=epsilon)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if gradient.shape[0] > gradient.shape[1] else x


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 1e-3), ("fp32", 1e-6)])
def test_muon_is_torchs_muon(monkeypatch: pytest.MonkeyPatch, precision: str, tolerance: float) -> None:
    """Ten steps with decay and a changing rate; torch orthogonalises in bf16, so once as it is, once in fp32."""
    if precision == "fp32":
        monkeypatch.setattr("torch.optim._muon._zeropower_via_newtonschulz", fp32_newton_schulz)
    ours, theirs = matrices(), matrices()
    config = OptimizerConfig(kind="muon", learning_rate=0.003, weight_decay=0.1, momentum=0.9)
    mine = Optimizer(ours, config)
    reference = torch.optim.Muon(
        theirs.parameters(), lr=0.003, weight_decay=0.1, momentum=0.9, nesterov=True, ns_coefficients=QUINTIC,
        eps=1e-7, ns_steps=NEWTON_SCHULZ_STEPS, adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    for step in range(10):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        share = 1 - step / 20
        reference.param_groups[0]["lr"] = 0.003 * share
        mine.step(share)
        reference.step()
    start = matrices()
    for name, parameter in ours.state_dict().items():
        assert float((parameter - theirs.state_dict()[name]).abs().max()) < tolerance, name
        assert float((parameter - start.state_dict()[name]).abs().max()) > 5 * tolerance, name


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_is_torchs_adamw(decay: float) -> None:
    """Matrices decay, vectors and scalars do not."""
    torch.manual_seed(2)
    ours = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 3), nn.LayerNorm(3))
    theirs = copy.deepcopy(ours)
    config = OptimizerConfig(kind="adamw", learning_rate=0.01, weight_decay=decay, beta1=0.8, beta2=0.9)
    mine = Optimizer(ours, config)
    groups = [
        {"params": [each for each in theirs.parameters() if each.dim() >= 2], "weight_decay": decay},
        {"params": [each for each in theirs.parameters() if each.dim() < 2], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.9), eps=1e-8)
    for step in range(10):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        for group in reference.param_groups:
            group["lr"] = 0.01 / (1 + step)
        mine.step(1 / (1 + step))
        reference.step()
    for name, parameter in ours.state_dict().items():
        torch.testing.assert_close(parameter, theirs.state_dict()[name], rtol=0, atol=1e-6)


def test_beside_muon_adamw_takes_its_share() -> None:
    """One model under kind muon: what AdamW has of it moves as under kind adamw at `adam_share` of the rate."""
    mixed, plain = tiny_model(), tiny_model()
    muon = Optimizer(mixed, OptimizerConfig(kind="muon", learning_rate=0.02, adam_share=0.5, weight_decay=0.1))
    adamw = Optimizer(plain, OptimizerConfig(kind="adamw", learning_rate=0.01, weight_decay=0.1))
    for step in range(3):
        set_gradients(mixed, step)
        set_gradients(plain, step)
        muon.step(1.0)
        adamw.step(1.0)
    same = [name for name, tensor in mixed.state_dict().items() if torch.equal(tensor, plain.state_dict()[name])]
    assert sorted(set(same)) == sorted(
        name for name in plain.state_dict() if "norm" in name or "embed" in name or "head" in name
    )


def on_muon(module: nn.Module) -> set[str]:
    optimizer = Optimizer(module, OptimizerConfig(learning_rate=0.1))
    return {name.removeprefix("momentum.") for name in optimizer.tensors() if name.startswith("momentum.")}


def test_muon_takes_the_matrices_between_hidden_states_alone() -> None:
    """No embedding, no vocabulary head, no reward or value head, no norm; tied or not."""
    model: Any = tiny_model()
    inside = {name for name, _ in model.named_parameters() if "_proj" in name}
    assert len(inside) == 2 * 7
    assert on_muon(model) == inside
    prefixed = {f"model.{name}" for name in inside}
    assert on_muon(RewardModel(tiny_model())) == prefixed
    assert on_muon(PolicyWithValue(tiny_model())) == prefixed
    untied = GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_positions=8, n_embd=8, n_layer=1, n_head=2, tie_word_embeddings=False)
    )
    block = "transformer.h.0."
    assert on_muon(untied) == {
        f"{block}attn.c_attn.weight", f"{block}attn.c_proj.weight", f"{block}mlp.c_fc.weight", f"{block}mlp.c_proj.weight",
    }  # fmt: skip
    assert on_muon(Nnlm(NnlmShape(embedding=4, hidden=6), vocabulary=50, end_id=0)) == {"hidden.weight"}
    recurrent = on_muon(RecurrentModel(RecurrentShape(layers=1, width=8, embedding=8), vocabulary=50))
    assert len(recurrent) == 2  # of what is read and of the state; the head is untied
    assert not any("head" in name for name in recurrent)


@pytest.mark.parametrize(
    ("shape", "least", "most"), [((128, 32), 0.65, 1.10), ((64, 64), 0.2, 1.25), ((256, 256), 0.05, 1.25)]
)
def test_singular_values_come_near_one(shape: tuple[int, int], least: float, most: float) -> None:
    drawn = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    values = torch.linalg.svdvals(orthogonal(drawn))
    # of a square matrix the very smallest stay small: nearly all are asked for, not all
    assert float(values.quantile(0.02)) > least
    assert float(values.max()) < most
    assert orthogonal(drawn).dtype == torch.float64


def test_in_bf16_muon_takes_nearly_the_same_step() -> None:
    """A training in bf16 orthogonalises in bf16: singular values in the same bounds, the direction within three percent."""
    drawn = torch.randn(3, 128, 32, generator=torch.Generator().manual_seed(4))
    values = torch.linalg.svdvals(orthogonal(drawn.bfloat16()).double())
    assert float(values.quantile(0.02)) > 0.65
    assert float(values.max()) < 1.10
    exact, rounded, start = matrices(), matrices(), matrices().state_dict()
    for module, bf16 in ((exact, False), (rounded, True)):
        set_gradients(module, 0)
        Optimizer(module, OptimizerConfig(learning_rate=0.1)).step(1.0, bf16=bf16)
    for name, tensor in exact.state_dict().items():
        off = float((rounded.state_dict()[name] - tensor).norm() / (tensor - start[name]).norm())
        assert 0 < off < 0.05, name


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_the_kernel_for_gpus_is_the_same_adamw(kind: Any) -> None:
    """torch has it for CPUs too; there it is not faster, and would change the bytes of trainings that are under way."""
    plain, fused = tiny_model(), tiny_model()
    config = OptimizerConfig(kind=kind, learning_rate=0.01, adam_share=0.5, weight_decay=0.1)
    mine, other = Optimizer(plain, config), Optimizer(fused, config)
    other._fused = True
    for step in range(3):
        for module, optimizer in ((plain, mine), (fused, other)):
            set_gradients(module, step)
            optimizer.step(1 / (1 + step))
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(fused.state_dict()[name], tensor, rtol=0, atol=1e-6)
    for name, tensor in mine.tensors().items():
        torch.testing.assert_close(other.tensors()[name], tensor, rtol=1e-5, atol=1e-7)


def test_orthogonal_keeps_singular_vectors_zero_and_orientation() -> None:
    drawn = torch.randn(2, 24, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = orthogonal(drawn)
    torch.testing.assert_close(orthogonal(drawn.mT), found.mT, rtol=0, atol=1e-10)
    torch.testing.assert_close(orthogonal(drawn * 1000), found, rtol=0, atol=1e-6)
    assert not orthogonal(torch.zeros(1, 4, 6)).any()
    left, _, right = torch.linalg.svd(drawn, full_matrices=False)
    inner = left.mT @ found @ right.mT
    torch.testing.assert_close(inner, torch.diag_embed(inner.diagonal(dim1=-2, dim2=-1)), rtol=0, atol=1e-8)


def test_matrices_of_one_shape_do_not_mix() -> None:
    """They are orthogonalised in one call; alone, each gets the same update."""
    together, alone = matrices(), matrices()
    config = OptimizerConfig(learning_rate=0.1)
    set_gradients(together, 0)
    set_gradients(alone, 0)
    Optimizer(together, config).step(1.0)
    for layer in alone:  # type: ignore[attr-defined]
        Optimizer(nn.ModuleList([layer]), config).step(1.0)
    for name, parameter in together.state_dict().items():
        torch.testing.assert_close(parameter, alone.state_dict()[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_a_parameter_without_a_gradient_stays_and_gradients_are_used_once(kind: Any) -> None:
    module = matrices()
    frozen = next(module.parameters())
    optimizer = Optimizer(module, OptimizerConfig(kind=kind, learning_rate=0.1, weight_decay=0.5))
    set_gradients(module, 0)
    frozen.grad = None
    before = frozen.detach().clone()
    optimizer.step(1.0)
    assert torch.equal(frozen, before)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_parameters_that_want_no_gradient_are_none_of_its_business() -> None:
    module = matrices()
    first = next(module.parameters())
    first.requires_grad_(False)
    assert len(list(Optimizer(module, OptimizerConfig(learning_rate=0.1)).parameters())) == 3


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_saved_and_loaded_it_goes_on_as_it_was(kind: Any) -> None:
    config = OptimizerConfig(kind=kind, learning_rate=0.1)
    whole = tiny_model()
    first = Optimizer(whole, config)
    for step in range(3):
        set_gradients(whole, step)
        first.step(1.0)
    kept = {name: tensor.clone() for name, tensor in first.tensors().items()}
    resumed = copy.deepcopy(whole)
    second = Optimizer(resumed, config)
    second.load_tensors(kept)
    for module, optimizer in ((whole, first), (resumed, second)):
        set_gradients(module, 3)
        optimizer.step(1.0)
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())
    other = Optimizer(tiny_model(), OptimizerConfig(kind="adamw" if kind == "muon" else "muon", learning_rate=0.1))
    with pytest.raises(ValueError, match="belongs to another model or optimizer; it cannot be resumed"):
        other.load_tensors(kept)


def test_the_schedule_warms_up_stays_and_falls() -> None:
    """20 steps, 4 of warm-up, the last quarter falls to a tenth: 1, .82, .64, .46, .28 and next would be .1."""
    schedule = Schedule(warmup_steps=4, decay_share=0.25, final_share=0.1)
    shares = [schedule.share(step, 20) for step in range(1, 21)]
    assert shares[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert shares[4:16] == [1.0] * 12
    assert shares[15:] == pytest.approx([1.0, 0.82, 0.64, 0.46, 0.28])


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        (Schedule(decay_share=0.5), 4, [1, 1, 1, 0.5]),
        (Schedule(decay_share=0.0), 3, [1, 1, 1]),
        (Schedule(decay_share=1.0), 4, [1, 0.75, 0.5, 0.25]),
        (Schedule(decay_share=1.0, final_share=1.0), 3, [1, 1, 1]),
        (Schedule(warmup_steps=2, decay_share=1.0), 2, [0.5, 0.5]),
        (Schedule(), 1, [1]),
    ],
)
def test_schedules_worked_by_hand(schedule: Schedule, steps: int, expected: list[float]) -> None:
    assert [schedule.share(step, steps) for step in range(1, steps + 1)] == expected


def test_gradients_are_clipped_to_a_joint_norm() -> None:
    """Norm 5 of (3, 4): halved at 2.5, left at 10; one without a gradient does not count."""
    one, other, none = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    for most, expected in ((2.5, [1.5, 2.0]), (10.0, [3.0, 4.0])):
        one.grad, other.grad = torch.tensor([3.0]), torch.tensor([4.0])
        assert clip_gradients([one, other, none], most) == pytest.approx(5.0)
        assert [float(one.grad), float(other.grad)] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "changed", [{"learning_rate": 0.0}, {"adam_share": 0.0}, {"weight_decay": -1.0}, {"epsilon": 0.0},
                {"momentum": 1.0}, {"beta1": -0.1}, {"beta2": 1.0}, {"learning_rate": math.nan}],
)  # fmt: skip
def test_impossible_settings_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="optimizer: "):
        OptimizerConfig(**{"learning_rate": 0.1, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("changed", [{"warmup_steps": -1}, {"decay_share": 1.5}, {"final_share": -0.1}])
def test_impossible_schedules_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="schedule: "):
        Schedule(**changed)
