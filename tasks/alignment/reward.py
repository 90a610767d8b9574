"""Reward modelling: which of two answers is better (Bradley & Terry 1952; Stiennon et al. 2020).

Shapes: B pairs, T tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.catalogue import load_model
from models.heads import RewardModel, save_reward_model
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.preferences import Pair, read_pairs
from tasks.alignment.preflight import pair_checks
from tasks.training.batches import Batch, Shuffle, Stateless, padded
from tasks.training.engine import Hook, TrainingConfig, step_seed
from tasks.training.job import Job, of_record, run_training
from tasks.training.objectives import Loss

KIND = "reward"
NORMALISED_ON = 512  # chosen and rejected answers of training pairs, half each
SCORED_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    training: TrainingConfig


def run(job: Mapping[str, Any], hooks: Sequence[Hook]) -> dict[str, Any]:
    """The worker's function. Inputs: `base` (the instruction-tuned model) and `preferences`."""
    record = of_record(Job, job)
    config = of_record(RewardConfig, record.config)
    model, tokenizer = load_model(record.input("base"))
    torch.manual_seed(step_seed(record.seed, -1))
    reward = RewardModel(model)
    context = int(model.config.max_position_embeddings)
    pairs = read_pairs(record.input("preferences") / "train.jsonl")
    batches = PairBatches(pairs, tokenizer, context, batch_sequences=config.training.batch_sequences, seed=record.seed)

    def save(folder: Path) -> None:
        reward.normalise(score_rows(reward, batches.some_rows(NORMALISED_ON), tokenizer.pad_id))
        save_reward_model(folder, reward, tokenizer)

    outcome = run_training(
        record,
        hooks,
        module=reward,
        objective=PairwisePreference(),
        batches=batches,
        config=config.training,
        sequence_tokens=2 * batches.longest,
        save=save,
        checks=pair_checks(
            batches.texts,
            [(chosen.ids, rejected.ids) for chosen, rejected in batches.pairs],
            [
                (text.prompt, pair[0].ids[: pair[0].start])
                for text, pair in zip(batches.texts, batches.pairs, strict=True)
            ],
            tokenizer,
        ),
        tokenizer=tokenizer,
    )
    return {**outcome, "pairs": len(batches.pairs), "dropped": len(pairs) - len(batches.pairs)}


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What the reward model reads: the turns as the policy meets them; the answer begins at `start`."""

    ids: tuple[int, ...]
    start: int


def answered(tokenizer: ChatTokenizer, prompt: str, answer: str, finished: bool) -> Answered:
    """The end token stands there only if the answer ended by itself."""
    before = tokenizer.encode_prompt([{"role": "user", "content": prompt}])
    said = tokenizer.encode_text(answer) + ([tokenizer.end_id] if finished else [])
    return Answered(ids=(*before, *said), start=len(before))


def read_tensors(rows: Sequence[Answered], pad_id: int) -> dict[str, Tensor]:
    """ids, mask and answer [B, T]."""
    return {
        "ids": padded([row.ids for row in rows], pad_id),
        "mask": padded([[1] * len(row.ids) for row in rows], 0),
        "answer": padded([[int(place >= row.start) for place in range(len(row.ids))] for row in rows], 0),
    }


class PairBatches(Stateless):
    """Pairs in a new random order each epoch; both answers of a pair stand in one row, so that no batch tears them."""

    def __init__(
        self, pairs: Sequence[Pair], tokenizer: ChatTokenizer, context: int, *, batch_sequences: int, seed: int
    ) -> None:
        encoded = [(text, _encoded(text, tokenizer)) for text in pairs]
        fitting = [each for each in encoded if max(len(answer.ids) for answer in each[1]) <= context]
        self.texts, self.pairs = [text for text, _ in fitting], [pair for _, pair in fitting]
        if not self.pairs:
            raise ValueError(f"none of {len(pairs)} preference pairs fits into the context of {context} tokens")
        self.longest = max(len(each.ids) for pair in self.pairs for each in pair)
        self._size, self._pad_id = batch_sequences, tokenizer.pad_id
        self._shuffle = Shuffle(len(self.pairs), seed)

    def batch(self, position: int) -> Batch:
        numbers = self._shuffle.numbers(position * self._size, self._size)
        return pair_batch([self.pairs[number] for number in numbers], self._pad_id)

    def some_rows(self, count: int) -> list[Answered]:
        """Answers of the first pairs, chosen and rejected alike."""
        return [answer for pair in self.pairs[: max(1, count // 2)] for answer in pair]


def _encoded(pair: Pair, tokenizer: ChatTokenizer) -> tuple[Answered, Answered]:
    chosen = answered(tokenizer, pair.prompt, pair.chosen, pair.chosen_finished)
    return chosen, answered(tokenizer, pair.prompt, pair.rejected, pair.rejected_finished)


def pair_batch(pairs: Sequence[tuple[Answered, Answered]], pad_id: int) -> Batch:
    """Tensors [B, 2, T]: chosen first."""
    rows = [each for pair in pairs for each in pair]
    tensors = {name: tensor.view(len(pairs), 2, -1) for name, tensor in read_tensors(rows, pad_id).items()}
    return Batch(tensors=tensors, tokens=sum(len(row.ids) for row in rows))


class PairwisePreference:
    """-log sigmoid(r_chosen - r_rejected), summed over pairs; `accuracy` is the share of pairs told right."""

    def weight(self, batch: Batch) -> float:
        return float(len(batch))

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        ids, mask, answer = (batch.tensors[name].flatten(0, 1) for name in ("ids", "mask", "answer"))
        rewards_B2 = module(ids, mask, answer).view(-1, 2)
        margins_B = rewards_B2[:, 0] - rewards_B2[:, 1]
        total = bradley_terry(margins_B).sum()
        right = float((margins_B.detach() > 0).sum())
        return Loss(total=total, sums={"loss": float(total.detach()), "accuracy": right})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state


def bradley_terry(margins: Tensor) -> Tensor:
    """-log of the probability that the chosen answer wins, given how much more reward it gets; ln 2 at 0."""
    return -F.logsigmoid(margins)


@torch.inference_mode()
def score_rows(reward: RewardModel, rows: Sequence[Answered], pad_id: int) -> Tensor:
    """Rewards [N] of answers, in their order; rows of like length share a batch."""
    device = next(reward.parameters()).device
    order = sorted(range(len(rows)), key=lambda place: len(rows[place].ids))
    rewards = torch.empty(len(rows))
    was_training = reward.training
    reward.eval()
    for start in range(0, len(order), SCORED_AT_ONCE):
        places = order[start : start + SCORED_AT_ONCE]
        tensors = read_tensors([rows[place] for place in places], pad_id)
        ids, mask, answer = (tensors[name].to(device) for name in ("ids", "mask", "answer"))
        rewards[places] = reward(ids, mask, answer).cpu()
    reward.train(was_training)
    return rewards
