"""The chunked loss is the plain one, to the last digits, and does not hold what it promises not to hold."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.training.cross_entropy import CHUNK_TOKENS, cross_entropy_sum, to_gradient, to_gradient_at_once

CHECKOUT = Path(__file__).resolve().parents[2]


def drawn(tokens: int, width: int = 24, vocabulary: int = 61) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, width, generator=generator).requires_grad_()
    head = (torch.randn(vocabulary, width, generator=generator) / 2).requires_grad_()
    return hidden, head, torch.randint(vocabulary, (tokens,), generator=generator)


def gradients(loss: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, inputs)


BORDERS = [1, 2, CHUNK_TOKENS - 1, CHUNK_TOKENS, CHUNK_TOKENS + 1, 2 * CHUNK_TOKENS, 3 * CHUNK_TOKENS + 7]


@pytest.mark.parametrize("tokens", BORDERS)
def test_it_is_the_plain_cross_entropy(tokens: int) -> None:
    """Loss within 1e-6 and gradients within 1e-5, relative to a mean over the tokens."""
    hidden, head, targets = drawn(tokens)
    ours, plain = cross_entropy_sum(hidden, head, targets), F.cross_entropy(hidden @ head.T, targets, reduction="sum")
    assert ours.dtype == torch.float32
    assert float((ours - plain).detach()) / tokens == pytest.approx(0, abs=1e-6)
    for mine, theirs in zip(gradients(ours, hidden, head), gradients(plain, hidden, head), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_a_scale_behind_it_reaches_the_gradients() -> None:
    """The engine divides the sum by the labels of the whole batch."""
    hidden, head, targets = drawn(700)
    ours = gradients(cross_entropy_sum(hidden, head, targets) / 350 * 3, hidden, head)
    plain = gradients(F.cross_entropy(hidden @ head.T, targets, reduction="sum") / 350 * 3, hidden, head)
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_logits_of_any_size_stay_finite() -> None:
    hidden, head, targets = drawn(40)
    ours = cross_entropy_sum(hidden * 1000, head * 10, targets)
    plain = F.cross_entropy((hidden * 1000) @ (head * 10).T, targets, reduction="sum")
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=0)
    assert all(torch.isfinite(each).all() for each in gradients(ours, hidden, head))


def test_no_tokens_cost_nothing() -> None:
    hidden, head, targets = drawn(0)
    loss = cross_entropy_sum(hidden, head, targets)
    assert float(loss.detach()) == 0.0
    assert not gradients(loss, head)[0].any()


def test_bf16_autocast_is_close_and_gradients_are_fp32() -> None:
    """bf16 keeps 8 bits: a product of length 24 errs by about a percent; the sums over tokens are kept in fp32."""
    hidden, head, targets = drawn(1100)
    with torch.autocast("cpu", torch.bfloat16):
        ours = cross_entropy_sum(hidden, head, targets)
    plain = F.cross_entropy(hidden @ head.T, targets, reduction="sum")
    assert float(ours.detach()) == pytest.approx(float(plain.detach()), rel=2e-3)
    assert float(ours.detach()) != float(plain.detach())
    for mine, theirs in zip(gradients(ours, hidden, head), gradients(plain, hidden, head), strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - theirs).norm() / theirs.norm()) < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_gpus_compiler_is_given_is_the_same(dtype: torch.dtype) -> None:
    """In place: the logits become the gradient of the sum."""
    logits = (torch.randn(40, 61, generator=torch.Generator().manual_seed(1)) * 30).to(dtype)
    targets = torch.arange(40)
    other = logits.clone()
    torch.testing.assert_close(to_gradient_at_once(other, targets), to_gradient(logits, targets), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other, logits, rtol=1e-5, atol=1e-6 if dtype == torch.float32 else 1e-3)


def test_without_a_graph_there_are_no_gradients() -> None:
    hidden, head, targets = drawn(600)
    with torch.no_grad():
        loss = cross_entropy_sum(hidden, head, targets)
    assert not loss.requires_grad
    half = cross_entropy_sum(hidden.detach(), head, targets)
    torch.testing.assert_close(gradients(half, head)[0], gradients(cross_entropy_sum(hidden, head, targets), head)[0])


MEMORY = """
import sys, torch
from torch.nn import functional as F
from tasks.training.cross_entropy import cross_entropy_sum
from tests.peak import peak_bytes
torch.set_num_threads(1)
hidden, head = torch.randn(8192, 16).requires_grad_(), torch.randn(8192, 16).requires_grad_()
targets = torch.randint(8192, (8192,))
cross_entropy_sum(hidden[:8], head, targets[:8]).backward()
before = peak_bytes()
loss = cross_entropy_sum(hidden, head, targets) if sys.argv[1] == "chunks" else F.cross_entropy(hidden @ head.T, targets)
loss.backward()
print(peak_bytes() - before)
"""


def test_the_logits_exist_for_a_chunk_at_a_time() -> None:
    """8192 tokens by 8192 of vocabulary are 268 MB of logits; a chunk of 512 has 17 MB, of which a few are alive."""
    peak = {}
    for name in ("chunks", "plain"):
        command = [sys.executable, "-c", MEMORY, name]
        peak[name] = int(subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout)
    assert peak["chunks"] < 268e6 / 2
    assert peak["plain"] > 268e6
