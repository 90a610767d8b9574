"""PPO where its optimum is known in closed form.

With the KL to the reference in the reward, the best policy is known: pi*(answer) ~ reference(answer) exp(reward / beta).
At it the return of every answer is the same, so the noise of sampling vanishes and whitening does not move it. Measured on
the four-armed bandit (100 iterations of 64 answers, coefficients 1 and .5, the worst of ten runs' largest error of a
probability):

    one epoch .002     two .003    four .006    clip .05 or none .003    without whitening .004
    learning rate x 3 .010    x 10 .57: steps so long that an arm is lost for good, and never sampled again
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.heads import PolicyWithValue, hidden_states, last_places, vocabulary_head
from models.llama import LlamaShape
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.ppo import ClippedPolicy, PPOConfig, surrogate
from tasks.alignment.rollouts import KLConfig, Models, RolloutBatches, RolloutConfig
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import train
from tasks.training.machine import Runtime
from tasks.training.optimizers import OptimizerConfig

ADAM = OptimizerConfig(kind="adamw", learning_rate=0.01)
REFERENCE, PAYS = torch.tensor([0.4, 0.3, 0.2, 0.1]), torch.tensor([0.0, 1.0, 2.0, 3.0])
OPTIMA = {
    1.0: [0.0850729066, 0.1734391021, 0.3143042397, 0.4271837517],
    0.5: [0.0074240116, 0.0411423286, 0.2026686495, 0.7487650103],
}
UNTAKEN = -30.0  # the logit of every token that is no arm


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_exact_ascent_on_the_surrogate_reaches_the_known_optimum(beta: float) -> None:
    logits = REFERENCE.double().log().requires_grad_()
    for _ in range(3000):
        chances = logits.detach().softmax(0)
        returns = PAYS.double() - beta * (chances / REFERENCE.double()).log()
        advantages = returns - (chances * returns).sum()
        loss, _ = surrogate(logits.softmax(0) / chances, advantages, 0.2)
        (gradient,) = torch.autograd.grad((chances * loss).sum(), logits)
        logits = (logits - 2 * gradient).detach().requires_grad_()
    assert torch.allclose(logits.softmax(0), torch.tensor(OPTIMA[beta], dtype=torch.float64), rtol=0, atol=1e-6)


class Arms:
    """A decoder whose answers are arms: only its vocabulary head learns, from states that stay as they are.

    `tables` gives the probabilities of the first arms after each of `contexts`.
    """

    def __init__(
        self, model: Any, contexts: Sequence[Sequence[int]], arms: Sequence[int], tables: Sequence[Tensor]
    ) -> None:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = nn.Parameter(torch.zeros_like(model.lm_head.weight))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name == "lm_head.weight")
        self.model, self._contexts, self._arms = model, contexts, list(arms)
        logits = torch.full((len(contexts), len(model.lm_head.weight)), UNTAKEN)
        logits[:, self._arms] = torch.stack(list(tables)).log()
        with torch.no_grad():
            model.lm_head.weight.copy_(torch.linalg.lstsq(self._states(), logits).solution.T)

    def _states(self) -> Tensor:
        device = self.model.lm_head.weight.device
        read = [torch.tensor([ids], device=device) for ids in self._contexts]
        return torch.stack([hidden_states(self.model, ids, torch.ones_like(ids))[0, -1] for ids in read])

    @torch.no_grad()
    def chances(self) -> Tensor:
        return (self._states() @ vocabulary_head(self.model).T).softmax(1)[:, self._arms].cpu()


class Pay(nn.Module):
    """The reward of the arms that an answer takes, read from a table with an axis for each token of it."""

    def __init__(self, table: Tensor, arms: Sequence[int]) -> None:
        super().__init__()
        self.table = nn.Parameter(table, requires_grad=False)
        self.arm_of = {token: arm for arm, token in enumerate(arms)}

    def forward(self, ids_BT: Tensor, mask_BT: Tensor, answer_BT: Tensor) -> Tensor:
        del answer_BT
        last, length = last_places(mask_BT).tolist(), self.table.dim()
        taken = [ids[place - length + 1 : place + 1] for ids, place in zip(ids_BT.tolist(), last, strict=True)]
        return torch.stack([self.table[tuple(self.arm_of[token] for token in tokens)] for tokens in taken])


@pytest.fixture
def armed(tokenizer: ChatTokenizer, small_model: Callable[..., Any]) -> Callable[..., Arms]:
    shape = LlamaShape(layers=1, width=16, heads=2, kv_heads=2, feed_forward=16, context=16)
    prompt = tokenizer.encode_prompt([{"role": "user", "content": ""}])
    letters = tokenizer.encode_text("abcd")

    def make(*tables: Tensor) -> Arms:
        after = [[], *([letter] for letter in letters[: len(tables) - 1])]
        contexts = [[*prompt, *said] for said in after]
        return Arms(small_model(0, spread=10.0, shape=shape), contexts, letters[: len(tables[0])], tables)

    return make


def trained(
    policy: Arms, reference: Arms, pay: Pay, config: PPOConfig, tokenizer: ChatTokenizer, folder: Path
) -> list[dict[str, float]]:
    """The policy is trained in place; the metrics of every step."""
    module = PolicyWithValue(policy.model)
    models = Models(policy=module, reference=reference.model, reward=pay)  # type: ignore[arg-type]
    prompts = [policy._contexts[0]]
    seen: list[dict[str, float]] = []
    train(
        module,
        ClippedPolicy(config),
        RolloutBatches(models, tokenizer, prompts, config.rollouts, seed=1),
        config.training(),
        checkpoints=Checkpoints(folder, identity="arms"),
        runtime=Runtime(precision="fp32", threads=1),
        seed=1,
        sequence_tokens=8,
        hooks=[lambda _, metrics: seen.append(dict(metrics))],
    )
    return seen


def ppo(beta: float, *, answer_tokens: int = 1, epochs: int = 2) -> PPOConfig:
    """Two minibatches an epoch; the coefficient stands still."""
    rollouts = RolloutConfig(
        prompts=64,
        epochs=epochs,
        minibatch_sequences=32,
        max_answer_tokens=answer_tokens,
        unfinished_penalty=0.0,
        kl=KLConfig(coefficient=beta, horizon=10**12),
    )
    return PPOConfig(iterations=100, optimizer=ADAM, rollouts=rollouts, checkpoint_iterations=100)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_ppo_reaches_the_known_optimum_of_a_bandit(
    beta: float, armed: Callable[..., Arms], tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    policy, reference = armed(REFERENCE), armed(REFERENCE)
    assert torch.allclose(policy.chances()[0], REFERENCE, atol=1e-4)
    pay = Pay(PAYS, tokenizer.encode_text("abcd"))
    seen = trained(policy, reference, pay, ppo(beta), tokenizer, tmp_path)
    optimum = torch.tensor(OPTIMA[beta])
    assert torch.allclose(policy.chances()[0], optimum, rtol=0, atol=0.01)
    # the probes on the way: a rollout's first minibatch is the policy that sampled it, and what moved is seen
    for first in seen[::4]:
        assert (first["clip_fraction"], first["approximate_kl"]) == (0.0, 0.0)
    assert all(row["approximate_kl"] >= 0 for row in seen)
    assert max(row["clip_fraction"] for row in seen) > 0
    # KL and reward of the last rollouts are those of the optimum, within what 20 x 64 answers can tell
    last = [row for row in seen if "kl" in row][-20:]
    kl = float((optimum * (optimum / REFERENCE).log()).sum())
    assert sum(row["kl"] for row in last) / 20 == pytest.approx(kl, abs=0.1)
    assert sum(row["reward"] for row in last) / 20 == pytest.approx(float(optimum @ PAYS), abs=0.1)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_ppo_reaches_the_known_optimum_over_answers_of_two_tokens(
    beta: float, armed: Callable[..., Arms], tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    """The reward comes with the last token, the KL with each: credit must find its way back to the first."""
    first, second = torch.tensor([0.7, 0.3]), torch.tensor([[0.6, 0.4], [0.2, 0.8]])
    pays = torch.tensor([[0.0, 1.0], [2.0, -1.0]])
    policy, reference = armed(first, *second), armed(first, *second)
    pay = Pay(pays, tokenizer.encode_text("ab"))
    trained(policy, reference, pay, ppo(beta, answer_tokens=2), tokenizer, tmp_path)
    tilted = first[:, None] * second * (pays / beta).exp()
    chances = policy.chances()
    assert torch.allclose(chances[0][:, None] * chances[1:], tilted / tilted.sum(), rtol=0, atol=0.015)


def test_an_adaptive_coefficient_brings_the_kl_to_its_target(
    armed: Callable[..., Arms], tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    config = ppo(0.3)
    kl = KLConfig(coefficient=0.3, target=0.5, horizon=300)
    config = dataclasses.replace(config, rollouts=dataclasses.replace(config.rollouts, kl=kl))
    pay = Pay(PAYS, tokenizer.encode_text("abcd"))
    seen = trained(armed(REFERENCE), armed(REFERENCE), pay, config, tokenizer, tmp_path)
    rollouts = [row for row in seen if "kl" in row]
    # at coefficient .3 the best policy is 2.0 nats away; .5 nats are those of coefficient 1.04
    assert max(row["kl"] for row in rollouts) > 0.7
    assert sum(row["kl"] for row in rollouts[-20:]) / 20 == pytest.approx(0.5, abs=0.15)
    assert rollouts[-1]["kl_coefficient"] == pytest.approx(1.04, abs=0.3)
