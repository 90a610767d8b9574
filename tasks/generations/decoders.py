"""GPT-2 and Llama on a plain row of ids: the engine's windows, the evaluation's score, and text of any length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.sampling import SamplingConfig
from models.sampling import sample as answers
from tasks.evaluation import held_out
from tasks.tokenization.shards import Tokens, dtype_for
from tasks.training.batches import TokenBatches

IdsLike = npt.NDArray[np.integer]


class Row:
    """Ids in memory that are read as a token set's split is."""

    def __init__(self, ids: IdsLike) -> None:
        self._ids: Tokens = np.asarray(ids).astype(dtype_for(int(np.max(ids, initial=0)) + 1))
        self.tokens = len(ids)

    def slice(self, start: int, length: int) -> Tokens:
        if start < 0 or length < 0 or start + length > self.tokens:
            raise ValueError(f"tokens {start} to {start + length} are asked for, the text has {self.tokens}")
        return self._ids[start : start + length]

    def read_at_random(self) -> "Row":
        return self


class WindowBatches(TokenBatches):
    """Windows of ids in memory in a new random order each epoch; each token is a target once an epoch."""

    def __init__(self, ids: IdsLike, *, context: int, batch_sequences: int, seed: int) -> None:
        super().__init__(Row(ids), context=context, batch_sequences=batch_sequences, seed=seed)


def token_nats(model: Any, ids: IdsLike, stride: int | None = None) -> npt.NDArray[np.float64]:
    """-ln p of every token, each with at least `context - stride` before it; the first costs ln V, nothing precedes it."""
    context = int(model.config.max_position_embeddings)
    return held_out.token_nats(model, Row(ids), stride or context * 3 // 4, len(ids))


def sample(
    model: Any,
    prompt: Sequence[int],
    *,
    tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
    end_id: int | None = None,
) -> list[int]:
    """What follows the prompt, up to and with `end_id` or `tokens` tokens; at the context's end its last half is read on."""
    context, said = int(model.config.max_position_embeddings), list(prompt)
    stops = frozenset() if end_id is None else frozenset([end_id])
    while (left := len(prompt) + tokens - len(said)) > 0:
        read = said if len(said) < context else said[-(context // 2) :]
        config = SamplingConfig(max_tokens=left, temperature=temperature)
        # the draw's key is the place in the text: each part of it meets other random numbers
        (found,) = answers(model, [read], config, seed=seed, stop_ids=stops, pad_id=0, keys=[len(said)])
        said += found.tokens
        if found.finished:
            break
    return said[len(prompt) :]
