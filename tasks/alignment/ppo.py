"""RLHF by PPO (Schulman et al. 2017; Ziegler et al. 2019): more reward, held near the reference by a KL term.

Shapes: B answers, T positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.catalogue import load_model, load_weights, save_model
from models.heads import PolicyWithValue, load_reward_model
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.instructions import read_asked
from tasks.alignment.preflight import rollout_checks
from tasks.alignment.rollouts import Models, RolloutBatches, RolloutConfig, score_actions
from tasks.training.batches import Batch
from tasks.training.engine import Hook, TrainingConfig
from tasks.training.job import Job, of_record, run_training
from tasks.training.machine import Runtime, place
from tasks.training.objectives import Loss
from tasks.training.optimizers import OptimizerConfig, Schedule
from tasks.training.samples import SampleWriter

KIND = "aligned"
SAMPLED_ITEMS = 4


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """`iterations` rollouts, each used for `rollouts.minibatches` steps; `checkpoint_iterations` between checkpoints.

    `families` are those whose questions are asked, () for all that were trained on: where a reward model cannot tell a right
    answer from a wrong one there is nothing to climb.
    """

    iterations: int
    optimizer: OptimizerConfig
    families: tuple[str, ...] = ()
    rollouts: RolloutConfig = field(default_factory=RolloutConfig)
    schedule: Schedule = field(default_factory=lambda: Schedule(decay_share=1.0))
    clip: float = 0.2
    value_clip: float = 0.2
    value_share: float = 0.1
    max_gradient_norm: float = 1.0
    checkpoint_iterations: int = 5
    kept_checkpoints: int = 3

    def training(self) -> TrainingConfig:
        """The same in the loop's own terms."""
        per_iteration = self.rollouts.minibatches
        return TrainingConfig(
            steps=self.iterations * per_iteration,
            batch_sequences=self.rollouts.minibatch_sequences,
            optimizer=self.optimizer,
            schedule=self.schedule,
            max_gradient_norm=self.max_gradient_norm,
            checkpoint_steps=self.checkpoint_iterations * per_iteration,
            kept_checkpoints=self.kept_checkpoints,
        )


def run(job: Mapping[str, Any], hooks: Sequence[Hook]) -> dict[str, Any]:
    """The worker's function. Inputs: `base` (policy and reference begin as it), `reward`, `instructions`."""
    record = of_record(Job, job)
    config = of_record(PPOConfig, record.config)
    # a ratio of probabilities is near 1, and bf16 resolves it to one part in a hundred only
    record = replace(record, runtime={**record.runtime, "precision": "fp32"})
    model, tokenizer = load_model(record.input("base"))
    reward, reward_tokenizer = load_reward_model(record.input("reward"))
    policy = PolicyWithValue(without_dropout(model))
    models = Models(policy=policy, reference=_frozen(load_weights(record.input("base"))), reward=_frozen(reward))
    for each in (models.reference, models.reward):  # the policy is placed where it is trained
        place(each, of_record(Runtime, record.runtime))
    context = int(model.config.max_position_embeddings)
    asked = _prompts(record, config, tokenizer, context)
    prompts = [ids for _, ids in asked]
    return run_training(
        record,
        [*hooks, _writer(record, model, tokenizer, config)],
        module=policy,
        objective=ClippedPolicy(config),
        batches=RolloutBatches(models, tokenizer, prompts, config.rollouts, record.seed),
        config=config.training(),
        sequence_tokens=max(map(len, prompts)) + config.rollouts.max_answer_tokens,
        save=lambda folder: save_model(folder, model, tokenizer),
        checks=rollout_checks(asked, tokenizer, reward_tokenizer),
        tokenizer=tokenizer,
    )


def _frozen(module: Any) -> Any:
    return module.eval().requires_grad_(False)


def without_dropout(model: Any) -> Any:
    """The model with every dropout at 0: with it on, even the first minibatch's ratio would not be 1."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    return model


def _prompts(record: Job, config: PPOConfig, tokenizer: ChatTokenizer, context: int) -> list[tuple[str, list[int]]]:
    """What the items ask, as text and as the policy reads it."""
    longest = context - config.rollouts.max_answer_tokens
    texts = [item.prompt for item in read_asked(record.input("instructions") / "train.jsonl", config.families)]
    found = [(text, tokenizer.encode_prompt([{"role": "user", "content": text}])) for text in texts]
    fitting = [(text, ids) for text, ids in found if len(ids) <= longest]
    if not fitting:
        raise ValueError(
            f"no prompt leaves room for an answer: all have more than {longest} tokens; lower max_answer_tokens"
        )
    return fitting


def _writer(record: Job, model: Any, tokenizer: ChatTokenizer, config: PPOConfig) -> SampleWriter:
    items = read_asked(record.input("instructions") / "valid.jsonl", config.families)[:SAMPLED_ITEMS]
    prompts = {item.prompt: tokenizer.encode_prompt([{"role": "user", "content": item.prompt}]) for item in items}
    most = config.rollouts.max_answer_tokens
    return SampleWriter(Path(record.folder), model, tokenizer, prompts, max_tokens=most, seed=record.seed)


class ClippedPolicy:
    """The clipped surrogate with a clipped value loss, summed over the chosen tokens."""

    def __init__(self, config: PPOConfig) -> None:
        self._config = config
        self._temperature = config.rollouts.temperature

    def weight(self, batch: Batch) -> float:
        return float(batch.tensors["actions"].sum())

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        config, tensors = self._config, batch.tensors
        actions_BT = tensors["actions"]
        now = score_actions(module.model, tensors, self._temperature, value=module.value)
        log_ratio_BT = (now.log_probabilities - tensors["old_log_probabilities"]) * actions_BT
        policy_BT, clipped_BT = surrogate(log_ratio_BT.exp(), tensors["advantages"], config.clip)
        value_BT = value_loss(now.values, tensors["old_values"], tensors["returns"], config.value_clip)
        policy_total, value_total = (policy_BT * actions_BT).sum(), (value_BT * actions_BT).sum()
        total = policy_total + config.value_share * value_total
        with torch.no_grad():
            # k3 (Schulman 2020): never negative, and 0 at the first minibatch of a rollout
            approximate_kl = ((log_ratio_BT.exp() - 1 - log_ratio_BT) * actions_BT).sum()
            sums = {
                "loss": float(total.detach()),
                "policy_loss": float(policy_total.detach()),
                "value_loss": float(value_total.detach()),
                "clip_fraction": float((clipped_BT * actions_BT).sum()),
                "approximate_kl": float(approximate_kl),
            }
        return Loss(total=total, sums=sums)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state


def surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """(loss, 1 where the clip took the gradient away). ratio 1.5, advantage 1, clip .2 -> -1.2 and 1."""
    plain, bounded = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -torch.minimum(plain, bounded), (bounded < plain).to(ratio.dtype)


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error; a value that moved more than `clip` gains nothing by it."""
    bounded = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (bounded - returns) ** 2)
