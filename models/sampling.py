"""Answers of a decoder in batches: greedy, temperature, top-k, top-p, with log-probabilities and a key-value cache.

A draw depends on (seed, the sample's key, its position) alone, not on the batch it is in: two models that answer the same
prompts under the same keys meet the same random numbers, which pairs their comparison.

Shapes: B samples, P different prompts, T tokens, V vocabulary.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache

SHARED_AT_LEAST = 32  # tokens that all prompts of a batch begin with, as those of the same examples do: read once


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """temperature 0 is greedy; top_k 0 and top_p 1 leave the distribution whole."""

    max_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                "sampling: expected max_tokens >= 1, temperature >= 0, top_k >= 0 and 0 < top_p <= 1, found "
                f"{self.max_tokens}, {self.temperature}, {self.top_k}, {self.top_p}"
            )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """`tokens` without the prompt, the stop token included if there is one (`finished`: it, or a complete answer).

    `log_probabilities` are those of the temperature's distribution before top-k and top-p, in nats.
    """

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    finished: bool


def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    config: SamplingConfig,
    *,
    seed: int,
    stop_ids: frozenset[int],
    pad_id: int,
    keys: Sequence[int] | None = None,
    batch_sequences: int = 64,
    is_complete: Callable[[Sequence[int]], bool] | None = None,
) -> list[Sample]:
    """One answer per prompt, in their order; ValueError when a prompt leaves no room in the model's context.

    Prompts of like length share a batch; an answer ends at a stop id, at max_tokens, where the context ends, or as soon as
    `is_complete` says so of its tokens.
    """
    context = int(model.config.max_position_embeddings)
    for prompt in prompts:
        if not 0 < len(prompt) < context:
            raise ValueError(
                f"prompts must have 1 to {context - 1} tokens for this model, found one with {len(prompt)}"
            )
    keys = range(len(prompts)) if keys is None else keys
    order = sorted(range(len(prompts)), key=lambda place: (-len(prompts[place]), place))
    samples: dict[int, Sample] = {}
    was_training = model.training
    model.eval()
    for start in range(0, len(order), batch_sequences):
        places = order[start : start + batch_sequences]
        batch = _Batch(model, [prompts[place] for place in places], [keys[place] for place in places], pad_id)
        with torch.inference_mode(), _as_written(model):
            found = batch.run(config, seed, stop_ids, context, is_complete)
        samples.update(zip(places, found, strict=True))
    model.train(was_training)
    return [samples[place] for place in range(len(prompts))]


def _as_written(model: Any) -> AbstractContextManager[None]:
    """Layers that were compiled for training run uncompiled: a cache that grows would have them compiled again and again."""
    if not next(model.parameters()).is_cuda:
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


class _Batch:
    """One batch from its prompts, padded on the left after what all begin with, to its answers.

    A prompt that several rows have is read once. Rows that have ended are taken out as they become many.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], keys: Sequence[int], pad_id: int) -> None:
        places = {ids: place for place, ids in enumerate(dict.fromkeys(map(tuple, prompts)))}
        width = max(map(len, places))
        device = next(model.parameters()).device
        begun = shared_beginning(list(places))
        begun = begun if begun >= SHARED_AT_LEAST and len(places) > 1 else 0
        pads = [width - len(ids) for ids in places]
        self._model = model
        self._begun = torch.tensor([list(prompts[0][:begun])], device=device)
        self._ids_BT = torch.tensor(
            [[pad_id] * pad + list(ids[begun:]) for pad, ids in zip(pads, places, strict=True)], device=device
        )
        self._mask_BT = torch.tensor(
            [[1] * begun + [0] * pad + [1] * (width - begun - pad) for pad in pads], device=device
        )
        self._prompt_of_row = [places[tuple(ids)] for ids in prompts]
        self._keys_B = np.array(keys, dtype=np.uint64)
        self._rows = list(range(len(prompts)))
        self._lengths = [len(ids) for ids in prompts]
        self._cache = DynamicCache(config=model.config)

    def run(
        self,
        config: SamplingConfig,
        seed: int,
        stop_ids: frozenset[int],
        context: int,
        is_complete: Callable[[Sequence[int]], bool] | None,
    ) -> list[Sample]:
        logits_BV = self._read_prompts()
        count = len(self._rows)
        tokens: list[list[int]] = [[] for _ in range(count)]
        scores: list[list[float]] = [[] for _ in range(count)]
        finished, ended = [False] * count, [False] * count
        # each row has its own room: what an answer is must not depend on the longest prompt beside it
        most = [min(config.max_tokens, context - length) for length in self._lengths]
        for position in range(max(most)):
            uniform_B = uniform(seed, self._keys_B, position)
            chosen_B, chosen_scores_B = choose(logits_BV, config, uniform_B)
            for row, token, score in zip(self._rows, chosen_B.tolist(), chosen_scores_B.tolist(), strict=True):
                if not ended[row]:
                    tokens[row].append(token)
                    scores[row].append(score)
                    finished[row] = token in stop_ids or (is_complete is not None and is_complete(tokens[row]))
                    ended[row] = finished[row] or position + 1 == most[row]
            if all(ended):
                break
            self._advance(chosen_B, ended)
            logits_BV = self._forward()
        return [
            Sample(tokens=tuple(tokens[row]), log_probabilities=tuple(scores[row]), finished=finished[row])
            for row in range(count)
        ]

    def _read_prompts(self) -> Tensor:
        """Each prompt into the cache, what all begin with once for all; the logits after each row's."""
        if self._begun.numel():
            self._model(input_ids=self._begun, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            self._cache.batch_repeat_interleave(len(self._ids_BT))
        logits_PV = self._forward()
        if len(self._ids_BT) == len(self._rows):
            return logits_PV
        places = torch.tensor(self._prompt_of_row, device=logits_PV.device)
        self._mask_BT = self._mask_BT[places]
        self._cache.batch_select_indices(places)
        return logits_PV[places]

    def _forward(self) -> Tensor:
        # a row that ended at the context's end may wait for the others: it stays at the last position
        last = self._model.config.max_position_embeddings - 1
        positions_BT = (self._mask_BT.cumsum(1) - 1).clamp(min=0, max=last)[:, -self._ids_BT.shape[1] :]
        output = self._model(
            input_ids=self._ids_BT,
            attention_mask=self._mask_BT,
            position_ids=positions_BT,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _advance(self, chosen_B: Tensor, ended: Sequence[bool]) -> None:
        self._ids_BT = chosen_B[:, None]
        self._mask_BT = torch.cat([self._mask_BT, torch.ones_like(self._mask_BT[:, :1])], dim=1)
        alive = [place for place, row in enumerate(self._rows) if not ended[row]]
        if len(alive) <= 0.75 * len(self._rows):
            places = torch.tensor(alive, device=chosen_B.device)
            self._ids_BT, self._mask_BT = self._ids_BT[places], self._mask_BT[places]
            self._keys_B = self._keys_B[alive]
            self._rows = [self._rows[place] for place in alive]
            self._cache.batch_select_indices(places)


def shared_beginning(prompts: Sequence[Sequence[int]]) -> int:
    """How many first tokens all have in common; one at least is left of each: [[1, 2, 3], [1, 2]] -> 1"""
    # in the order of a dictionary: what the first and the last share, all between them do
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    shortest = min(map(len, prompts)) - 1
    return next((place for place in range(shortest) if first[place] != last[place]), shortest)


def choose(logits_BV: Tensor, config: SamplingConfig, uniform_B: npt.NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """The token ids [B] that `uniform_B` picks by inverse transform, and their log-probabilities [B]."""
    if config.temperature == 0:
        chosen_B = logits_BV.argmax(1)
        return chosen_B, torch.log_softmax(logits_BV, 1).gather(1, chosen_B[:, None])[:, 0]
    scores_BV = torch.log_softmax(logits_BV / config.temperature, 1)
    kept_BV = _restricted(scores_BV, config).exp().double()
    edges_BV = kept_BV.cumsum(1)
    aims_B1 = torch.from_numpy(uniform_B).to(edges_BV.device)[:, None] * edges_BV[:, -1:]
    chosen_B = torch.searchsorted(edges_BV, aims_B1, right=True)[:, 0].clamp(max=logits_BV.shape[1] - 1)
    return chosen_B, scores_BV.gather(1, chosen_B[:, None])[:, 0]


def _restricted(scores_BV: Tensor, config: SamplingConfig) -> Tensor:
    """Scores with -inf outside of the top k, and outside of the smallest set that holds top_p of the probability."""
    if config.top_k and config.top_k < scores_BV.shape[1]:
        floor_B1 = scores_BV.topk(config.top_k, 1).values[:, -1:]
        scores_BV = scores_BV.masked_fill(scores_BV < floor_B1, float("-inf"))
    if config.top_p < 1:
        ordered_BV, places_BV = scores_BV.sort(1, descending=True)
        chances_BV = ordered_BV.softmax(1)
        beyond_BV = chances_BV.cumsum(1) - chances_BV >= config.top_p
        scores_BV = scores_BV.masked_fill(torch.zeros_like(beyond_BV).scatter(1, places_BV, beyond_BV), float("-inf"))
    return scores_BV


def uniform(seed: int, keys_B: npt.NDArray[np.uint64], position: int) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each key, from (seed, key, position) alone: splitmix64 as a hash."""
    with np.errstate(over="ignore"):
        state_B = mix(np.uint64(seed % 2**64) + np.uint64(0x9E3779B97F4A7C15) * keys_B)
        state_B = mix(state_B + np.uint64(0xD1B54A32D192ED03 * (position + 1) % 2**64))
    return (state_B >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64's finaliser; unsigned arithmetic wraps around by design."""
    with np.errstate(over="ignore"):
        values = np.asarray(values, dtype=np.uint64)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))
