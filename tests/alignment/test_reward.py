"""The reward model: its loss by hand, its batches, and planted preferences that it must find out by itself."""

import dataclasses
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from models.heads import RewardModel, load_reward_model
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.preferences import Pair
from tasks.alignment.reward import (
    Answered,
    PairBatches,
    PairwisePreference,
    RewardConfig,
    answered,
    bradley_terry,
    pair_batch,
    read_tensors,
    run,
    score_rows,
)
from tasks.training.engine import Preempted, TrainingConfig
from tasks.training.optimizers import OptimizerConfig

LETTERS = "abcdefgh"  # worth 0 to 7


def pair(better: str, worse: str, prompt: str = "say", *, finished: tuple[bool, bool] = (True, True)) -> Pair:
    return Pair(
        id=f"{better}/{worse}", task="planted", prompt=prompt, chosen=better, rejected=worse,
        chosen_finished=finished[0], rejected_finished=finished[1], chosen_score=1.0, rejected_score=0.0,
    )  # fmt: skip


def worth(answer: str) -> int:
    return sum(map(LETTERS.index, answer))


def planted(count: int, seed: int) -> list[Pair]:
    """Three letters against three letters: the sum of their worths decides, and nothing that is written says so."""
    chance = random.Random(seed)
    pairs: list[Pair] = []
    while len(pairs) < count:
        one, other = ("".join(chance.choices(LETTERS, k=3)) for _ in range(2))
        if abs(worth(one) - worth(other)) >= 2:
            pairs.append(pair(max(one, other, key=worth), min(one, other, key=worth)))
    return pairs


@pytest.fixture
def reward_model(small_model: Callable[..., Any]) -> Callable[..., RewardModel]:
    def make(seed: int = 0, **options: Any) -> RewardModel:
        return RewardModel(small_model(seed, **options)).eval()

    return make


def test_the_loss_is_ln_2_where_nothing_is_told_apart_and_ignores_a_constant() -> None:
    assert float(bradley_terry(torch.zeros(1))) == pytest.approx(math.log(2), abs=1e-7)
    rewards = torch.tensor([2.0, 1.0, 0.0, -1.0], dtype=torch.float64)
    better, worse = torch.triu_indices(4, 4, 1)
    loss = bradley_terry(rewards[better] - rewards[worse]).mean()
    assert float(loss) == pytest.approx(0.2070380727, abs=1e-9)
    moved = rewards + 17
    assert float(bradley_terry(moved[better] - moved[worse]).mean()) == pytest.approx(float(loss), abs=1e-12)
    # no overflow where a sigmoid would be 0
    assert float(bradley_terry(torch.tensor(-800.0))) == pytest.approx(800.0)


def test_the_gradient_over_all_pairs_of_one_prompt_sums_to_0() -> None:
    rewards = torch.tensor([0.3, -1.2, 0.9, 2.0], dtype=torch.float64, requires_grad=True)
    better, worse = torch.triu_indices(4, 4, 1)
    bradley_terry(rewards[better] - rewards[worse]).sum().backward()  # type: ignore[no-untyped-call]
    assert rewards.grad is not None
    assert float(rewards.grad.sum()) == pytest.approx(0, abs=1e-12)
    # by hand, of the last: each of three pairs pulls it down by sigmoid of how far it leads
    expected = sum(torch.sigmoid(rewards[3] - rewards[other]).item() for other in range(3))
    assert float(rewards.grad[3]) == pytest.approx(expected, abs=1e-12)


def test_the_objective_is_the_sum_over_its_pairs(
    tokenizer: ChatTokenizer, reward_model: Callable[..., RewardModel]
) -> None:
    reward, objective = reward_model(3), PairwisePreference()
    pairs = planted(6, 1)
    batches = PairBatches(pairs, tokenizer, 64, batch_sequences=6, seed=0)
    found = objective.loss(reward, pair_batch(batches.pairs, tokenizer.pad_id))
    rows = [[answered(tokenizer, each.prompt, text, True) for text in (each.chosen, each.rejected)] for each in pairs]
    margins = torch.stack([score_rows(reward, row, tokenizer.pad_id).diff()[0].neg() for row in rows])
    assert found.sums["loss"] == pytest.approx(float(F.softplus(-margins).sum()), abs=1e-4)
    assert found.sums["accuracy"] == float((margins > 0).sum())
    assert objective.weight(pair_batch(batches.pairs, tokenizer.pad_id)) == 6


def test_equal_answers_teach_nothing(tokenizer: ChatTokenizer, reward_model: Callable[..., RewardModel]) -> None:
    reward = reward_model(3)
    batch = pair_batch(PairBatches([pair("abc", "abc")], tokenizer, 64, batch_sequences=1, seed=0).pairs, 1)
    loss = PairwisePreference().loss(reward, batch)
    assert loss.sums == {"loss": pytest.approx(math.log(2), abs=1e-6), "accuracy": 0.0}  # a tie is not told right
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert reward.head.weight.grad is not None
    assert float(reward.head.weight.grad.abs().max()) < 1e-6


def test_both_answers_of_a_pair_stand_in_one_row(tokenizer: ChatTokenizer) -> None:
    pairs = [pair("h" * (number + 1), "a", f"{number}") for number in range(8)]
    batches = PairBatches(pairs, tokenizer, 64, batch_sequences=4, seed=2)
    batch = next(batches.starting_at(0))
    assert len(batch) == 4
    assert batch.tensors["ids"].shape[:2] == (4, 2)
    # the engine cuts batches by rows, for its micro-batches and its workers: no cut may part a pair
    for row in range(4):
        chosen, rejected = (tokenizer.decode(ids.tolist()) for ids in batch.rows(slice(row, row + 1)).tensors["ids"][0])
        assert chosen.strip("h") == rejected.rstrip("a")
        assert "h" in chosen
    assert batch.tokens == int(batch.tensors["mask"].sum())


def test_each_epoch_meets_every_pair_once(tokenizer: ChatTokenizer) -> None:
    pairs = [pair("h" * (number + 1), "a") for number in range(9)]
    stream = PairBatches(pairs, tokenizer, 64, batch_sequences=3, seed=2).starting_at(0)
    answers = [next(stream).tensors["answer"][:, 0].sum(1).tolist() for _ in range(3)]
    assert sorted(length for batch in answers for length in batch) == list(range(2, 11))


def test_the_end_token_stands_only_behind_an_answer_that_ended(tokenizer: ChatTokenizer) -> None:
    whole, cut = (answered(tokenizer, "say", "abc", finished) for finished in (True, False))
    prompt = tokenizer.encode_prompt([{"role": "user", "content": "say"}])
    assert whole.ids == (*prompt, *tokenizer.encode_text("abc"), tokenizer.end_id)
    assert cut.ids == whole.ids[:-1]
    assert whole.start == cut.start == len(prompt)
    tensors = read_tensors([whole, cut], tokenizer.pad_id)
    assert tensors["answer"].sum(1).tolist() == [4, 3]
    assert tensors["mask"].sum(1).tolist() == [len(prompt) + 4, len(prompt) + 3]
    assert tensors["ids"][1, -1] == tokenizer.pad_id


def test_the_reward_reads_what_the_policy_writes(tokenizer: ChatTokenizer) -> None:
    """What training pairs look like to the reward model is what a rollout looks like to it."""
    spoken = [*tokenizer.encode_text("abc"), tokenizer.end_id]
    prompt = tokenizer.encode_prompt([{"role": "user", "content": "say"}])
    assert answered(tokenizer, "say", "abc", True) == Answered(ids=(*prompt, *spoken), start=len(prompt))


@pytest.mark.parametrize("amount", [1, 7, 30])
def test_padding_does_not_change_a_reward(
    amount: int, tokenizer: ChatTokenizer, reward_model: Callable[..., RewardModel]
) -> None:
    reward = reward_model(5)
    row = answered(tokenizer, "say", "abc", True)
    plain = read_tensors([row], tokenizer.pad_id)
    with torch.inference_mode():
        expected = float(reward(**with_names(plain)))
        for sides in ((amount, 0), (0, amount), (amount, amount)):
            padded = {
                name: F.pad(tensor, sides, value=tokenizer.pad_id if name == "ids" else 0)
                for name, tensor in plain.items()
            }
            assert float(reward(**with_names(padded))) == pytest.approx(expected, abs=1e-5)
        other = {**plain, "ids": torch.where(plain["ids"] == tokenizer.end_id, 5, plain["ids"])}
        assert abs(float(reward(**with_names(other))) - expected) > 1e-3


def with_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{name}_BT": tensor for name, tensor in tensors.items()}


def test_scores_come_back_in_the_order_of_the_rows(
    tokenizer: ChatTokenizer, reward_model: Callable[..., RewardModel]
) -> None:
    reward = reward_model(5)
    chance = random.Random(3)
    rows = [
        answered(tokenizer, "say", "".join(chance.choices(LETTERS, k=chance.randint(0, 20))), chance.random() < 0.5)
        for _ in range(150)
    ]
    rows = [row for row in rows if len(row.ids) > row.start]
    together = score_rows(reward.train(), rows, tokenizer.pad_id)
    assert reward.training, "scoring leaves the model in the mode it was in"
    alone = torch.cat([score_rows(reward, [row], tokenizer.pad_id) for row in rows])
    assert torch.allclose(together, alone, atol=1e-5)


def test_pairs_that_do_not_fit_are_left_out_and_none_at_all_is_refused(tokenizer: ChatTokenizer) -> None:
    pairs = [pair("a", "b"), pair("a" * 70, "b"), pair("a", "b" * 70)]
    assert len(PairBatches(pairs, tokenizer, 64, batch_sequences=1, seed=0).pairs) == 1
    with pytest.raises(ValueError, match="none of 2 preference pairs fits into the context of 64 tokens"):
        PairBatches(pairs[1:], tokenizer, 64, batch_sequences=1, seed=0)


TRAINING = TrainingConfig(
    steps=120,
    batch_sequences=16,
    optimizer=OptimizerConfig(learning_rate=0.01, adam_share=0.5),
    checkpoint_steps=50,
)


@pytest.fixture
def preferences(tmp_path: Path, write_rows: Callable[..., None]) -> Path:
    write_rows(tmp_path / "preferences" / "train.jsonl", planted(1000, seed=1))
    return tmp_path / "preferences"


def test_planted_utilities_are_found(
    base: Path, preferences: Path, job_in: Callable[..., dict[str, Any]], watching: Any
) -> None:
    hook = watching()
    outcome = run(job_in("planted", RewardConfig(training=TRAINING), base=base, preferences=preferences), [hook])
    assert (outcome["pairs"], outcome["dropped"]) == (1000, 0)
    reward, tokenizer = load_reward_model(Path(outcome["artifact"]["path"]))
    fresh = planted(300, seed=2)
    better, worse = (
        score_rows(reward, [answered(tokenizer, "say", getattr(each, which), True) for each in fresh], tokenizer.pad_id)
        for which in ("chosen", "rejected")
    )
    assert float((better > worse).float().mean()) > 0.9
    # Spearman's correlation of reward and worth over every answer there is, most of them in no pair
    words = sorted({each.chosen for each in fresh} | {each.rejected for each in fresh})
    rewards = score_rows(reward, [answered(tokenizer, "say", word, True) for word in words], tokenizer.pad_id)
    ranks = torch.stack(
        [each.argsort().argsort().float() for each in (rewards, torch.tensor([worth(w) for w in words]))]
    )
    assert float(torch.corrcoef(ranks)[0, 1]) > 0.9


def test_the_saved_rewards_have_mean_0_and_deviation_1(
    base: Path, preferences: Path, job_in: Callable[..., dict[str, Any]]
) -> None:
    config = RewardConfig(training=dataclasses.replace(TRAINING, steps=10))
    outcome = run(job_in("planted", config, base=base, preferences=preferences), [])
    reward, tokenizer = load_reward_model(Path(outcome["artifact"]["path"]))
    pairs = [Pair(**json.loads(line)) for line in (preferences / "train.jsonl").read_text("utf-8").splitlines()]
    rows = [answered(tokenizer, "say", text, True) for each in pairs[:256] for text in (each.chosen, each.rejected)]
    rewards = score_rows(reward, rows, tokenizer.pad_id)
    assert float(rewards.mean()) == pytest.approx(0, abs=1e-3)
    assert float(rewards.std(correction=0)) == pytest.approx(1, abs=1e-3)


def test_a_stopped_reward_model_ends_with_the_weights_of_an_unbroken_one(
    base: Path, preferences: Path, job_in: Callable[..., dict[str, Any]], watching: Any
) -> None:
    config = RewardConfig(training=dataclasses.replace(TRAINING, steps=8))
    unbroken = run(job_in("planted-whole", config, base=base, preferences=preferences), [])
    job = job_in("planted-stopped", config, base=base, preferences=preferences)
    with pytest.raises(Preempted, match="stopped at step 3 of 8"):
        run(job, [watching(3)])
    resumed = run(job, [])
    assert resumed["resumed_at"] == 3
    assert resumed["artifact"]["digest"] == unbroken["artifact"]["digest"]
