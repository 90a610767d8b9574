"""What a language model that reads one token after the other says of a text, and what it says by itself.

Before it has read anything its state is zero and its head has no bias: the first token costs ln V, as any would.

Shapes: T tokens, D width, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from models.recurrent import State
from models.sampling import SamplingConfig, choose, uniform

CHUNK_TOKENS = 256  # whose logits exist at once

Ids = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
# ids [1, T] and the state before them -> states [1, T, D] and the state after them
Read = Callable[[Tensor, State | None], tuple[Tensor, State]]


def stream_nats(read: Read, head_VD: Tensor, ids: Ids, *, chunk_tokens: int = CHUNK_TOKENS) -> Floats:
    """-ln p of each token after all those before it; the chunks are a matter of memory alone."""
    ids_T = torch.from_numpy(np.asarray(ids, dtype=np.int64)).to(head_VD.device)
    nats = [np.full(min(len(ids_T), 1), math.log(len(head_VD)))]
    state: State | None = None
    for first in range(0, len(ids_T) - 1, chunk_tokens):
        targets_T = ids_T[first + 1 : first + 1 + chunk_tokens]
        states_1TD, state = read(ids_T[None, first : first + len(targets_T)], state)
        nats_T = F.cross_entropy(states_1TD[0] @ head_VD.T, targets_T, reduction="none")
        nats.append(nats_T.double().cpu().numpy())
    return np.concatenate(nats)


def stream_sample(
    read: Read, head_VD: Tensor, prompt_ids: Sequence[int], count: int, seed: int, *, temperature: float = 1.0
) -> list[int]:
    """`count` ids after the prompt, which may be empty; a draw depends on the seed and on its place alone."""
    config = SamplingConfig(max_tokens=count, temperature=temperature)
    state: State | None = None
    states_1D = head_VD.new_zeros(1, head_VD.shape[1])
    drawn: list[int] = []
    unread = list(prompt_ids)
    while len(drawn) < count:
        if unread:
            states_1TD, state = read(torch.tensor([unread], device=head_VD.device), state)
            states_1D = states_1TD[:, -1]
        chosen_1, _ = choose(states_1D @ head_VD.T, config, uniform(seed, np.zeros(1, np.uint64), len(drawn)))
        unread = [int(chosen_1)]
        drawn += unread
    return drawn
