"""PPO: its losses by hand, and the whole stage on something tiny."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from models.heads import PolicyWithValue
from tasks.alignment import reward
from tasks.alignment.instructions import read_items
from tasks.alignment.ppo import ClippedPolicy, PPOConfig, run, surrogate, value_loss, without_dropout
from tasks.alignment.preferences import Pair
from tasks.alignment.reward import RewardConfig
from tasks.alignment.rollouts import KLConfig, RolloutConfig, action_tensors, score_actions
from tasks.training.batches import Batch
from tasks.training.engine import Preempted, TrainingConfig
from tasks.training.optimizers import OptimizerConfig

ADAM = OptimizerConfig(kind="adamw", learning_rate=0.01)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.5, 1.0, -1.2, 0.0),  # it has gained enough
        (1.5, -1.0, 1.5, 1.0),  # it has gone the wrong way, and is brought back with full force
        (0.5, -1.0, 0.8, 0.0),
        (0.5, 1.0, -0.5, -1.0),
        (1.1, 2.0, -2.2, -2.0),
        (1.0, -3.0, 3.0, 3.0),
    ],
)
def test_the_clipped_surrogate(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    ratios = torch.tensor([ratio], dtype=torch.float64, requires_grad=True)
    found, clipped = surrogate(ratios, torch.tensor([advantage], dtype=torch.float64), 0.2)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert ratios.grad is not None
    assert found.detach().tolist() == [pytest.approx(loss)]
    assert ratios.grad.tolist() == [pytest.approx(gradient)]
    assert clipped.tolist() == [float(gradient == 0)]


@pytest.mark.parametrize(
    ("value", "expected", "gradient"),
    [
        (1.1, 0.5 * 0.9**2, -0.9),  # within reach of the old value 1: the plain error to the return 2
        (1.8, 0.5 * 0.8**2, 0.0),  # it moved .8: it is judged as if it had moved .2, and not pulled further
        (0.2, 0.5 * 1.8**2, -1.8),  # away from the return: the plain error is the worse one
    ],
)
def test_the_clipped_value_loss(value: float, expected: float, gradient: float) -> None:
    values = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    one, two = torch.tensor([1.0], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    found = value_loss(values, one, two, 0.2)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert [found.item(), values.grad.item()] == pytest.approx([expected, gradient])


@pytest.fixture
def scored(small_model: Callable[..., Any]) -> tuple[PolicyWithValue, dict[str, Tensor]]:
    """A policy with a value, and a minibatch that it has just sampled and scored."""
    policy = PolicyWithValue(small_model(3))
    nn.init.normal_(policy.value.weight, std=0.1, generator=torch.Generator().manual_seed(4))
    tensors = action_tensors([[5, 6, 7], [5]], [[5, 6, 7, 80, 90], [5, 60]], 1)
    with torch.no_grad():
        found = score_actions(policy.model, tensors, 1.0, value=policy.value)
    advantages = torch.tensor([[9.0, 9.0, 1.0, -2.0], [0.5, 9.0, 9.0, 9.0]]) * tensors["actions"]
    tensors |= {
        "old_log_probabilities": found.log_probabilities,
        "old_values": found.values,
        "advantages": advantages,
        "returns": found.values + advantages,
    }
    return policy, tensors


def minibatch(tensors: dict[str, Tensor]) -> Batch:
    return Batch(tensors=tensors, tokens=1)


CONFIG = PPOConfig(iterations=1, optimizer=ADAM)


def test_before_the_first_step_nothing_is_clipped(scored: tuple[PolicyWithValue, dict[str, Tensor]]) -> None:
    policy, tensors = scored
    found = ClippedPolicy(CONFIG).loss(policy, minibatch(tensors)).sums
    assert (found["clip_fraction"], found["approximate_kl"]) == (0.0, 0.0)
    assert found["policy_loss"] == -(1.0 - 2.0 + 0.5)
    assert found["value_loss"] == pytest.approx(0.5 * (1 + 4 + 0.25), abs=1e-5)
    assert found["loss"] == pytest.approx(found["policy_loss"] + 0.1 * found["value_loss"], abs=1e-6)
    assert ClippedPolicy(CONFIG).weight(minibatch(tensors)) == 3


def test_before_the_first_step_the_gradient_is_the_policy_gradient(
    scored: tuple[PolicyWithValue, dict[str, Tensor]],
) -> None:
    policy, tensors = scored
    ClippedPolicy(CONFIG).loss(policy, minibatch(tensors)).total.backward()  # type: ignore[no-untyped-call]
    found = {name: each.grad for name, each in policy.model.named_parameters() if each.grad is not None}
    policy.zero_grad()
    now = score_actions(policy.model, tensors, 1.0)
    (-(now.log_probabilities * tensors["advantages"]).sum()).backward()  # type: ignore[no-untyped-call]
    for name, each in policy.model.named_parameters():
        assert torch.allclose(found[name], each.grad, atol=1e-5), name


def test_padding_changes_no_loss(scored: tuple[PolicyWithValue, dict[str, Tensor]]) -> None:
    policy, tensors = scored
    torch.manual_seed(2)
    with torch.no_grad():
        policy.model.get_input_embeddings().weight.add_(torch.randn(261, 32) * 0.05)
    expected = ClippedPolicy(CONFIG).loss(policy, minibatch(tensors)).sums
    assert expected["approximate_kl"] > 1e-4, "the policy has moved"
    padded = {
        name: nn.functional.pad(tensor, (0, 5), value=0 if name in ("mask", "actions") else 7)
        for name, tensor in tensors.items()
    }
    found = ClippedPolicy(CONFIG).loss(policy, minibatch(padded)).sums
    assert found == {name: pytest.approx(value, abs=1e-4) for name, value in expected.items()}
    for row in (0, 1):  # and a row costs what it costs alone
        alone = ClippedPolicy(CONFIG).loss(policy, minibatch(tensors).rows(slice(row, row + 1))).sums
        expected = {name: value - alone[name] for name, value in expected.items()}
    assert expected == {name: pytest.approx(0, abs=1e-4) for name in expected}


def test_a_model_with_dropout_is_scored_as_it_was_sampled() -> None:
    config = GPT2Config(
        vocab_size=100,
        n_positions=16,
        n_embd=16,
        n_layer=2,
        n_head=2,
        attn_implementation="sdpa",
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config).train()
    tensors = action_tensors([[5, 6, 7]], [[5, 6, 7, 80, 90]], 1)
    scores = [score_actions(model, tensors, 1.0).log_probabilities for _ in range(2)]
    assert not torch.equal(*scores), "the case wants a model with dropout"
    without_dropout(model)
    scores = [score_actions(each, tensors, 1.0).log_probabilities for each in (model.train(), model.eval())]
    assert torch.equal(*scores)


@pytest.fixture(scope="module")
def likes_h(half_taught: Path, tmp_path_factory: pytest.TempPathFactory, write_rows: Any, make_job: Any) -> Path:
    """A reward model that was taught that "h" is the better answer to anything."""
    folder = tmp_path_factory.mktemp("likes-h")
    pairs = [
        Pair(
            id=f"{asked}{worse}", task="echo", prompt=f"say {asked}", chosen="h", rejected=worse,
            chosen_finished=True, rejected_finished=True, chosen_score=1.0, rejected_score=0.0,
        )
        for asked in "abcdefgh" for worse in "abcdefg"
    ]  # fmt: skip
    write_rows(folder / "preferences" / "train.jsonl", pairs)
    config = RewardConfig(
        training=TrainingConfig(steps=40, batch_sequences=16, optimizer=OptimizerConfig(learning_rate=0.003))
    )
    job = make_job(folder, "reward", config, base=half_taught, preferences=folder / "preferences")
    return Path(reward.run(job, [])["artifact"]["path"])


def stage(iterations: int) -> PPOConfig:
    rollouts = RolloutConfig(
        prompts=16, epochs=2, minibatch_sequences=8, max_answer_tokens=6,
        kl=KLConfig(coefficient=0.05, target=0.05, horizon=200),
    )  # fmt: skip
    return PPOConfig(
        iterations=iterations,
        optimizer=OptimizerConfig(learning_rate=0.003),
        rollouts=rollouts,
        checkpoint_iterations=2,
    )


def test_the_reward_rises_and_the_reference_stays(
    half_taught: Path, likes_h: Path, instructions: Path, job_in: Callable[..., dict[str, Any]], watching: Any
) -> None:
    hook = watching()
    inputs = {"base": half_taught, "reward": likes_h, "instructions": instructions}
    before = (half_taught / "model.safetensors").read_bytes(), (likes_h / "model.safetensors").read_bytes()
    outcome = run(job_in("ppo", stage(12), kind="aligned", **inputs), [hook])
    rewards, kl = hook.column("reward"), hook.column("kl")
    assert len(rewards) == 12
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.3
    assert kl[0] == 0
    assert kl[-1] > 0
    assert outcome["decided"]["precision"] == "fp32"
    assert before == (
        (half_taught / "model.safetensors").read_bytes(),
        (likes_h / "model.safetensors").read_bytes(),
    )
    folder = Path(outcome["artifact"]["path"])
    assert set(load_file(folder / "model.safetensors")) == set(load_file(half_taught / "model.safetensors"))
    assert outcome["artifact"]["kind"] == "aligned"


def test_a_stopped_ppo_ends_with_the_weights_of_an_unbroken_one(
    half_taught: Path, likes_h: Path, instructions: Path, job_in: Callable[..., dict[str, Any]], watching: Any
) -> None:
    inputs = {"base": half_taught, "reward": likes_h, "instructions": instructions}
    whole, stopped, resumed = watching(), watching(6), watching()
    unbroken = run(job_in("ppo-whole", stage(4), **inputs), [whole])
    job = job_in("ppo-stopped", stage(4), **inputs)
    # asked at step 6, inside the second iteration of 4 steps each: it stops where no rollout is half used
    with pytest.raises(Preempted, match="stopped at step 8 of 16"):
        run(job, [stopped])
    checkpoint = Path(job["folder"]) / "checkpoints" / "step-00000008" / "state.json"
    coefficient = json.loads(checkpoint.read_text(encoding="utf-8"))["batches"]["kl_coefficient"]
    outcome = run(job, [resumed])
    assert outcome["resumed_at"] == 8
    assert outcome["artifact"]["digest"] == unbroken["artifact"]["digest"]
    assert coefficient != 0.05
    assert resumed.column("kl_coefficient") == whole.column("kl_coefficient")[2:]
    assert resumed.column("kl_coefficient")[0] == coefficient
    assert [*stopped.column("loss"), *resumed.column("loss")] == whole.column("loss")
    kept = sorted(path.name for path in (Path(job["folder"]) / "checkpoints").glob("step-*"))
    assert kept == ["step-00000008", "step-00000016"], "a checkpoint falls between iterations alone"


def test_a_base_with_dropout_is_trained_without_it(
    half_taught: Path,
    likes_h: Path,
    instructions: Path,
    tmp_path: Path,
    job_in: Callable[..., dict[str, Any]],
    watching: Any,
) -> None:
    base = shutil.copytree(half_taught, tmp_path / "base")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.5}), encoding="utf-8")
    hook = watching()
    run(job_in("ppo", stage(1), base=base, reward=likes_h, instructions=instructions), [hook])
    assert hook.column("approximate_kl")[0] == hook.column("clip_fraction")[0] == 0


def test_prompts_that_leave_no_room_for_an_answer_are_refused(
    half_taught: Path, likes_h: Path, instructions: Path, job_in: Callable[..., dict[str, Any]]
) -> None:
    inputs = {"base": half_taught, "reward": likes_h, "instructions": instructions}
    long = dataclasses.replace(stage(1), rollouts=dataclasses.replace(stage(1).rollouts, max_answer_tokens=60))
    with pytest.raises(ValueError, match="all have more than 4 tokens; lower max_answer_tokens"):
        run(job_in("ppo", long, **inputs), [])


def test_only_the_named_families_are_asked(
    half_taught: Path,
    likes_h: Path,
    instructions: Path,
    tmp_path: Path,
    make_item: Any,
    write_rows: Any,
    job_in: Callable[..., dict[str, Any]],
) -> None:
    """With two families and one of them named it is the training on that one alone, to the last bit."""
    both = tmp_path / "both"
    for name in ("train", "valid"):
        others = [make_item(f"shout {letter}", letter.upper(), task="shout") for letter in "abcd"]
        write_rows(both / f"{name}.jsonl", [*others, *read_items(instructions / f"{name}.jsonl")])
    inputs = {"base": half_taught, "reward": likes_h}
    alone = run(job_in("ppo-alone", stage(1), instructions=instructions, **inputs), [])["artifact"]["digest"]
    found = {
        families: run(
            job_in(
                "ppo-" + "".join(families),
                dataclasses.replace(stage(1), families=families),
                instructions=both,
                **inputs,
            ),
            [],
        )["artifact"]["digest"]
        for families in (("echo",), ())
    }
    assert found[("echo",)] == alone
    assert found[()] != alone
    unknown = dataclasses.replace(stage(1), families=("whisper",))
    with pytest.raises(ValueError, match=r"has no items of whisper; name some of echo, shout, or \[\] for all"):
        run(job_in("ppo-unknown", unknown, instructions=both, **inputs), [])
