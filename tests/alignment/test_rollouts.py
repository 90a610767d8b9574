"""Rollouts: sampled and scored by one and the same policy, with the reward where it belongs, and never half used."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.heads import PolicyWithValue, last_places
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.advantages import masked_mean
from tasks.alignment.rollouts import (
    KLConfig,
    Models,
    RolloutBatches,
    RolloutConfig,
    action_tensors,
    explained_variance,
    last_action,
    read_width,
    score_actions,
)
from tasks.training.batches import Batch

CONFIG = RolloutConfig(
    prompts=12, epochs=2, minibatch_sequences=4, max_answer_tokens=6, discount=1.0, smoothing=1.0,
    kl=KLConfig(coefficient=0.3, target=0.2, horizon=100),
)  # fmt: skip


class LengthReward(nn.Module):
    """A designed reward: the number of tokens that it reads of the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, ids_BT: Tensor, mask_BT: Tensor, answer_BT: Tensor) -> Tensor:
        assert ids_BT.shape == mask_BT.shape
        assert bool((answer_BT <= mask_BT).all())
        assert bool((answer_BT.gather(1, last_places(mask_BT)[:, None]) == 1).all())
        return answer_BT.sum(1).float()


@pytest.fixture
def prompts(tokenizer: ChatTokenizer) -> list[list[int]]:
    return [tokenizer.encode_prompt([{"role": "user", "content": "x" * length}]) for length in range(1, 30, 2)]


@pytest.fixture
def source(
    tokenizer: ChatTokenizer, small_model: Callable[..., Any], prompts: list[list[int]]
) -> Callable[..., tuple[RolloutBatches, Models]]:
    """A policy that differs from its reference, with a value that is not 0."""

    def make(config: RolloutConfig = CONFIG, seed: int = 9) -> tuple[RolloutBatches, Models]:
        policy = PolicyWithValue(small_model(1, spread=2.0))
        nn.init.normal_(policy.value.weight, std=0.1, generator=torch.Generator().manual_seed(4))
        models = Models(policy=policy, reference=small_model(2, spread=2.0), reward=LengthReward())  # type: ignore[arg-type]
        return RolloutBatches(models, tokenizer, prompts, config, seed), models

    return make


def iteration(batches: RolloutBatches, position: int = 0, config: RolloutConfig = CONFIG) -> list[Batch]:
    stream = batches.starting_at(position)
    return [next(stream) for _ in range(config.minibatches)]


def whole(minibatches: Sequence[Batch], config: RolloutConfig = CONFIG) -> dict[str, Tensor]:
    """The rows of the first epoch: every answer of the rollout once."""
    first = minibatches[: config.prompts // config.minibatch_sequences]
    return {name: torch.cat([batch.tensors[name] for batch in first]) for name in first[0].tensors}


def dialogues(rows: Mapping[str, Tensor]) -> list[tuple[int, ...]]:
    """The ids of each row without its padding."""
    return [tuple(ids[mask.bool()].tolist()) for ids, mask in zip(rows["ids"], rows["mask"], strict=True)]


def test_actions_are_the_places_that_choose_an_answers_tokens() -> None:
    tensors = action_tensors([[5, 6, 7], [5]], [[5, 6, 7, 8, 9], [5, 8]], 1)
    assert tensors["ids"].tolist() == [[5, 6, 7, 8, 9], [5, 8, 1, 1, 1]]
    assert tensors["mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert tensors["actions"].tolist() == [[0, 0, 1, 1], [1, 0, 0, 0]]
    assert last_action(tensors["actions"]).tolist() == [3, 0]


@torch.no_grad()
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_scores_are_those_of_the_whole_logits(temperature: float, small_model: Callable[..., Any]) -> None:
    model = small_model(3)
    prompts, rows = [[5, 6, 7], [5]], [[5, 6, 7, 80, 90], [5, 60]]
    tensors = action_tensors(prompts, rows, 1)
    found = score_actions(model, tensors, temperature)
    for row, (prompt, ids) in enumerate(zip(prompts, rows, strict=True)):
        logits = model(input_ids=torch.tensor([ids])).logits[0].float() / temperature
        scores = torch.log_softmax(logits, 1)
        for place in range(len(prompt) - 1, len(ids) - 1):
            assert float(found.log_probabilities[row, place]) == pytest.approx(
                float(scores[place, ids[place + 1]]), abs=1e-5
            )
            entropy = torch.distributions.Categorical(logits=logits[place]).entropy()  # type: ignore[no-untyped-call]
            assert float(found.entropies[row, place]) == pytest.approx(float(entropy), abs=1e-5)
    outside = tensors["actions"] == 0
    assert float(found.log_probabilities[outside].abs().sum()) == float(found.entropies[outside].abs().sum()) == 0


def test_a_row_is_read_at_a_width_of_its_own() -> None:
    assert [read_width(length) for length in (1, 2, 3, 5, 6, 7, 9, 13, 48, 49, 65)] == [
        1,
        2,
        3,
        6,
        6,
        8,
        12,
        16,
        48,
        64,
        96,
    ]


def test_short_dialogues_are_not_read_at_the_width_of_a_long_one(small_model: Callable[..., Any]) -> None:
    model = small_model(3)
    prompts = [[5] * 40, [5, 6], [7]]
    rows = [[*prompt, 80] for prompt in prompts]
    read: list[tuple[int, int]] = []
    model.base_model.register_forward_pre_hook(
        lambda _module, _given, named: read.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    score_actions(model, action_tensors(prompts, rows, 1), 1.0)
    assert sorted(read) == [(1, 1), (1, 2), (1, 47)], "41 -> 48, 3 -> 3, 2 -> 2 tokens; the last of them is not read"


def test_the_value_does_not_train_the_trunk(small_model: Callable[..., Any]) -> None:
    policy = PolicyWithValue(small_model(3))
    tensors = action_tensors([[5, 6]], [[5, 6, 7, 8]], 1)
    score_actions(policy.model, tensors, 1.0, value=policy.value).values.sum().backward()  # type: ignore[no-untyped-call]
    assert policy.value.weight.grad is not None
    assert float(policy.value.weight.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in policy.model.parameters())


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("size", [1, 3, 12])
def test_a_rollout_is_scored_as_it_will_be_trained_on(
    temperature: float, size: int, source: Callable[..., tuple[RolloutBatches, Models]]
) -> None:
    config = RolloutConfig(prompts=12, epochs=1, minibatch_sequences=size, max_answer_tokens=6, temperature=temperature)
    batches, models = source(config)
    models.policy.train()
    for batch in iteration(batches, config=config):
        # a minibatch of another size, with gradients: the same bits, so that no ratio is off before the first step
        now = score_actions(models.policy.model, batch.tensors, temperature, value=models.policy.value)
        assert torch.equal(now.log_probabilities, batch.tensors["old_log_probabilities"])
        assert torch.allclose(now.values, batch.tensors["old_values"], atol=1e-6)


def test_what_was_sampled_is_what_is_scored(
    source: Callable[..., tuple[RolloutBatches, Models]], prompts: list[list[int]]
) -> None:
    """The sampler decodes with a cache, the scores come from one reading: they must be of one distribution."""
    batches, _ = source()
    chosen = batches._shuffle.numbers(0, 12)
    samples = batches._sampled([prompts[number] for number in chosen], 0)
    rows = whole(iteration(batches))
    places = {ids: place for place, ids in enumerate(dialogues(rows))}
    for number, each in zip(chosen, samples, strict=True):
        place = places[(*prompts[number], *each.tokens)]
        scored = rows["old_log_probabilities"][place][rows["actions"][place].bool()]
        assert torch.allclose(scored, torch.tensor(each.log_probabilities), atol=1e-4)


def test_the_score_stands_on_the_last_token_and_the_kl_on_every_one(
    source: Callable[..., tuple[RolloutBatches, Models]], tokenizer: ChatTokenizer
) -> None:
    batches, models = source()
    minibatches = iteration(batches)
    rows = whole(minibatches)
    reference = score_actions(models.reference, rows, 1.0)
    kl = (rows["old_log_probabilities"] - reference.log_probabilities) * rows["actions"]
    lengths = rows["actions"].sum(1)
    ended = (rows["ids"] == tokenizer.end_id)[:, 1:] & rows["actions"].bool()
    scores = lengths.clamp(max=CONFIG.reward_limit) - CONFIG.unfinished_penalty * ~ended.any(1)
    # smoothing 1 and discount 1: the return of a token is all the reward from there to the end
    to_go = kl.flip(1).cumsum(1).flip(1)
    expected = (scores[:, None] - 0.3 * to_go) * rows["actions"]
    assert torch.allclose(rows["returns"], expected.detach(), atol=1e-4)
    first = minibatches[0].metrics
    assert first["reward"] == pytest.approx(float(scores.mean()), abs=1e-5)
    assert first["kl"] == pytest.approx(float(kl.detach().sum(1).mean()), abs=1e-4)
    assert first["response_tokens"] == pytest.approx(float(lengths.mean()))
    assert first["finished_share"] == pytest.approx(float(ended.any(1).float().mean()))


def test_a_reward_is_bounded_before_the_penalty(source: Callable[..., tuple[RolloutBatches, Models]]) -> None:
    config = RolloutConfig(prompts=12, epochs=1, minibatch_sequences=12, max_answer_tokens=12, reward_limit=2.0)
    batches, _ = source(config)
    prompts = [[5, 6]] * 3
    rows = [[5, 6, *range(10, 10 + length)] for length in (1, 2, 12)]
    said = [type("Said", (), {"finished": finished})() for finished in (True, False, False)]
    assert batches._scores(prompts, rows, said).tolist() == [1.0, 1.0, 1.0]  # 1, 2 - 1, and 12 -> 2 - 1


def test_advantages_are_whitened_over_the_whole_rollout(source: Callable[..., tuple[RolloutBatches, Models]]) -> None:
    rows = whole(iteration(source()[0]))
    assert float(masked_mean(rows["advantages"], rows["actions"])) == pytest.approx(0, abs=1e-5)
    assert float(masked_mean(rows["advantages"] ** 2, rows["actions"])) == pytest.approx(1, abs=1e-4)
    raw = (rows["returns"] - rows["old_values"])[rows["actions"].bool()]
    assert torch.allclose(
        rows["advantages"][rows["actions"].bool()], (raw - raw.mean()) / raw.std(correction=0), atol=1e-4
    )
    for name in ("advantages", "returns", "old_values", "old_log_probabilities"):
        assert float(rows[name][rows["actions"] == 0].abs().sum()) == 0


def test_every_epoch_uses_every_answer_once_and_the_rollout_speaks_once(
    source: Callable[..., tuple[RolloutBatches, Models]],
) -> None:
    minibatches = iteration(source()[0])
    assert len(minibatches) == 6
    epochs = [dialogues(whole(half)) for half in (minibatches[:3], minibatches[3:])]
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]
    assert [bool(batch.metrics) for batch in minibatches] == [True, False, False, False, False, False]
    assert sum(batch.tokens for batch in minibatches[:3]) == int(whole(minibatches)["mask"].sum())


def test_a_checkpoint_may_fall_between_iterations_only(source: Callable[..., tuple[RolloutBatches, Models]]) -> None:
    batches, _ = source()
    assert batches.at_boundary()
    stream = batches.starting_at(0)
    found = []
    for _ in range(12):
        next(stream)
        found.append(batches.at_boundary())
    assert found == [False] * 5 + [True] + [False] * 5 + [True]
    with pytest.raises(ValueError, match="batch 8 is inside an iteration of 6; none is resumed half used"):
        next(batches.starting_at(8))


def test_the_coefficient_that_was_used_is_the_one_that_is_told(
    source: Callable[..., tuple[RolloutBatches, Models]],
) -> None:
    batches, _ = source()
    stream = batches.starting_at(0)
    metrics = [next(stream).metrics for _ in range(12)]
    assert metrics[0]["kl_coefficient"] == 0.3
    assert metrics[0]["kl"] > 0.24, "the case wants a KL of more than a fifth above its target"
    moved = 0.3 * (1 + 0.2 * 12 / 100)
    assert metrics[6]["kl_coefficient"] == pytest.approx(moved)
    assert batches.state_dict() == {"kl_coefficient": pytest.approx(moved * (1 + 0.2 * 12 / 100))}


def test_an_iteration_goes_on_from_its_state_as_if_never_stopped(
    source: Callable[..., tuple[RolloutBatches, Models]],
) -> None:
    unbroken, _ = source()
    stream = unbroken.starting_at(0)
    for _ in range(6):
        next(stream)
    state = unbroken.state_dict()
    expected = [next(stream) for _ in range(6)]
    resumed, _ = source()
    resumed.load_state_dict(state)
    for batch, other in zip(iteration(resumed, 6), expected, strict=True):
        assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in batch.tensors.items())
    forgetful, _ = source()
    other = iteration(forgetful, 6)[0]
    assert not torch.equal(other.tensors["returns"], expected[0].tensors["returns"])


def test_the_policy_of_the_moment_is_asked(source: Callable[..., tuple[RolloutBatches, Models]]) -> None:
    batches, models = source()
    stream = batches.starting_at(0)
    for _ in range(6):
        next(stream)
    with torch.no_grad():
        models.policy.model.get_input_embeddings().weight.mul_(0.5)
    batch = next(stream)
    now = score_actions(models.policy.model, batch.tensors, 1.0)
    assert torch.equal(now.log_probabilities, batch.tensors["old_log_probabilities"])


def test_prompts_are_met_once_an_epoch_and_a_prompt_twice_is_answered_twice(
    source: Callable[..., tuple[RolloutBatches, Models]], prompts: list[list[int]]
) -> None:
    config = RolloutConfig(prompts=30, epochs=1, minibatch_sequences=30, max_answer_tokens=6)
    batches, _ = source(config)  # 15 prompts, each twice in one rollout
    rows = iteration(batches, config=config)[0].tensors
    assert len(set(dialogues(rows))) > 20, "another key draws another answer"
    starts = (rows["mask"].sum(1) - rows["actions"].sum(1)).int().tolist()
    assert sorted(starts) == sorted(len(prompt) for prompt in prompts * 2)


def test_explained_variance_by_hand() -> None:
    mask, returns = torch.ones(1, 4), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(torch.full((1, 4), 2.5), returns, mask) == pytest.approx(0)
    assert explained_variance(-returns, returns, mask) == pytest.approx(1 - 4)
    assert explained_variance(returns, torch.ones(1, 4), mask) == 0, "nothing varies"
    assert explained_variance(torch.tensor([[1.0, 2.0, 99.0, -99.0]]), returns, torch.tensor([[1, 1, 0, 0]])) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prompts": 10, "minibatch_sequences": 4}, "multiple of minibatch_sequences"),
        ({"prompts": 0}, "multiple of minibatch_sequences"),
        ({"epochs": 0}, "epochs at least 1"),
        ({"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RolloutConfig(**changed)
