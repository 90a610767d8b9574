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

PRODUCTS = torch.bfloat16
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
    """Whether it has nothing that is not written out here; a layer with an adapter shows the weight of its base alone."""
    config = layer.self_attn.config
    return bool(
        all(type(each) is nn.Linear for each in _projections(layer))
        and config.hidden_act == "silu"
        and config._attn_implementation == "sdpa"
        and not (config.attention_bias or config.mlp_bias or config.attention_dropout)
    )


def _projections(layer: Any) -> tuple[Any, ...]:
    attention, mlp = layer.self_attn, layer.mlp
    return (
        attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj,
        mlp.gate_proj, mlp.up_proj, mlp.down_proj,
    )  # fmt: skip


def _layer(
    layer: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    **_: Any,
) -> Tensor:
    """LlamaDecoderLayer.forward without a cache: hidden states [B, T, D] in fp32, a boolean mask [B, 1, T, T] or none."""
    assert position_embeddings is not None
    attention, weights = layer.self_attn, [each.weight for each in _projections(layer)]
    first, second = layer.input_layernorm, layer.post_attention_layernorm
    x_ND, bias = hidden_states.flatten(0, 1), _bias(attention_mask, hidden_states.shape[1])
    how = attention.config.num_attention_heads, attention.scaling, first.variance_epsilon
    with torch.autocast("cpu", enabled=False):
        x_ND = _Attention.apply(  # type: ignore[no-untyped-call]
            x_ND, first.weight, *weights[:4], _angles(*position_embeddings), bias, *how
        )
        out_ND: Tensor = _FeedForward.apply(  # type: ignore[no-untyped-call]
            x_ND, second.weight, *weights[4:], second.variance_epsilon
        )
    return out_ND.view(hidden_states.shape)


def _joined(*weights: Tensor) -> Tensor:
    """Weights of linear layers below one another, in bf16."""
    return torch.cat([weight.to(PRODUCTS) for weight in weights])


def _blocks(length: int, size: int) -> Iterator[slice]:
    return (slice(start, min(length, start + size)) for start in range(0, length, size))


def _scale(x_ND: Tensor, epsilon: float) -> Tensor:
    """1 / sqrt(mean x^2 + epsilon), [N, 1]."""
    norm_N1: Tensor = torch.linalg.vector_norm(x_ND, dim=1, keepdim=True)
    return (norm_N1.square_() / x_ND.shape[1]).add_(epsilon).rsqrt_()


def _normed(x_ND: Tensor, scale_N1: Tensor, weight_D: Tensor) -> Tensor:
    """RMSNorm, from fp32 to bf16."""
    out_ND = torch.empty_like(x_ND, dtype=PRODUCTS)
    for rows in _blocks(len(x_ND), BLOCK_ROWS):
        out_ND[rows] = (x_ND[rows] * scale_N1[rows]).mul_(weight_D)
    return out_ND


def _norm_back(
    x_ND: Tensor, scale_N1: Tensor, weight_D: Tensor, normed_grad_ND: Tensor, out_grad_ND: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of x + f(RMSNorm(x)) with respect to x and the norm's weight, in fp32."""
    x_grad_ND, weight_grad_D = torch.empty_like(x_ND), torch.zeros_like(weight_D)
    for rows in _blocks(len(x_ND), BLOCK_ROWS):
        unit, gradient = x_ND[rows] * scale_N1[rows], normed_grad_ND[rows].float()
        weight_grad_D += (gradient * unit).sum(0)
        gradient *= weight_D
        along = (gradient * unit).mean(1, keepdim=True)
        torch.addcmul(out_grad_ND[rows], gradient.addcmul_(unit, along, value=-1), scale_N1[rows], out=x_grad_ND[rows])
    return x_grad_ND, weight_grad_D


class _FeedForward(torch.autograd.Function):
    """x + down(silu(gate n) * up n), where n is the norm of x."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, norm_D: Tensor, gate_FD: Tensor, up_FD: Tensor, down_DF: Tensor, epsilon: float
    ) -> Tensor:
        scale_N1, inner_2FD, down = _scale(x_ND, epsilon), _joined(gate_FD, up_FD), down_DF.to(PRODUCTS)
        normed_ND = _normed(x_ND, scale_N1, norm_D)
        inner_N2F, out_ND = normed_ND.new_empty(len(x_ND), len(inner_2FD)), torch.empty_like(x_ND)
        for rows in _blocks(len(x_ND), BLOCK_ROWS):
            gate, up = torch.mm(normed_ND[rows], inner_2FD.T, out=inner_N2F[rows]).chunk(2, 1)
            torch.add(x_ND[rows], F.silu(gate).mul_(up) @ down.T, out=out_ND[rows])
        ctx.save_for_backward(x_ND, scale_N1, norm_D, inner_N2F, gate_FD, up_FD, down_DF)
        return out_ND

    @staticmethod
    def backward(ctx: Any, out_grad_ND: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, scale_N1, norm_D, inner_N2F, gate_FD, up_FD, down_DF = ctx.saved_tensors
        grad_ND, down = out_grad_ND.to(PRODUCTS), down_DF.to(PRODUCTS)
        inner_grad_N2F, between_NF = torch.empty_like(inner_N2F), grad_ND.new_empty(len(x_ND), down.shape[1])
        for rows in _blocks(len(x_ND), BLOCK_ROWS):
            gate, up = inner_N2F[rows].chunk(2, 1)
            gate_grad, up_grad = inner_grad_N2F[rows].chunk(2, 1)
            gradient, activated = grad_ND[rows] @ down, F.silu(gate)
            torch.mul(activated, up, out=between_NF[rows])
            torch.mul(activated, gradient, out=up_grad)
            torch.ops.aten.silu_backward.grad_input(gradient.mul_(up), gate, grad_input=gate_grad)
        normed_grad_ND = inner_grad_N2F @ _joined(gate_FD, up_FD)
        x_grad_ND, norm_grad_D = _norm_back(x_ND, scale_N1, norm_D, normed_grad_ND, out_grad_ND)
        gate_grad_FD, up_grad_FD = (inner_grad_N2F.T @ _normed(x_ND, scale_N1, norm_D)).chunk(2)
        return x_grad_ND, norm_grad_D, gate_grad_FD, up_grad_FD, grad_ND.T @ between_NF, None


class _Attention(torch.autograd.Function):
    """x + out(attention(n)): rotary and causal, n is the norm of x.

    Probabilities are made a block of queries at a time, with explicit products, and again in the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, norm_D: Tensor, q_DD: Tensor, k_ED: Tensor, v_ED: Tensor, out_DD: Tensor,
        angles: Tensor, bias: Tensor, heads: int, scaling: float, epsilon: float,
    ) -> Tensor:  # fmt: skip
        ctx.heads, ctx.scaling = heads, scaling
        scale_N1 = _scale(x_ND, epsilon)
        qkv_FN = _joined(q_DD, k_ED, v_ED) @ _normed(x_ND, scale_N1, norm_D).T
        mixed_DN = torch.empty_like(qkv_FN[: len(q_DD)])
        for places, turns, allowed in _groups(len(x_ND), heads, angles, bias):
            q, k, v = _turned(qkv_FN[:, places], turns, heads)
            mixed_GHCT = _by_head(mixed_DN[:, places], turns)
            for queries, keys, _, chances_LQT in _chances(q, k, scaling, allowed):
                mixed_LCQ = v[..., keys] @ chances_LQT.mT
                mixed_GHCT[..., queries] = mixed_LCQ.view(-1, heads, *mixed_LCQ.shape[1:])
        ctx.save_for_backward(x_ND, scale_N1, norm_D, qkv_FN, mixed_DN, q_DD, k_ED, v_ED, out_DD, angles, bias)
        return x_ND + mixed_DN.T @ out_DD.to(PRODUCTS).T

    @staticmethod
    def backward(ctx: Any, out_grad_ND: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, scale_N1, norm_D, qkv_FN, mixed_DN, q_DD, k_ED, v_ED, out_DD, angles, bias = ctx.saved_tensors
        grad_ND = out_grad_ND.to(PRODUCTS)
        mixed_grad_DN, qkv_grad_FN = out_DD.to(PRODUCTS).T @ grad_ND.T, torch.empty_like(qkv_FN)
        for places, turns, allowed in _groups(len(x_ND), ctx.heads, angles, bias):
            q, k, v = _turned(qkv_FN[:, places], turns, ctx.heads)
            mixed_grad_LCT = _by_head(mixed_grad_DN[:, places], turns).flatten(0, 1)
            grads = _attention_back(q, k, v, mixed_grad_LCT, ctx.scaling, allowed)
            _turn_back(_by_head(qkv_grad_FN[:, places], turns), *grads, turns, ctx.heads)
        normed_grad_ND = qkv_grad_FN.T @ _joined(q_DD, k_ED, v_ED)
        x_grad_ND, norm_grad_D = _norm_back(x_ND, scale_N1, norm_D, normed_grad_ND, out_grad_ND)
        weight_grad_FD = qkv_grad_FN @ _normed(x_ND, scale_N1, norm_D)
        weight_grads = torch.split(weight_grad_FD, [len(q_DD), len(k_ED), len(v_ED)])
        return x_grad_ND, norm_grad_D, *weight_grads, grad_ND.T @ mixed_DN.T, None, None, None, None, None


def _attention_back(
    q: Tensor, k: Tensor, v: Tensor, mixed_grad_LCT: Tensor, scaling: float, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries (in bf16), keys and values (sums over blocks, in fp32)."""
    q_grad, k_grad, v_grad = torch.empty_like(q), torch.zeros(k.shape), torch.zeros(v.shape)
    for queries, keys, q_LCQ, chances_LQT in _chances(q, k, scaling, bias):
        gradient_LCQ = mixed_grad_LCT[..., queries].contiguous()
        v_grad[..., keys] += gradient_LCQ @ chances_LQT
        chances_grad_LQT = gradient_LCQ.mT @ v[..., keys]
        scores_grad_LQT = torch._softmax_backward_data(chances_grad_LQT, chances_LQT, -1, q.dtype)
        q_grad[..., queries] = k[..., keys] @ scores_grad_LQT.mT
        k_grad[..., keys] += q_LCQ @ scores_grad_LQT
    return q_grad.mul_(scaling), k_grad.mul_(scaling), v_grad


def _angles(cos_BTC: Tensor, sin_BTC: Tensor) -> Tensor:
    """Cosines and sines [B or 1, 2, C / 2, T] in bf16; the library has them twice along C."""
    half = cos_BTC.shape[-1] // 2
    return torch.stack([cos_BTC[..., :half].mT, sin_BTC[..., :half].mT], 1).to(PRODUCTS)


def _bias(mask: Tensor | None, tokens: int) -> Tensor:
    """What is added to the scores [B or 1, T, T]: 0 where a query may look, else as good as minus infinity.

    Only as good as: a row that may look at nothing is padding, of which nobody asks what it becomes but that it is a number.
    """
    allowed = torch.ones(1, tokens, tokens, dtype=torch.bool).tril_() if mask is None else mask[:, 0]
    bias = torch.zeros(allowed.shape, dtype=PRODUCTS)
    return bias.masked_fill_(~allowed, torch.finfo(PRODUCTS).min)


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


def _chances(q: Tensor, k: Tensor, scaling: float, bias: Tensor) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Blocks of queries, the keys up to the last of them, q [L, C, Q] there, and softmax(scaling q^T k + bias) [L, Q, keys].

    Blocks are cut out here as whole tensors: products copy a part of a tensor for themselves, and a turned one slowly.
    """
    for queries in _blocks(q.shape[-1], BLOCK_QUERIES):
        keys, q_LCQ = slice(0, queries.stop), q[..., queries].contiguous()
        seen = bias[:, queries, keys]
        if len(seen) > 1:
            seen = seen.repeat_interleave(len(q) // len(seen), 0)
        scores_LQT = torch.baddbmm(seen.expand(len(q), -1, -1), q_LCQ.mT, k[..., keys], alpha=scaling)
        yield queries, keys, q_LCQ, torch.softmax(scores_LQT, -1)
