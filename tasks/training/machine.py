"""How a training uses its machine: precision, threads, micro-batch. Decided once, with the reason, and then kept.

None of it is part of what a training is, but all of it decides the last bits of its weights: a resumed run reads it back
from its checkpoint.
"""

import os
import platform
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

BF16_GAIN = 1.3  # bf16 must make a layer's matrix products this much faster to be chosen: noise must not decide
MICRO_BATCH_TOKENS = 16_384  # activations of this many tokens are held at once on a CPU
TIMED_TOKENS = 4096


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Runtime choices of a recipe; "auto" and 0 leave them to the machine."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: int = 0
    micro_batch: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if self.threads < 0 or self.micro_batch < 0 or self.workers < 1:
            raise ValueError("runtime: threads and micro_batch must be at least 0 (0: by itself), workers at least 1")


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What was chosen: `micro_batch` in sequences, and why this precision."""

    precision: Literal["fp32", "bf16"]
    threads: int
    micro_batch: int
    reason: str

    @property
    def is_bf16(self) -> bool:
        return self.precision == "bf16"


def decide(runtime: Runtime, module: nn.Module, *, batch_sequences: int, sequence_tokens: int) -> Decided:
    """Choose for this machine and module; measures a few matrix products (a tenth of a second) when it must."""
    threads = runtime.threads or int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads()
    torch.set_num_threads(threads)
    fitting = max(1, MICRO_BATCH_TOKENS // max(1, sequence_tokens))
    micro = runtime.micro_batch or min(batch_sequences, fitting)
    if runtime.precision != "auto":
        return Decided(precision=runtime.precision, threads=threads, micro_batch=micro, reason="named in the recipe")
    gain = _bf16_gain(module)
    precision: Literal["fp32", "bf16"] = "bf16" if gain >= BF16_GAIN else "fp32"
    reason = f"bf16 matrix products of this model ran {gain:.1f} times as fast as fp32 (chosen from {BF16_GAIN} on)"
    return Decided(precision=precision, threads=threads, micro_batch=micro, reason=reason)


def _bf16_gain(module: nn.Module) -> float:
    """How much faster the model's largest matrix product runs in bf16; the best of several runs on both sides."""
    device = next(module.parameters()).device
    if device.type == "cuda":
        return float("inf") if torch.cuda.is_bf16_supported() else 0.0
    largest = max((tensor for tensor in module.parameters() if tensor.dim() == 2), key=torch.Tensor.numel)
    rows, columns = largest.shape
    left, right = torch.randn(TIMED_TOKENS, columns), torch.randn(columns, min(rows, 8192))
    return _best_seconds(left, right) / _best_seconds(left.bfloat16(), right.bfloat16())


def _best_seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return best


def topology(workers: int) -> dict[str, str | int]:
    """What must be equal for byte-equal results: machine type, threads, workers and torch build."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "workers": workers,
    }
