"""Tokens a second and model FLOP/s utilisation on one GPU, beside a plain compiled loop, in one process, A B A B.

    python -m tests.benchmarks.gpu [124m 350m 1b]      needs torch and transformers alone

The sizes are those of the recipes gpu-124m, gpu-350m and gpu-1b. Ours is the engine's own step: its gradients, clipping
and optimizer. The plain loop is the library's model under torch.compile with bf16 autocast and the fused AdamW. Both have
the same weights, batches and micro-batches, fp32 masters; after the same steps their losses stand side by side. The whole
loop is `train` with its loader, guard and hooks, on tokens drawn at random. The conventions of the utilisation stand in
tasks/training/mfu.py.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import numpy as np
import torch
import yaml

from models.llama import LlamaShape, build_llama
from tasks.training.batches import Batch, TokenBatches
from tasks.training.checkpoints import Checkpoints
from tasks.training.distributed import Ranks
from tasks.training.engine import TrainingConfig, TrainState, train
from tasks.training.gradients import accumulate_gradients
from tasks.training.machine import Decided, Runtime, decide, place, settle
from tasks.training.mfu import counted_parameters, flops_per_token, mfu, peak_of
from tasks.training.objectives import NextToken
from tasks.training.optimizers import Optimizer, OptimizerConfig, clip_gradients

VOCABULARY = 50_304
RECIPES = Path(__file__).resolve().parents[2] / "flows" / "recipes"
SHAPES = {
    name: LlamaShape(**yaml.safe_load((RECIPES / f"gpu-{name}.yaml").read_text())["pretrain"]["architecture"])
    for name in ("124m", "350m", "1b")
}
TOKENS_PER_STEP = 131_072
WARM_STEPS, TIMED_STEPS, ROUNDS = 3, 4, 3
LOOP_STEPS = 24
RATE = 3e-4
RUNTIME = Runtime(precision="bf16", device="cuda", compile=True)


def main(names: list[str]) -> int:
    if set(names) - set(SHAPES):
        print(f"there is no size {' '.join(names)}; there are {', '.join(SHAPES)}", file=sys.stderr)
        return 2
    if not torch.cuda.is_available():
        print("no GPU on this machine: not run")
        return 0
    board = torch.cuda.get_device_name()
    print(f"{date.today()}  python -m tests.benchmarks.gpu {' '.join(names)}")
    print(
        f"{board}, torch {torch.__version__}, vocabulary {VOCABULARY:,}, {TOKENS_PER_STEP:,} tokens a step\n",
        flush=True,
    )
    for name in names:
        measure(name, peak_of(board))
        torch.compiler.reset()
    whole_loop(names[0], peak_of(board))
    return 0


def measure(name: str, peak: float) -> None:
    shape = SHAPES[name]
    batch = drawn(shape.context, TOKENS_PER_STEP // shape.context)
    ours, decided, parameters = engine_step(shape, batch)
    plain = plain_step(shape, batch, decided.micro_batch)
    ways = {"ours": ours, "plain compiled loop": plain}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for way, step in ways.items():
        seconds, losses = timed(step, WARM_STEPS)
        said = ", ".join(f"{loss:.4f}" for loss in losses)
        print(f"{name}: {way} is ready in {seconds:.0f} s; its first losses {said}", flush=True)
    for _ in range(ROUNDS):
        for way, step in ways.items():
            rates[way].append(TOKENS_PER_STEP * TIMED_STEPS / timed(step, TIMED_STEPS)[0])
    flops = flops_per_token(parameters=parameters, layers=shape.layers, width=shape.width, tokens=shape.context)
    print(f"{name}: {parameters / 1e6:.1f}M parameters, {shape.context} tokens, micro-batch {decided.micro_batch}")
    for way, found in rates.items():
        rate = statistics.median(found)
        print(f"  {way:20} {rate:10,.0f} tokens/s, MFU {mfu(rate, flops, peak):.1%}", flush=True)
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["plain compiled loop"])
    print(f"  ratio {ratio:.2f}, peak memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB\n", flush=True)


def whole_loop(name: str, peak: float) -> None:
    """`train` from its preflight to its checkpoint."""
    shape = SHAPES[name]
    sequences = TOKENS_PER_STEP // shape.context
    seconds: list[float] = []
    losses: list[float] = []

    def hook(state: TrainState, metrics: Mapping[str, float]) -> None:
        del state
        seconds.append(metrics["step_seconds"])
        losses.append(metrics["loss"])

    model = fresh(shape)
    config = TrainingConfig(
        steps=LOOP_STEPS,
        batch_sequences=sequences,
        optimizer=OptimizerConfig(learning_rate=1e-3),
        checkpoint_steps=LOOP_STEPS,
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = train(
            model,
            NextToken(),
            TokenBatches(RandomTokens(), context=shape.context, batch_sequences=sequences, seed=1),
            config,
            checkpoints=Checkpoints(Path(folder), identity="gpu"),
            runtime=RUNTIME,
            seed=1,
            sequence_tokens=shape.context,
            hooks=[hook],
        )
    rate = TOKENS_PER_STEP / statistics.median(seconds[WARM_STEPS:])
    flops = flops_per_token(
        parameters=counted_parameters(model), layers=shape.layers, width=shape.width, tokens=shape.context
    )
    print(f"{name}, the whole loop, Muon, {outcome.decided.micro_batch} sequences at once ({outcome.decided.reason})")
    print(
        f"  {rate:,.0f} tokens/s, MFU {mfu(rate, flops, peak):.1%}; loss {losses[0]:.3f} -> {losses[-1]:.3f}",
        flush=True,
    )


class RandomTokens:
    """A stream of tokens of which a few hundred are all, so that there is something to learn."""

    tokens = 50_000_000

    def read_at_random(self) -> "RandomTokens":
        return self

    def slice(self, start: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
        return np.random.default_rng(start).integers(512, size=length, dtype=np.uint16)


def drawn(context: int, sequences: int) -> Batch:
    ids = torch.randint(VOCABULARY, (sequences, context + 1), generator=torch.Generator().manual_seed(0))
    return Batch(
        tensors={"ids": ids[:, :-1].contiguous(), "labels": ids[:, 1:].contiguous()}, tokens=sequences * context
    )


def fresh(shape: LlamaShape) -> torch.nn.Module:
    torch.manual_seed(1)
    with torch.device("cuda"):
        model: torch.nn.Module = build_llama(shape, vocabulary=VOCABULARY, end_id=0, pad_id=1)
    return model


def engine_step(shape: LlamaShape, batch: Batch) -> tuple[Callable[[], float], Decided, int]:
    model, runtime = fresh(shape), RUNTIME
    place(model, runtime)
    optimizer = Optimizer(model, OptimizerConfig(kind="adamw", learning_rate=RATE))
    decided = decide(runtime, model, batch_sequences=len(batch), sequence_tokens=shape.context)
    settle(decided, model)

    def step() -> float:
        metrics = accumulate_gradients(model, NextToken(), batch, decided, optimizer, Ranks())
        clip_gradients(optimizer.parameters(), 1.0)
        optimizer.step(1.0, bf16=decided.is_bf16)
        return metrics["loss"]

    return step, decided, counted_parameters(model)


def plain_step(shape: LlamaShape, batch: Batch, micro_batch: int) -> Callable[[], float]:
    model = fresh(shape)
    compiled = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    starts = range(0, len(batch), micro_batch)

    def step() -> float:
        total = torch.zeros((), device="cuda")
        ids, labels = (batch.tensors[name].to("cuda") for name in ("ids", "labels"))
        for start in starts:
            rows = slice(start, start + micro_batch)
            with torch.autocast("cuda", torch.bfloat16):
                # the library shifts its labels itself, unless it is handed shifted ones
                loss = compiled(input_ids=ids[rows], labels=labels[rows], shift_labels=labels[rows]).loss
            (loss / len(starts)).backward()
            total += loss.detach() / len(starts)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(total)

    return step


def timed(step: Callable[[], float], times: int) -> tuple[float, list[float]]:
    torch.cuda.synchronize()
    started = time.perf_counter()
    losses = [step() for _ in range(times)]
    torch.cuda.synchronize()
    return time.perf_counter() - started, losses


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(SHAPES)))
