"""Cross-entropy of a linear head without its logits: they exist for one chunk of tokens at a time.

Gradients are computed in the forward pass, where a chunk's probabilities are at hand (as Liger and Apple's CCE do): the
memory is chunk x V instead of N x V, one buffer that becomes the gradient in place, and the log-softmax is walked through
once instead of thrice.

Shapes: N tokens, D width, V vocabulary.
"""

from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

CHUNK_TOKENS = 512
CACHED_ROWS = 64  # of a chunk: what is made of them between two products stays in the cache
GPU_CHUNK_TOKENS = 8192  # a GPU wants few and large kernels


def cross_entropy_sum(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Sum over tokens of -log softmax(hidden head^T)[target] in nats; a scalar, fp32. Every target counts."""
    device = hidden_ND.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_ND.dtype
    total: Tensor = _LinearCrossEntropy.apply(hidden_ND, head_VD, targets_N, dtype)  # type: ignore[no-untyped-call]
    return total


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, dtype: torch.dtype) -> Tensor:
        wanted = any(ctx.needs_input_grad[:2])
        head = head_VD.to(dtype)
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        hidden_grad = torch.empty_like(hidden_ND) if wanted else None
        head_grad = torch.zeros_like(head_VD, dtype=torch.float32) if wanted else None
        if hidden_ND.is_cuda:
            size, rows, in_place = GPU_CHUNK_TOKENS, GPU_CHUNK_TOKENS, _compiled_to_gradient()
        else:
            size, rows, in_place = CHUNK_TOKENS, CACHED_ROWS, to_gradient
        buffer = head.new_empty(min(size, len(hidden_ND)), len(head))
        product = torch.empty_like(head) if wanted else None
        for start in range(0, len(hidden_ND), size):
            chunk = slice(start, start + size)
            hidden, targets = hidden_ND[chunk].to(dtype), targets_N[chunk]
            logits = torch.mm(hidden, head.T, out=buffer[: len(hidden)])
            total += torch.cat([in_place(*some) for some in _split(logits, targets, rows)]).sum()
            if hidden_grad is not None and head_grad is not None:
                hidden_grad[chunk] = logits @ head
                head_grad += torch.mm(logits.T, hidden, out=product)
        ctx.save_for_backward(hidden_grad, head_grad)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_grad, head_grad = ctx.saved_tensors
        return hidden_grad.mul_(scale), head_grad.mul_(scale), None, None  # a second call is refused by autograd


def _split(logits: Tensor, targets: Tensor, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(logits, rows), torch.split(targets, rows), strict=True)


def to_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """The losses of some tokens; their logits become the gradient of the sum: softmax, minus one at the target."""
    exact = logits.float()
    picked = exact.gather(1, targets[:, None])[:, 0]
    if exact is logits:
        logsum = exact.logsumexp(1)
        chances = exact.sub_(logsum[:, None]).exp_()
    else:  # one walk fewer, which counts beside products in bf16: the largest probability is 1 / sum exp(logit - largest)
        chances = exact.softmax(1)
        logsum = exact.amax(1) - chances.amax(1).log_()
    chances.scatter_add_(1, targets[:, None], torch.full_like(picked, -1.0)[:, None])
    logits.copy_(chances)
    return logsum - picked


def to_gradient_at_once(logits: Tensor, targets: Tensor) -> Tensor:
    """`to_gradient` for a compiler that makes one kernel of it: the logits are read twice and written once, no more."""
    exact = logits.float()
    logsum = exact.logsumexp(1)
    picked = exact.gather(1, targets[:, None])[:, 0]
    is_target = torch.arange(logits.shape[1], device=logits.device) == targets[:, None]
    logits.copy_((exact - logsum[:, None]).exp() - is_target.float())
    return logsum - picked


@cache
def _compiled_to_gradient() -> Callable[[Tensor, Tensor], Tensor]:
    """Compiled where torch's compiler for GPUs is installed: operation by operation the logits are walked through 7 times."""
    if find_spec("triton") is None:
        return to_gradient
    compiled: Callable[[Tensor, Tensor], Tensor] = torch.compile(to_gradient_at_once)
    return compiled
