"""Model FLOP/s utilisation (Chowdhery et al. 2022, appendix B): what a training needs by the model, over what the chip can.

Conventions, all of which move the figure: 6 FLOP a parameter and token (forward 2, backward 4), and 12 L H Q T a token for
attention; no half for the causal mask, nothing for recomputed activations; parameters with the embeddings, which a tied
head multiplies with, but without learned positions; the peak is the dense bf16 one, not the sparse.
"""

from typing import Any

# FLOP/s, dense bf16, of the SXM boards (NVIDIA's data sheets).
PEAK_FLOPS = {"A100": 312e12, "H100": 989e12, "H200": 989e12}


def flops_per_token(*, parameters: int, layers: int, width: int, tokens: int) -> float:
    """`parameters` without learned positions, `tokens` the length of a sequence; heads x head size is the width.

    GPT-2 small at 1024 tokens (nanoGPT): 6 x (124,337,664 - 1024 x 768) + 12 x 12 x 768 x 1024 = 854,553,600.
    """
    return 6.0 * parameters + 12.0 * layers * width * tokens


def forward_flops(*, layers: int, width: int, vocabulary: int, tokens: int) -> int:
    """Of one sequence through a GPT-2, every product counted and nothing else, as nanoGPT's transformer_sizing does.

    A layer multiplies with 12 width^2 weights a token, and each token with every other twice. A training is three of it:
    12 layers of 768, 50,257 words, 1024 tokens: 291,648,307,200, thrice 1.0001 times less than `flops_per_token` says.
    """
    layer = 24 * tokens * width**2 + 4 * tokens**2 * width
    return layers * layer + 2 * tokens * width * vocabulary


def peak_of(device_name: str) -> float:
    """The peak of a board by what its driver calls it; ValueError for one that is not in the table."""
    for name, peak in PEAK_FLOPS.items():
        if name in device_name:
            return peak
    raise ValueError(f"no peak is known for {device_name!r}; there are {', '.join(PEAK_FLOPS)}: add its data sheet's")


def mfu(tokens_per_second: float, flops_token: float, peak: float) -> float:
    return tokens_per_second * flops_token / peak


def counted_parameters(model: Any) -> int:
    """Every parameter once, learned positions left out (a table that is looked up, not multiplied with)."""
    own: int = sum(tensor.numel() for tensor in model.parameters())
    positions = getattr(getattr(model, "transformer", None), "wpe", None)
    return own - (int(positions.weight.numel()) if positions is not None else 0)
