"""Rewards and values on a decoder: what they are made of, and that padding is nothing to them."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from models.catalogue import save_model
from models.heads import (
    HEAD_FILE,
    PolicyWithValue,
    RewardModel,
    hidden_states,
    last_places,
    load_reward_model,
    save_reward_model,
    vocabulary_head,
)
from models.tokenizers.chat import ChatTokenizer

PROMPT, ANSWER = [2, 100, 200, 40, 4, 3], [50, 270, 60, 4]
Row = tuple[list[int], list[int]]  # prompt, answer


@pytest.fixture
def reward(model: Any) -> RewardModel:
    torch.manual_seed(7)
    made = RewardModel(model).eval()
    made.likelihood.data.fill_(0.7)
    made.head.bias.data.fill_(0.3)
    return made


def batch(rows: list[Row], width: int, side: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and answer mask, filled up to `width` on one side with a token that would change everything."""
    ids, mask, said = [], [], []
    for prompt, answer in rows:
        length = len(prompt) + len(answer)
        fill = [0] * (width - length)
        left, right = (fill, []) if side == "left" else ([], fill)
        ids.append([9 for _ in left] + prompt + answer + [9 for _ in right])
        mask.append(left + [1] * length + right)
        said.append(left + [0] * len(prompt) + [1] * len(answer) + right)
    return torch.tensor(ids), torch.tensor(mask), torch.tensor(said)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_reward_does_not_depend_on_amount_and_side_of_padding(reward: RewardModel, positions: str) -> None:
    """Learned positions would notice a token that stands elsewhere; rotary ones only see distances."""
    if positions == "learned":
        torch.manual_seed(2)
        config = GPT2Config(vocab_size=300, n_positions=48, n_embd=32, n_layer=1, n_head=2, initializer_range=0.3)
        reward = RewardModel(GPT2LMHeadModel(config)).eval()
    rows: list[Row] = [(PROMPT, ANSWER), (PROMPT[:3], ANSWER[1:]), (PROMPT * 3, ANSWER * 2)]
    with torch.no_grad():
        alone = torch.cat([reward(*batch([row], len(row[0]) + len(row[1]), "right")) for row in rows])
        for side in ("left", "right"):
            for width in (26, 27, 40):
                torch.testing.assert_close(reward(*batch(rows, width, side)), alone, rtol=0, atol=1e-5)
    assert float(alone.std()) > 0.01  # they are not all the same anyway


def test_a_reward_is_head_and_mean_log_likelihood_of_the_answer(reward: RewardModel, model: Any) -> None:
    """Both parts from the library's own output, token by token."""
    ids = torch.tensor([PROMPT + ANSWER])
    with torch.no_grad():
        output = model(input_ids=ids, output_hidden_states=True)
        scores = output.logits[0].log_softmax(-1)
        likelihoods = [float(scores[len(PROMPT) + place - 1, token]) for place, token in enumerate(ANSWER)]
        head = float(output.hidden_states[-1][0, -1] @ reward.head.weight[0]) + 0.3
        expected = head + 0.7 * sum(likelihoods) / len(ANSWER)
        assert float(reward(*batch([(PROMPT, ANSWER)], 10, "right"))) == pytest.approx(expected, abs=1e-5)


def test_both_parts_and_the_trunk_learn_and_padding_does_not(reward: RewardModel) -> None:
    reward(*batch([(PROMPT, ANSWER), (PROMPT, ANSWER[2:])], 16, "left")).sum().backward()
    for name, parameter in reward.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name
        assert torch.isfinite(parameter.grad).all(), name


def test_an_answer_without_tokens_has_no_likelihood(reward: RewardModel) -> None:
    ids, mask, said = batch([(PROMPT, ANSWER)], 10, "right")
    with torch.no_grad():
        head = reward(ids, mask, torch.zeros_like(said))
        reward.likelihood.zero_()
        assert torch.equal(head, reward(ids, mask, said))


def test_normalised_rewards_have_mean_0_and_deviation_1(reward: RewardModel) -> None:
    rows = [(PROMPT, [token, *ANSWER]) for token in range(50, 90)]
    inputs = batch(rows, 16, "right")
    with torch.no_grad():
        before = reward(*inputs)
        reward.normalise(before)
        after = reward(*inputs)
    assert float(after.mean()) == pytest.approx(0, abs=1e-4)
    assert float(after.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert torch.equal(before.argsort(), after.argsort())


@pytest.mark.parametrize("rewards", [torch.full((8,), 2.5), torch.tensor([1.0, math.nan]), torch.tensor([3.0])])
def test_rewards_that_say_nothing_are_not_normalised(reward: RewardModel, rewards: torch.Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in reward.state_dict().items()}
    with pytest.raises(ValueError, match="nothing was learned"):
        reward.normalise(rewards)
    assert all(torch.equal(tensor, before[name]) for name, tensor in reward.state_dict().items())


def test_first_rewards_are_of_order_one(model: Any) -> None:
    """lm-human-preferences: head weights N(0, 1 / (d + 1)); here d is 32, over many draws."""
    torch.manual_seed(0)
    weights = torch.cat([RewardModel(model).head.weight for _ in range(50)])
    assert float(weights.detach().std()) == pytest.approx(1 / math.sqrt(33), rel=0.1)


def test_last_places_are_those_of_tokens() -> None:
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]])
    assert last_places(mask).tolist() == [2, 3, 4, 4]


def test_hidden_states_and_head_give_the_models_own_logits(model: Any) -> None:
    ids, mask, _ = batch([(PROMPT, ANSWER), (PROMPT[:2], ANSWER)], 12, "left")
    with torch.no_grad():
        states = hidden_states(model, ids, mask)
        alone = model(input_ids=torch.tensor([PROMPT + ANSWER])).logits[0]
    torch.testing.assert_close(F.linear(states[0, 2:], vocabulary_head(model)), alone, rtol=0, atol=1e-4)
    assert torch.isfinite(states).all()


def test_a_value_starts_at_nothing_and_shares_the_trunk(model: Any) -> None:
    policy = PolicyWithValue(model)
    assert not policy.value.weight.any()
    assert not policy.value.bias.any()
    trained = {id(parameter) for parameter in policy.parameters()}
    assert {id(parameter) for parameter in model.parameters()} < trained


def test_a_reward_model_comes_back_as_it_was(reward: RewardModel, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    save_reward_model(tmp_path, reward, tokenizer)
    loaded, spoken = load_reward_model(tmp_path)
    inputs = batch([(PROMPT, ANSWER), (PROMPT[:3], ANSWER)], 12, "right")
    with torch.no_grad():
        assert torch.equal(loaded.cpu().eval()(*inputs), reward(*inputs))
    assert spoken.vocabulary == tokenizer.vocabulary
    assert set(load_file(tmp_path / HEAD_FILE)) == {"head.weight", "head.bias", "likelihood"}


def test_a_folder_without_its_own_head_is_no_reward_model(
    reward: RewardModel, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    save_model(tmp_path, reward.model, tokenizer)
    with pytest.raises(ValueError, match=r"has no head\.safetensors; it is not a reward model"):
        load_reward_model(tmp_path)
    for wrong in (
        {"head.weight": torch.zeros(1, 16), "head.bias": torch.zeros(1), "likelihood": torch.ones(())},
        {"head.weight": torch.zeros(1, 32), "head.bias": torch.zeros(1)},
        {**{name: tensor.detach() for name, tensor in reward.own_head().items()}, "model.norm.weight": torch.ones(32)},
    ):
        save_file(wrong, tmp_path / HEAD_FILE)
        with pytest.raises(ValueError, match="is not the head of a reward model of this size"):
            load_reward_model(tmp_path)
    (tmp_path / HEAD_FILE).write_bytes(b"\x80\x04evil pickle")
    with pytest.raises(ValueError, match="its header claims"):
        load_reward_model(tmp_path)
