"""How a training uses its machine: precision, threads, micro-batch. Decided once, with the reason, and then kept.

None of it is part of what a training is, but all of it decides the last bits of its weights: a resumed run reads it back
from its checkpoint.
"""

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from tasks.training.optimizers import hidden_matrices

BF16_GAIN = 1.3  # bf16 must make a layer's matrix products this much faster to be chosen: noise must not decide
MICRO_BATCH_TOKENS = 16_384  # activations of this many tokens are held at once on a CPU
TIMED_TOKENS = 4096
GPU_BYTES_PER_NUMBER = 4  # in bf16; on an H200 decoders of 124M and 1.1B kept 1.9 compiled, that of 124M 3.1 otherwise


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Runtime choices of a recipe; "auto" and 0 leave them to the machine.

    `checkpoint_activations` keeps the input of each layer alone and computes the rest again in the backward pass: a third
    more time, less memory, the same numbers. `compile` is for a GPU: on two cores it took half a minute and gave nothing
    back. A step that takes longer than `hang_seconds` is ended, with its stacks kept. `allow_env_change` goes on from a
    checkpoint that other packages wrote.
    """

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: int = 0
    micro_batch: int = 0
    workers: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_activations: bool = False
    compile: bool = False
    hang_seconds: float = 300.0
    allow_env_change: bool = False

    def __post_init__(self) -> None:
        if self.hang_seconds < 0:
            raise ValueError("runtime: hang_seconds must be at least 0 (0: a hang is never ended)")
        if self.threads < 0 or self.micro_batch < 0 or self.workers < 1:
            raise ValueError("runtime: threads and micro_batch must be at least 0 (0: by itself), workers at least 1")


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What was chosen: `micro_batch` in sequences, and why this precision."""

    precision: Literal["fp32", "bf16"]
    threads: int
    micro_batch: int
    reason: str
    halved: bool = False  # the micro-batch, once, after memory ran out
    checkpoint_activations: bool = False
    compile: bool = False

    @property
    def is_bf16(self) -> bool:
        return self.precision == "bf16"


def device_of(runtime: Runtime) -> str:
    """Where trainings happen: cuda where torch finds it and it was not ruled out. ValueError where it must and does not."""
    found = torch.cuda.is_available()
    if runtime.device == "cuda" and not found:
        raise ValueError("runtime: device cuda was asked for, and torch finds none; take cpu, or auto")
    return "cuda" if found and runtime.device != "cpu" else "cpu"


def place(module: nn.Module, runtime: Runtime) -> None:
    """Move the module to where it is trained; before its optimizer is made, whose state lies beside the weights."""
    module.to(device_of(runtime))


def decide(runtime: Runtime, module: nn.Module, *, batch_sequences: int, sequence_tokens: int) -> Decided:
    """Choose for this machine and module; measures a few matrix products (a tenth of a second) when it must."""
    threads = runtime.threads or int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads()
    torch.set_num_threads(threads)
    precision: Literal["fp32", "bf16"]
    if runtime.precision != "auto":
        precision, reason = runtime.precision, "named in the recipe"
    elif next(module.parameters()).is_cuda:
        precision = "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        reason = f"this GPU {'has' if precision == 'bf16' else 'lacks'} matrix products in bf16"
    else:
        gain = _bf16_gain(module)
        precision = "bf16" if gain >= BF16_GAIN else "fp32"
        reason = f"bf16 matrix products of this model ran {gain:.1f} times as fast as fp32 (chosen from {BF16_GAIN} on)"
    fitting = max(1, _fitting_tokens(module, precision) // max(1, sequence_tokens))
    return Decided(
        precision=precision,
        threads=threads,
        micro_batch=runtime.micro_batch or _even_share(batch_sequences, fitting),
        reason=reason,
        checkpoint_activations=runtime.checkpoint_activations,
        compile=runtime.compile and next(module.parameters()).is_cuda,
    )


def settle(decided: Decided, module: nn.Module) -> None:
    """What was decided, as torch and the module want to be told it."""
    torch.set_num_threads(decided.threads)
    decoder = next((part for part in module.modules() if isinstance(part, PreTrainedModel)), None)
    if decided.checkpoint_activations:
        if decoder is None or not decoder.supports_gradient_checkpointing:
            raise ValueError(
                "runtime: checkpoint_activations was asked for, and this model has no layers that know how to"
            )
        decoder.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    if decided.compile:
        # layer by layer, which share one compilation: a whole model of 12 took 28 s for it, not 11, and was no faster
        for layer in module.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                layer.compile()


def _even_share(batch_sequences: int, most: int) -> int:
    """The largest micro-batch up to `most` of which a batch is a multiple; `most` itself where that is half of it or less.

    _even_share(64, 24) -> 16; _even_share(61, 24) -> 24
    """
    most = min(batch_sequences, most)
    even = max(size for size in range(1, most + 1) if batch_sequences % size == 0)
    return even if 2 * even > most else most


def _fitting_tokens(module: nn.Module, precision: str) -> int:
    """Tokens whose activations are held at once; on a GPU what half of its free memory holds, roughly.

    A token costs so many bytes for each number that a layer's matrix reads or writes. An estimate that is too high is
    halved by the engine.
    """
    if not next(module.parameters()).is_cuda:
        return MICRO_BATCH_TOKENS
    matrices = dict(module.named_parameters())
    numbers = sum(sum(matrices[name].shape) for name in hidden_matrices(module))
    free, _ = torch.cuda.mem_get_info()
    each = GPU_BYTES_PER_NUMBER * (2 if precision == "fp32" else 1)
    return int(free // 2 // (each * max(1, numbers)))


def _bf16_gain(module: nn.Module) -> float:
    """How much faster the model's largest matrix product runs in bf16; the best of several runs on both sides."""
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


def environment() -> dict[str, str]:
    """The packages whose release decides what a training computes."""
    return {name: version(name) for name in ("torch", "transformers", "safetensors", "numpy")}


def topology(workers: int, module: nn.Module) -> dict[str, str | int]:
    """What must be equal for byte-equal results: machine type, threads, workers and torch build."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "device": torch.cuda.get_device_name() if next(module.parameters()).is_cuda else "cpu",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "workers": workers,
    }
