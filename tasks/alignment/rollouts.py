"""Rollouts: the live policy answers, the reward model scores, the reference holds it back; then minibatches of that.

On-policy order is a property of iteration: the next batch is sampled when the loop asks for it. A checkpoint falls only
between iterations, so no rollout is ever saved half used.

Shapes: B answers, T positions (position t chooses token t + 1), V vocabulary.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.heads import PolicyWithValue, RewardModel, hidden_states, vocabulary_head
from models.sampling import Sample, SamplingConfig, sample
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.advantages import KLController, generalised_advantages, masked_mean, whiten
from tasks.alignment.reward import Answered, score_rows
from tasks.training.batches import Batch, Shuffle, padded


@dataclass(frozen=True, kw_only=True)
class KLConfig:
    """`coefficient` is where the controller begins; `target` in nats per answer, `horizon` in answers."""

    coefficient: float = 0.05
    target: float = 2.0
    horizon: int = 2000


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """`unfinished_penalty` is taken from the reward of an answer that did not end by itself."""

    prompts: int = 64
    epochs: int = 4
    minibatch_sequences: int = 16
    temperature: float = 1.0
    max_answer_tokens: int = 24
    discount: float = 1.0
    smoothing: float = 0.95
    unfinished_penalty: float = 1.0
    reward_limit: float = 5.0
    kl: KLConfig = field(default_factory=KLConfig)

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.epochs < 1 or self.prompts % self.minibatch_sequences:
            raise ValueError("rollouts: prompts must be a multiple of minibatch_sequences, epochs at least 1")
        if self.temperature <= 0:
            raise ValueError("rollouts: temperature must be above 0: a greedy policy explores nothing")

    @property
    def minibatches(self) -> int:
        """Per iteration: so many steps share one rollout."""
        return self.epochs * self.prompts // self.minibatch_sequences


@dataclass(frozen=True, kw_only=True)
class Models:
    """The three that take part beside the policy's own optimizer; reference and reward are never changed."""

    policy: PolicyWithValue
    reference: Any
    reward: RewardModel


class RolloutBatches:
    """Minibatches of the live policy's own answers to `prompts`."""

    def __init__(
        self,
        models: Models,
        tokenizer: ChatTokenizer,
        prompts: Sequence[Sequence[int]],
        config: RolloutConfig,
        seed: int,
    ) -> None:
        self._models, self._tokenizer, self._config, self._seed = models, tokenizer, config, seed
        self._prompts = prompts
        self._shuffle = Shuffle(len(prompts), seed)
        self._controller = KLController(**asdict(config.kl))
        self._given = 0

    def starting_at(self, position: int) -> Iterator[Batch]:
        per_iteration = self._config.minibatches
        if position % per_iteration:
            raise ValueError(f"batch {position} is inside an iteration of {per_iteration}; none is resumed half used")
        iteration = position // per_iteration
        while True:
            rollout = self._rollout(iteration)
            for given, rows in enumerate(self._orders(iteration), start=1):
                self._given = given
                tensors = {name: tensor[rows] for name, tensor in rollout.tensors.items()}
                tokens = int(tensors["mask"].sum())
                # what the whole rollout says of itself is said once, with the first of its minibatches
                yield Batch(tensors=tensors, tokens=tokens, metrics=rollout.metrics if given == 1 else {})
            iteration += 1

    def at_boundary(self) -> bool:
        return self._given in (0, self._config.minibatches)

    def boundary_from(self, position: int) -> int:
        per_iteration = self._config.minibatches
        return -(-position // per_iteration) * per_iteration

    def state_dict(self) -> dict[str, Any]:
        return {"kl_coefficient": self._controller.coefficient}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._controller.coefficient = float(state["kl_coefficient"])

    def _orders(self, iteration: int) -> Iterator[Tensor]:
        """Each epoch's minibatches: every answer once, in an order of (seed, iteration, epoch)."""
        for epoch in range(self._config.epochs):
            generator = torch.Generator().manual_seed((self._seed * 1_000_003 + iteration) * 101 + epoch)
            order = torch.randperm(self._config.prompts, generator=generator)
            yield from torch.split(order, self._config.minibatch_sequences)

    @torch.no_grad()
    def _rollout(self, iteration: int) -> Batch:
        config, models = self._config, self._models
        started = time.perf_counter()
        chosen = self._shuffle.numbers(iteration * config.prompts, config.prompts)
        prompts = [self._prompts[number] for number in chosen]
        answers = self._sampled(prompts, iteration)
        sampling_seconds = time.perf_counter() - started
        rows = [[*prompt, *answer.tokens] for prompt, answer in zip(prompts, answers, strict=True)]
        tensors = action_tensors(prompts, rows, self._tokenizer.pad_id)
        scores_B = self._scores(prompts, rows, answers)
        policy = score_actions(models.policy.model, tensors, config.temperature, value=models.policy.value)
        reference = score_actions(models.reference, tensors, config.temperature)
        kl_BT = (policy.log_probabilities - reference.log_probabilities) * tensors["actions"]
        kl = float(kl_BT.sum(1).mean())
        coefficient = self._controller.coefficient
        rewards_BT = -coefficient * kl_BT
        rewards_BT[torch.arange(len(rows)), last_action(tensors["actions"])] += scores_B
        advantages_BT, returns_BT = generalised_advantages(
            rewards_BT, policy.values, tensors["actions"], discount=config.discount, smoothing=config.smoothing
        )
        self._controller.update(kl, len(rows))
        metrics = {
            "reward": float(scores_B.mean()),
            "kl": kl,
            "kl_coefficient": coefficient,
            "entropy": float(masked_mean(policy.entropies, tensors["actions"])),
            "response_tokens": float(tensors["actions"].sum(1).mean()),
            "finished_share": sum(answer.finished for answer in answers) / len(answers),
            "explained_variance": explained_variance(policy.values, returns_BT, tensors["actions"]),
            "sampling_seconds": sampling_seconds,
        }
        tensors |= {
            "sampled_log_probabilities": _at_actions(tensors["actions"], answers),
            "old_log_probabilities": policy.log_probabilities,
            "old_values": policy.values,
            "advantages": whiten(advantages_BT, tensors["actions"]),
            "returns": returns_BT,
        }
        return Batch(tensors=tensors, tokens=int(tensors["mask"].sum()), metrics=metrics)

    def _sampled(self, prompts: Sequence[Sequence[int]], iteration: int) -> list[Sample]:
        config = self._config
        return sample(
            self._models.policy.model,
            prompts,
            SamplingConfig(max_tokens=config.max_answer_tokens, temperature=config.temperature),
            seed=self._seed,
            keys=range(iteration * config.prompts, (iteration + 1) * config.prompts),
            stop_ids=frozenset({self._tokenizer.end_id}),
            pad_id=self._tokenizer.pad_id,
        )

    def _scores(
        self, prompts: Sequence[Sequence[int]], rows: Sequence[Sequence[int]], answers: Sequence[Sample]
    ) -> Tensor:
        """The learned reward of each answer, bounded; minus the penalty where it did not end."""
        limit, penalty = self._config.reward_limit, self._config.unfinished_penalty
        read = [Answered(ids=tuple(row), start=len(prompt)) for prompt, row in zip(prompts, rows, strict=True)]
        rewards_B = score_rows(self._models.reward, read, self._tokenizer.pad_id).clamp(-limit, limit)
        unfinished_B = torch.tensor([not answer.finished for answer in answers])
        return rewards_B - penalty * unfinished_B


@dataclass(frozen=True, kw_only=True)
class Actions:
    """Of each chosen token [B, T]: its log-probability, the entropy where it was chosen, the value there."""

    log_probabilities: Tensor
    entropies: Tensor
    values: Tensor


def action_tensors(prompts: Sequence[Sequence[int]], rows: Sequence[Sequence[int]], pad_id: int) -> dict[str, Tensor]:
    """ids and mask [B, T + 1]; actions [B, T] is 1 where the next token was the policy's choice."""
    ids, mask = padded(rows, pad_id), padded([[1] * len(row) for row in rows], 0)
    places = torch.arange(ids.shape[1] - 1)
    starts, ends = (torch.tensor([len(row) - 1 for row in group])[:, None] for group in (prompts, rows))
    actions = ((places >= starts) & (places < ends)).to(torch.float32)
    return {"ids": ids, "mask": mask, "actions": actions}


def _at_actions(actions_BT: Tensor, answers: Sequence[Sample]) -> Tensor:
    """The sampler's own log-probabilities where the trainer's stand; that they agree is a preflight check."""
    scores = [score for answer in answers for score in answer.log_probabilities]
    return torch.zeros_like(actions_BT).masked_scatter(actions_BT.bool(), torch.tensor(scores).to(actions_BT))


def score_actions(model: Any, tensors: Mapping[str, Tensor], temperature: float, *, value: Any = None) -> Actions:
    """Read whole dialogues with a model; the temperature of sampling divides the logits here too.

    The model reads where it is, and what it says comes back to where the dialogues are. Dialogues of like length are read
    together, filled up to a width that depends on their own length alone: the same bits whatever stands beside them.
    """
    width, home = tensors["actions"].shape[1], tensors["ids"].device
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for row, length in enumerate(tensors["mask"].sum(1).tolist()):
        groups[read_width(length)].append(row)
    parts = [_scored(model, _filled(tensors, rows, wide), temperature, value) for wide, rows in groups.items()]
    order = torch.tensor([row for rows in groups.values() for row in rows], device=home).argsort()

    def whole(name: str) -> Tensor:
        grids = [_to_width(getattr(part, name), width) for part in parts]
        return torch.cat(grids).to(home)[order]

    return Actions(log_probabilities=whole("log_probabilities"), entropies=whole("entropies"), values=whole("values"))


def read_width(length: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24 …: less than a third of a row is padding, and the widths are few."""
    power = 1 << (length - 1).bit_length()
    return power * 3 // 4 if length <= power * 3 // 4 else power


def _filled(tensors: Mapping[str, Tensor], rows: Sequence[int], width: int) -> dict[str, Tensor]:
    """Of some rows: ids and mask at `width`, actions at one less; what is cut off or added is padding."""
    wide = {"ids": width, "mask": width, "actions": width - 1}
    return {name: _to_width(tensors[name][rows], each) for name, each in wide.items()}


def _to_width(grid_BT: Tensor, width: int) -> Tensor:
    return functional.pad(grid_BT, (0, width - grid_BT.shape[1]))  # a negative number cuts


def _scored(model: Any, tensors: Mapping[str, Tensor], temperature: float, value: Any) -> Actions:
    head_VD = vocabulary_head(model)
    ids, mask, actions_BT = (tensors[name].to(head_VD.device) for name in ("ids", "mask", "actions"))
    states_BTD = hidden_states(model, ids[:, :-1], mask[:, :-1])
    wanted_BT = actions_BT.bool()
    scores_NV = torch.log_softmax((states_BTD[wanted_BT] @ head_VD.T).float() / temperature, 1)
    chosen_N = ids[:, 1:][wanted_BT]
    empty_BT = torch.zeros_like(actions_BT)
    values_BT = empty_BT if value is None else value(states_BTD.detach())[..., 0].float() * actions_BT
    return Actions(
        log_probabilities=empty_BT.masked_scatter(wanted_BT, scores_NV.gather(1, chosen_N[:, None])[:, 0]),
        entropies=empty_BT.masked_scatter(wanted_BT, -(scores_NV.exp() * scores_NV).sum(1)),
        values=values_BT,
    )


def last_action(actions_BT: Tensor) -> Tensor:
    """The last chosen position of each row."""
    return (actions_BT * torch.arange(1, actions_BT.shape[1] + 1)).argmax(1)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over the mask; 0 for a constant guess, below 0 for a harmful one."""
    chosen = mask.bool()
    total = returns[chosen].var(correction=0)
    return float(1 - (returns - values)[chosen].var(correction=0) / total) if float(total) > 0 else 0.0
