"""Sampling with a cache says what the model says without one, exactly as likely as it should, whatever is beside it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from models.sampling import SHARED_AT_LEAST, Sample, SamplingConfig, choose, mix, sample, shared_beginning, uniform

PROMPTS = [[2, 100, 200, 4, 3], [2, 7], [50] * 20, [9, 8, 7, 6, 5, 4, 3], [2, 260], [30, 31, 32]]
NEVER: frozenset[int] = frozenset()


def drawn(model: Any, prompts: Sequence[Sequence[int]], **changed: Any) -> list[Sample]:
    names = {"max_tokens": 12, "temperature": 1.0}
    config = SamplingConfig(**{**names, **{key: changed.pop(key) for key in list(changed) if key in _FIELDS}})
    return sample(model, prompts, config, **{"seed": 1, "stop_ids": NEVER, "pad_id": 1, **changed})


_FIELDS = ("max_tokens", "temperature", "top_k", "top_p")


def whole_forward(model: Any, prompt: Sequence[int], answer: Sequence[int], temperature: float) -> torch.Tensor:
    """Log-probabilities [T, V] of every place of the answer, from one run without a cache."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1)


def close(one: Sample, other: Sample) -> bool:
    return (one.tokens, one.finished) == (other.tokens, other.finished) and np.allclose(
        one.log_probabilities, other.log_probabilities, rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_log_probabilities_are_those_of_the_full_forward(model: Any, temperature: float) -> None:
    for prompt, answer in zip(PROMPTS, drawn(model, PROMPTS, temperature=temperature), strict=True):
        scores = whole_forward(model, prompt, answer.tokens, temperature)
        for place, (token, score) in enumerate(zip(answer.tokens, answer.log_probabilities, strict=True)):
            assert score == pytest.approx(float(scores[place, token]), abs=1e-4)


def test_greedy_is_the_full_forwards_argmax_and_what_the_library_generates(model: Any) -> None:
    for prompt, answer in zip(PROMPTS, drawn(model, PROMPTS, temperature=0), strict=True):
        scores = whole_forward(model, prompt, answer.tokens, 1.0)
        assert list(answer.tokens) == scores.argmax(-1).tolist()
        assert answer.log_probabilities == pytest.approx(scores.max(-1).values.tolist(), abs=1e-4)
        ids = torch.tensor([prompt])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, eos_token_id=None
        )
        assert list(answer.tokens) == out[0, len(prompt) :].tolist()


def test_a_draw_is_the_inverse_transform_of_its_own_number(model: Any) -> None:
    """The whole sampler again, one token at a time and without a cache."""
    for number, (prompt, answer) in enumerate(zip(PROMPTS, drawn(model, PROMPTS, seed=5), strict=True)):
        told: list[int] = []
        for position in range(12):
            edges = whole_forward(model, prompt, [*told, 0], 1.0)[-1].double().exp().cumsum(0)
            aim = uniform(5, np.array([number], dtype=np.uint64), position)[0] * float(edges[-1])
            told.append(int((edges <= aim).sum()))
        assert list(answer.tokens) == told


def test_an_answer_ends_where_its_tokens_are_complete(model: Any) -> None:
    whole = drawn(model, PROMPTS, seed=2)
    ended = drawn(model, PROMPTS, seed=2, is_complete=lambda tokens: sum(tokens) % 3 == 0)
    for one, other in zip(whole, ended, strict=True):
        sums = np.cumsum(one.tokens) % 3
        length = int(np.argmin(sums)) + 1 if not sums.all() else 12
        assert other.tokens == one.tokens[:length]
        assert other.finished == (not sums.all())


def test_an_answer_does_not_depend_on_the_batch_it_is_in(model: Any) -> None:
    """Neither on its size, nor on the order, nor on who else is there: only on seed, key and prompt."""
    prompts = [*PROMPTS, *PROMPTS, *PROMPTS]
    together = drawn(model, prompts, seed=3)
    for size in (1, 4, 7):
        assert all(map(close, drawn(model, prompts, seed=3, batch_sequences=size), together))
    keys = [11, 3, 7, 7, 0, 2**63]
    alone = [drawn(model, [prompt], seed=3, keys=[key])[0] for prompt, key in zip(PROMPTS, keys, strict=True)]
    assert all(map(close, drawn(model, PROMPTS, seed=3, keys=keys), alone))
    assert all(map(close, drawn(model, PROMPTS[::-1], seed=3, keys=keys[::-1]), alone[::-1]))
    assert len({answer.tokens for answer in together}) == len(together)  # other keys, other answers


def test_rows_that_have_ended_leave_the_batch_and_change_nothing(model: Any) -> None:
    sizes: list[int] = []
    stops = frozenset(range(0, 300, 9))
    prompts = [[*prompt, own] for own in (10, 11, 12, 13) for prompt in PROMPTS]
    watch = model.register_forward_pre_hook(
        lambda _module, _inputs, named: sizes.append(len(named["input_ids"])), with_kwargs=True
    )
    together = drawn(model, prompts, max_tokens=24, stop_ids=stops)
    watch.remove()
    assert sizes[0] == 24
    assert sizes[-1] <= 6
    assert sizes == sorted(sizes, reverse=True)
    assert len({len(answer.tokens) for answer in together}) > 5
    free = drawn(model, prompts, max_tokens=24)
    for stopped, whole in zip(together, free, strict=True):
        ends = [place + 1 for place, token in enumerate(whole.tokens) if token in stops]
        length = ends[0] if ends else 24
        assert stopped.tokens == whole.tokens[:length]
        assert stopped.log_probabilities == pytest.approx(whole.log_probabilities[:length], abs=1e-4)
        assert stopped.finished == bool(ends)


def test_the_stop_token_belongs_to_the_answer_even_as_its_first(model: Any) -> None:
    first = drawn(model, [[2, 7]], temperature=0)[0].tokens[0]
    (answer,) = drawn(model, [[2, 7]], temperature=0, stop_ids=frozenset({first}))
    assert (answer.tokens, answer.finished, len(answer.log_probabilities)) == ((first,), True, 1)


def learned_positions() -> Any:
    """A model that has no position beyond its context at all."""
    torch.manual_seed(1)
    return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=48, n_embd=16, n_layer=1, n_head=2)).eval()


EXAMPLES = [(7 * place) % 250 + 5 for place in range(SHARED_AT_LEAST)]
QUESTIONS = [[*EXAMPLES, *own] for own in ([9], [8, 7, 6, 5], [9, 3], [2], [4] * 9, [9, 8])]


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_all_prompts_begin_with_is_read_once_and_changes_nothing(
    model: Any, positions: str, temperature: float
) -> None:
    model = model if positions == "rotary" else learned_positions()
    shapes: list[tuple[int, ...]] = []
    watch = model.register_forward_pre_hook(
        lambda _module, _inputs, named: shapes.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    together = drawn(model, QUESTIONS, max_tokens=5, temperature=temperature)
    watch.remove()
    assert shapes[:3] == [(1, SHARED_AT_LEAST), (6, 9), (6, 1)]
    assert all(map(close, together, drawn(model, QUESTIONS, max_tokens=5, temperature=temperature, batch_sequences=1)))
    again = drawn(model, [QUESTIONS[1]] * 3, max_tokens=5, temperature=temperature, keys=[1, 1, 1])
    assert all(map(close, again, [together[1]] * 3))


@pytest.mark.parametrize("prompts", [[*PROMPTS, *PROMPTS, PROMPTS[1]], [PROMPTS[3]] * 9, [*QUESTIONS, *QUESTIONS]])
def test_several_answers_to_a_prompt_read_it_once(model: Any, prompts: list[list[int]]) -> None:
    rows: list[int] = []
    watch = model.register_forward_pre_hook(
        lambda _module, _inputs, named: rows.append(len(named["input_ids"])), with_kwargs=True
    )
    together = drawn(model, prompts, max_tokens=4, seed=9)
    watch.remove()
    read = rows.index(len(prompts))  # the first token of every answer is read by itself
    assert max(rows[:read]) == len(set(map(tuple, prompts)))
    assert all(map(close, together, drawn(model, prompts, max_tokens=4, seed=9, batch_sequences=1)))
    assert len({answer.tokens for answer in together}) == len(together)


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        ([[1, 2, 3], [1, 2]], 1),
        ([[1, 2, 3], [1, 2, 4], [1, 2, 3, 4]], 2),
        ([[1], [1]], 0),
        ([[2, 1], [1, 2], [2, 1]], 0),
    ],
)
def test_the_beginning_that_prompts_share_leaves_a_token_of_each(prompts: list[list[int]], shared: int) -> None:
    assert shared_beginning(prompts) == shared


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_an_answer_ends_where_its_own_context_ends(model: Any, positions: str) -> None:
    """Context 48: a prompt of 46 leaves 2 tokens, and takes none from the short prompts beside it."""
    model = model if positions == "rotary" else learned_positions()
    prompts = [[5] * 46, [6] * 47, *PROMPTS]
    answers = drawn(model, prompts, max_tokens=20)
    assert [len(answer.tokens) for answer in answers] == [2, 1, *[20] * len(PROMPTS)]
    assert not any(answer.finished for answer in answers)
    # one of seven that has ended stays in the batch, and must not be asked for a position that there is not
    assert [len(answer.tokens) for answer in drawn(model, [[6] * 47, *PROMPTS], max_tokens=20)] == [1, *[20] * 6]
    keys = range(2, 2 + len(PROMPTS))
    assert all(map(close, answers[2:], drawn(model, PROMPTS, max_tokens=20, keys=list(keys))))


def test_prompts_that_leave_no_room_are_refused(model: Any) -> None:
    for prompt in ([5] * 48, []):
        with pytest.raises(ValueError, match=f"prompts must have 1 to 47 tokens .*found one with {len(prompt)}"):
            drawn(model, [[2, 7], prompt])
    assert drawn(model, []) == []


def test_sampling_leaves_the_model_and_torchs_own_randomness_alone(model: Any) -> None:
    model.train()
    state = torch.get_rng_state()
    drawn(model, PROMPTS)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    model.eval()
    drawn(model, PROMPTS)
    assert not model.training


# probabilities .4 .3 .15 .1 .05, in an order that is not sorted
CHANCES = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])
EXPECTED = [
    ({}, [0.1, 0.4, 0.05, 0.3, 0.15]),
    ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7, 0]),
    ({"top_k": 1}, [0, 1, 0, 0, 0]),
    ({"top_k": 9}, [0.1, 0.4, 0.05, 0.3, 0.15]),
    ({"top_p": 0.75}, [0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85]),  # .4 + .3 do not reach .75, with .15 they do
    ({"top_p": 0.69}, [0, 4 / 7, 0, 3 / 7, 0]),
    ({"top_p": 0.01}, [0, 1, 0, 0, 0]),
    ({"top_k": 3, "top_p": 0.8}, [0, 4 / 7, 0, 3 / 7, 0]),  # of the three best, renormalised: .47 + .35 reach .8
    ({"temperature": 0.5}, [0.01 / 0.285, 0.16 / 0.285, 0.0025 / 0.285, 0.09 / 0.285, 0.0225 / 0.285]),  # squares
    ({"temperature": 0.0}, [0, 1, 0, 0, 0]),
]


@pytest.mark.parametrize(("changed", "expected"), EXPECTED)
def test_every_token_comes_as_often_as_its_probability_says(changed: dict[str, Any], expected: list[float]) -> None:
    """100,000 draws: within four standard deviations, and never a token that was ruled out."""
    count = 100_000
    config = SamplingConfig(**{"max_tokens": 1, "temperature": 1.0, **changed})
    numbers = uniform(1, np.arange(count, dtype=np.uint64), 0)
    chosen, scores = choose(CHANCES.log().expand(count, 5) + 3.0, config, numbers)
    found = torch.bincount(chosen, minlength=5) / count
    for token, chance in enumerate(expected):
        assert float(found[token]) == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / count))
    before_cut = (CHANCES ** (1 / (config.temperature or 1))).log() - math.log(
        float((CHANCES ** (1 / (config.temperature or 1))).sum())
    )
    torch.testing.assert_close(scores, before_cut[chosen], rtol=0, atol=1e-5)


def test_the_ends_of_the_unit_interval_pick_the_ends_of_the_distribution() -> None:
    logits = torch.tensor([[float("-inf"), 0.0, 0.0, float("-inf")]] * 3)
    config = SamplingConfig(max_tokens=1)
    chosen, _ = choose(logits, config, np.array([0.0, 0.5, 1 - 2.0**-53]))
    assert chosen.tolist() == [1, 2, 2]


def test_mix_is_splitmix64() -> None:
    """The first three numbers of the reference implementation (Vigna) from state 0."""
    step = 0x9E3779B97F4A7C15
    states = np.array([step * place % 2**64 for place in (1, 2, 3)], dtype=np.uint64)
    assert mix(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_uniform_is_uniform_in_each_of_its_arguments() -> None:
    """Kolmogorov-Smirnov: the largest distance of 100,000 numbers stays under 1.95 / sqrt(n) (p = 0.001)."""
    count = 100_000
    keys = np.arange(count, dtype=np.uint64)
    places = np.arange(count)
    by_key = uniform(1, keys, 0)
    by_position = np.array([uniform(1, keys[:1], place)[0] for place in range(10_000)])
    by_seed = np.array([uniform(seed, keys[:1], 0)[0] for seed in range(10_000)])
    for numbers in (by_key, by_position, by_seed):
        assert 0 <= numbers.min() <= numbers.max() < 1
        distance = np.abs(np.sort(numbers) - (places[: len(numbers)] + 0.5) / len(numbers)).max()
        assert distance < 1.95 / math.sqrt(len(numbers))


def test_uniform_depends_on_each_of_its_arguments() -> None:
    """Changing one gives numbers that have nothing to do with the first (correlation of 100,000: 4 / sqrt(n))."""
    keys = np.arange(100_000, dtype=np.uint64)
    first = uniform(1, keys, 0)
    assert np.array_equal(first, uniform(1, keys, 0))
    for other in (uniform(2, keys, 0), uniform(1, keys, 1), uniform(1, keys + np.uint64(1), 0), uniform(-1, keys, 0)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 4 / math.sqrt(len(keys))
        assert not (first == other).any()


@pytest.mark.parametrize(
    "changed", [{"max_tokens": 0}, {"temperature": -0.1}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}]
)
def test_impossible_settings_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sampling: expected max_tokens >= 1"):
        SamplingConfig(**{"max_tokens": 1, **changed})
