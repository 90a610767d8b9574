"""The library's Llama layers for training in bf16 on a CPU, written out: the same mathematics, other kernels.

Under autocast half of a step is not matrix products: three casts of what one norm has made, a flash attention that reaches
a third of what plain products reach on a CPU, elementwise work on tensors that no cache holds. Here the residual stream,
the norms' sums and all weights stay in fp32 as they do under autocast, products are in bf16, queries, keys and values are
laid out with the tokens last, so that every elementwise loop is long, and what is big is made a block at a time and made
again in the backward pass.

Shapes: B sequences, T tokens, N = B T, D width, F feed-forward, H heads, K key and value heads, C channels of a head,
Q queries of a block, G sequences of a group, L = G H.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

BLOCK_ROWS = 1024  # of an elementwise chain: what it makes in between stays in the cache
BLOCK_QUERIES = 128  # keys behind a block's last query are not looked at
BLOCK_SCORES = 2**20  # of so many sequences at once as this allows


@contextmanager
def bf16_layers(module: nn.Module) -> Iterator[None]:
    """Inside, the Llama layers of `module` compute as written here; layers of any other kind are left as they are."""
    layers = [each for each in module.modules() if isinstance(each, LlamaDecoderLayer) and _is_plain(each)]
    try:
        for layer in layers:
            keeps_all = not (layer.gradient_checkpointing and layer.training)
            # the library checkpoints inside of the `forward` that this replaces
            layer.forward = partial(_layer if keeps_all else partial(checkpoint, _layer, use_reentrant=False), layer)
        yield
    finally:
        for layer in layers:
            del layer.forward


def _is_plain(layer: Any) -> bool:
    """Whether it has nothing that is not written out here."""
    config = layer.self_attn.config
    return bool(
        config.hidden_act == "silu"
        and config._attn_implementation == "sdpa"
        and not (config.attention_bias or config.mlp_bias or config.attention_dropout)
    )


def _layer(
    layer: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    **_: Any,
) -> Tensor:
    """LlamaDecoderLayer.forward without a cache: hidden states [B, T, D] in fp32, a boolean mask [B, 1, T, T] or none."""
    assert position_embeddings is not None
    x_ND = hidden_states.flatten(0, 1)
    with torch.autocast("cpu", enabled=False):
        normed_ND = _normed(layer.input_layernorm, x_ND)
        x_ND = x_ND + _attended(layer.self_attn, normed_ND, _angles(*position_embeddings), attention_mask)
        normed_ND = _normed(layer.post_attention_layernorm, x_ND)
        x_ND = x_ND + _fed_forward(layer.mlp, normed_ND)
    return x_ND.view(hidden_states.shape)


def _normed(norm: Any, x_ND: Tensor) -> Tensor:
    normed: Tensor = _RMSNorm.apply(x_ND, norm.weight, norm.variance_epsilon)  # type: ignore[no-untyped-call]
    return normed


def _attended(attention: Any, x_ND: Tensor, angles: Tensor, mask: Tensor | None) -> Tensor:
    heads, bias = attention.config.num_attention_heads, _bias(mask, angles.shape[-1])
    qkv_FD = _joined(attention.q_proj, attention.k_proj, attention.v_proj)
    out_DD = _joined(attention.o_proj)
    mixed: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        x_ND, qkv_FD, out_DD, angles, bias, heads, attention.scaling
    )
    return mixed


def _fed_forward(mlp: Any, x_ND: Tensor) -> Tensor:
    inner_2FD, down_DF = _joined(mlp.gate_proj, mlp.up_proj), _joined(mlp.down_proj)
    out: Tensor = _FeedForward.apply(x_ND, inner_2FD, down_DF)  # type: ignore[no-untyped-call]
    return out


def _joined(*layers: Any) -> Tensor:
    """The weights of linear layers below one another, in bf16."""
    return torch.cat([layer.weight.bfloat16() for layer in layers])


def _blocks(length: int, size: int) -> Iterator[slice]:
    return (slice(start, min(length, start + size)) for start in range(0, length, size))


class _RMSNorm(torch.autograd.Function):
    """x / sqrt(mean x^2 + epsilon) * weight, from fp32 to bf16."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
        out_ND, scale_N1 = torch.empty_like(x_ND, dtype=torch.bfloat16), torch.empty_like(x_ND[:, :1])
        for rows in _blocks(len(x_ND), BLOCK_ROWS):
            square = torch.linalg.vector_norm(x_ND[rows], dim=1, keepdim=True).square_() / x_ND.shape[1]
            scale_N1[rows] = square.add_(epsilon).rsqrt_()
            out_ND[rows] = (x_ND[rows] * scale_N1[rows]).mul_(weight_D)
        ctx.save_for_backward(x_ND, weight_D, scale_N1)
        return out_ND

    @staticmethod
    def backward(ctx: Any, out_grad_ND: Tensor) -> tuple[Tensor, Tensor, None]:
        x_ND, weight_D, scale_N1 = ctx.saved_tensors
        x_grad_ND, weight_grad_D = torch.empty_like(x_ND), torch.zeros_like(weight_D)
        for rows in _blocks(len(x_ND), BLOCK_ROWS):
            unit, gradient = x_ND[rows] * scale_N1[rows], out_grad_ND[rows].float()
            weight_grad_D += (gradient * unit).sum(0)
            gradient *= weight_D
            along = (gradient * unit).mean(1, keepdim=True)
            x_grad_ND[rows] = gradient.addcmul_(unit, along, value=-1).mul_(scale_N1[rows])
        return x_grad_ND, weight_grad_D, None


class _FeedForward(torch.autograd.Function):
    """down(silu(gate x) * up x) with the weights of gate and up as one [2F, D]."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, inner_2FD: Tensor, down_DF: Tensor) -> Tensor:
        inner_N2F, out_ND = x_ND.new_empty(len(x_ND), len(inner_2FD)), torch.empty_like(x_ND)
        for rows in _blocks(len(x_ND), BLOCK_ROWS):
            gate, up = torch.mm(x_ND[rows], inner_2FD.T, out=inner_N2F[rows]).chunk(2, 1)
            torch.mm(F.silu(gate).mul_(up), down_DF.T, out=out_ND[rows])
        ctx.save_for_backward(x_ND, inner_N2F, inner_2FD, down_DF)
        return out_ND

    @staticmethod
    def backward(ctx: Any, out_grad_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x_ND, inner_N2F, inner_2FD, down_DF = ctx.saved_tensors
        inner_grad_N2F, between_NF = torch.empty_like(inner_N2F), x_ND.new_empty(len(x_ND), down_DF.shape[1])
        for rows in _blocks(len(x_ND), BLOCK_ROWS):
            gate, up = inner_N2F[rows].chunk(2, 1)
            gate_grad, up_grad = inner_grad_N2F[rows].chunk(2, 1)
            gradient, activated = out_grad_ND[rows] @ down_DF, F.silu(gate)
            torch.mul(activated, up, out=between_NF[rows])
            torch.mul(activated, gradient, out=up_grad)
            torch.ops.aten.silu_backward.grad_input(gradient.mul_(up), gate, grad_input=gate_grad)
        return inner_grad_N2F @ inner_2FD, inner_grad_N2F.T @ x_ND, out_grad_ND.T @ between_NF


class _Attention(torch.autograd.Function):
    """Rotary causal self-attention with its projections; qkv_FD is [(H + 2K) C, D], rows of queries first.

    Probabilities are made a block of queries at a time, with explicit products, and again in the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, qkv_FD: Tensor, out_DD: Tensor, angles: Tensor, bias: Tensor, heads: int, scaling: float
    ) -> Tensor:
        ctx.heads, ctx.scaling = heads, scaling
        qkv_FN = qkv_FD @ x_ND.T
        mixed_DN = torch.empty_like(qkv_FN[: out_DD.shape[1]])
        for places, turns, allowed in _groups(len(x_ND), heads, angles, bias):
            q, k, v = _turned(qkv_FN[:, places], turns, heads)
            mixed_GHCT = _by_head(mixed_DN[:, places], turns)
            for queries, keys, chances_LQT in _chances(q, k, scaling, allowed):
                mixed_LCQ = v[..., keys] @ chances_LQT.mT
                mixed_GHCT[..., queries] = mixed_LCQ.view(-1, heads, *mixed_LCQ.shape[1:])
        ctx.save_for_backward(x_ND, qkv_FN, mixed_DN, qkv_FD, out_DD, angles, bias)
        return mixed_DN.T @ out_DD.T

    @staticmethod
    def backward(ctx: Any, out_grad_ND: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, qkv_FN, mixed_DN, qkv_FD, out_DD, angles, bias = ctx.saved_tensors
        mixed_grad_DN, qkv_grad_FN = out_DD.T @ out_grad_ND.T, torch.empty_like(qkv_FN)
        for places, turns, allowed in _groups(len(x_ND), ctx.heads, angles, bias):
            q, k, v = _turned(qkv_FN[:, places], turns, ctx.heads)
            mixed_grad_LCT = _by_head(mixed_grad_DN[:, places], turns).flatten(0, 1)
            q_grad, k_grad, v_grad = torch.empty_like(q), torch.zeros_like(k).float(), torch.zeros_like(v).float()
            for queries, keys, chances_LQT in _chances(q, k, ctx.scaling, allowed):
                gradient_LCQ = mixed_grad_LCT[..., queries]
                v_grad[..., keys] += gradient_LCQ @ chances_LQT
                chances_grad_LQT = gradient_LCQ.mT @ v[..., keys]
                scores_grad_LQT = torch._softmax_backward_data(chances_grad_LQT, chances_LQT, -1, q.dtype)
                q_grad[..., queries] = k[..., keys] @ scores_grad_LQT.mT
                k_grad[..., keys] += q[..., queries] @ scores_grad_LQT
            grads = q_grad.mul_(ctx.scaling), k_grad.mul_(ctx.scaling), v_grad
            _turn_back(_by_head(qkv_grad_FN[:, places], turns), *grads, turns, ctx.heads)
        return qkv_grad_FN.T @ qkv_FD, qkv_grad_FN @ x_ND, out_grad_ND.T @ mixed_DN.T, None, None, None, None


def _angles(cos_BTC: Tensor, sin_BTC: Tensor) -> Tensor:
    """Cosines and sines [B or 1, 2, C / 2, T] in bf16; the library has them twice along C."""
    half = cos_BTC.shape[-1] // 2
    return torch.stack([cos_BTC[..., :half].mT, sin_BTC[..., :half].mT], 1).bfloat16()


def _bias(mask: Tensor | None, tokens: int) -> Tensor:
    """What is added to the scores [B or 1, T, T]: 0 where a query may look, else as good as minus infinity.

    Only as good as: a row that may look at nothing is padding, of which nobody asks what it becomes but that it is a number.
    """
    allowed = torch.ones(1, tokens, tokens, dtype=torch.bool).tril_() if mask is None else mask[:, 0]
    bias = torch.zeros(allowed.shape, dtype=torch.bfloat16)
    return bias.masked_fill_(~allowed, torch.finfo(torch.bfloat16).min)


def _groups(rows: int, heads: int, angles: Tensor, bias: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """G sequences at a time: their places among the N, and what is theirs of angles and bias."""
    tokens = bias.shape[-1]
    size = max(1, BLOCK_SCORES // (heads * min(tokens, BLOCK_QUERIES) * tokens))
    for group in _blocks(rows // tokens, size):
        turns, allowed = (each if len(each) == 1 else each[group] for each in (angles, bias))
        yield slice(group.start * tokens, group.stop * tokens), turns, allowed


def _by_head(rows_FP: Tensor, turns: Tensor) -> Tensor:
    """[heads C, G T] as [G, heads, C, T]."""
    _, _, half, tokens = turns.shape
    return rows_FP.view(len(rows_FP) // (2 * half), 2 * half, -1, tokens).permute(2, 0, 1, 3)


def _turned(qkv_FP: Tensor, turns: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [G H, C, T] of some sequences, the first two turned by their positions (Su et al. 2021)."""
    each_GSCT = _by_head(qkv_FP, turns)
    kv_heads = (each_GSCT.shape[1] - heads) // 2
    q_GHCT, k_GKCT, v_GKCT = torch.split(each_GSCT, [heads, kv_heads, kv_heads], 1)
    k_GKCT = _turn(k_GKCT, turns, torch.empty(k_GKCT.shape, dtype=k_GKCT.dtype))
    k, v = (each.repeat_interleave(heads // kv_heads, 1) if kv_heads < heads else each for each in (k_GKCT, v_GKCT))
    q = _turn(q_GHCT, turns, torch.empty(q_GHCT.shape, dtype=q_GHCT.dtype))
    return q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)


def _turn_back(grad_GSCT: Tensor, q: Tensor, k: Tensor, v: Tensor, turns: Tensor, heads: int) -> None:
    """The way back of `_turned`: gradients [G H, C, T] into that of its input."""
    kv_heads = (grad_GSCT.shape[1] - heads) // 2
    q, k, v = (each.view(len(grad_GSCT), heads, *each.shape[1:]) for each in (q, k, v))
    if kv_heads < heads:
        k, v = (each.view(len(k), kv_heads, -1, *each.shape[2:]).sum(2) for each in (k, v))
    back = turns * torch.tensor([1, -1], dtype=turns.dtype)[:, None, None]
    q_grad, k_grad, v_grad = torch.split(grad_GSCT, [heads, kv_heads, kv_heads], 1)
    _turn(q, back, q_grad)
    _turn(k.to(q.dtype), back, k_grad)
    v_grad.copy_(v)


def _turn(x_GSCT: Tensor, turns: Tensor, out_GSCT: Tensor) -> Tensor:
    (first, second), (out_first, out_second) = x_GSCT.chunk(2, 2), out_GSCT.chunk(2, 2)
    cos, sin = turns[:, :1], turns[:, 1:]
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin)
    return out_GSCT


def _chances(q: Tensor, k: Tensor, scaling: float, bias: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Blocks of queries, the keys up to the last of them, and softmax(scaling q^T k + bias) [L, Q, keys]."""
    for queries in _blocks(q.shape[-1], BLOCK_QUERIES):
        keys = slice(0, queries.stop)
        seen = bias[:, queries, keys]
        if len(seen) > 1:
            seen = seen.repeat_interleave(len(q) // len(seen), 0)
        scores_LQT = torch.baddbmm(seen.expand(len(q), -1, -1), q[..., queries].mT, k[..., keys], alpha=scaling)
        yield queries, keys, torch.softmax(scores_LQT, -1)
