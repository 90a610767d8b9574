"""Cross-entropy of a linear head without its logits: they exist for one chunk of tokens at a time.

Gradients are computed in the forward pass, where a chunk's probabilities are at hand (as Liger and Apple's CCE do): the
memory is chunk x V instead of N x V, and the log-softmax is walked through once instead of thrice.

Shapes: N tokens, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor

CHUNK_TOKENS = 512


def cross_entropy_sum(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Sum over tokens of -log softmax(hidden head^T)[target] in nats; a scalar, fp32. Every target counts."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden_ND.dtype
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
        for start in range(0, len(hidden_ND), CHUNK_TOKENS):
            chunk = slice(start, start + CHUNK_TOKENS)
            hidden, targets = hidden_ND[chunk].to(dtype), targets_N[chunk]
            logits = (hidden @ head.T).float()
            picked = logits.gather(1, targets[:, None])[:, 0]
            logsum = logits.logsumexp(1)
            total += (logsum - picked).sum()
            if hidden_grad is None or head_grad is None:
                continue
            gradient = logits.sub_(logsum[:, None]).exp_()
            gradient.scatter_add_(1, targets[:, None], torch.full_like(picked, -1.0)[:, None])
            gradient = gradient.to(dtype)
            hidden_grad[chunk] = gradient @ head
            head_grad += gradient.T @ hidden
        ctx.save_for_backward(hidden_grad, head_grad)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_grad, head_grad = ctx.saved_tensors
        return hidden_grad * scale, (head_grad * scale).to(head_grad.dtype), None, None
