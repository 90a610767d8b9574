"""What a language model that reads one token after the other says of a text, and what it says by itself.

Before it has read anything its states are zero, and the head's bias says how often words occur: of that the first token
is predicted, so that every token of a text counts.

Shapes: N tokens of any rows, T tokens of one, D width, V vocabulary.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.recurrent import State
from models.sampling import SamplingConfig, choose, uniform
from tasks.training.cross_entropy import cross_entropy_sum

CHUNK_TOKENS = 256  # whose logits exist at once

Ids = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
# ids [1, T] and the state before them -> states [1, T, D] and the state after them
Read = Callable[[Tensor, State | None], tuple[Tensor, State]]


def stream_nats(read: Read, head: nn.Linear, ids: Ids, *, chunk_tokens: int = CHUNK_TOKENS) -> Floats:
    """-ln p of each token after all those before it; the chunks are a matter of memory alone."""
    ids_T = torch.from_numpy(np.asarray(ids, dtype=np.int64)).to(head.weight.device)
    state: State | None = None
    # one place for all: small results between large ones would keep the large ones' memory
    nats = np.empty(len(ids_T))
    nats[:1] = _nats(head, nothing_read(head), ids_T[:1])
    for first in range(0, len(ids_T) - 1, chunk_tokens):
        targets_T = ids_T[first + 1 : first + 1 + chunk_tokens]
        states_1TD, state = read(ids_T[None, first : first + len(targets_T)], state)
        nats[first + 1 : first + 1 + len(targets_T)] = _nats(head, states_1TD[0], targets_T)
    return nats


def nothing_read(head: nn.Linear) -> Tensor:
    """The states [1, D] that the first token is predicted from."""
    return head.weight.new_zeros(1, head.in_features)


def _nats(head: nn.Linear, states_TD: Tensor, targets_T: Tensor) -> Floats:
    nats_T = F.cross_entropy(head(states_TD[: len(targets_T)]), targets_T, reduction="none")
    return nats_T.double().cpu().numpy()


def stream_sample(
    read: Read, head: nn.Linear, prompt_ids: Sequence[int], count: int, seed: int, *, temperature: float = 1.0
) -> list[int]:
    """`count` ids after the prompt, which may be empty; a draw depends on the seed and on its place alone."""
    config = SamplingConfig(max_tokens=count, temperature=temperature)
    state: State | None = None
    states_1D = nothing_read(head)
    drawn: list[int] = []
    unread = list(prompt_ids)
    while len(drawn) < count:
        if unread:
            states_1TD, state = read(torch.tensor([unread], device=head.weight.device), state)
            states_1D = states_1TD[:, -1]
        chosen_1, _ = choose(head(states_1D), config, uniform(seed, np.zeros(1, np.uint64), len(drawn)))
        unread = [int(chosen_1)]
        drawn += unread
    return drawn


def summed_nats(states_ND: Tensor, head: nn.Linear, targets_N: Tensor) -> Tensor:
    """What all targets cost together, with its gradient and without the logits; the bias is one more weight of a 1."""
    head_VD = torch.cat([head.weight, head.bias[:, None]], 1)
    return cross_entropy_sum(F.pad(states_ND, (0, 1), value=1.0), head_VD, targets_N)
