"""The engine beside Hugging Face's Trainer and a plain loop: tokens a second, time to a loss, and memory.

    ESPALIER_TEST_DATA=... python -m tests.benchmarks.throughput          all of it (make prove throughput)
    ESPALIER_TEST_DATA=... python -m tests.benchmarks.throughput speed    one part: speed, loss or memory

Speed: the same model, batches, AdamW and learning rate in one process, in turns, medians of steps. Loss: each side with its
own recipe and the best of as many learning rates. Memory: the peak of a process of its own. WikiText-2, our BPE.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, SequentialSampler

from models.llama import LlamaShape, build_llama
from models.tokenizers import bpe
from tasks.training.batches import Batch, Stateless
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import TrainingConfig, train
from tasks.training.machine import Runtime
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig, Schedule
from tests.peak import peak_bytes

CHECKOUT = Path(__file__).resolve().parents[2]
STEP_TOKENS = 4096
PARTS = ("speed", "loss", "memory")
RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Size:
    name: str
    layers: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int

    def model(self, context: int, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        shape = LlamaShape(
            layers=self.layers, width=self.width, heads=self.heads, kv_heads=self.heads,
            feed_forward=self.feed_forward, context=context,
        )  # fmt: skip
        return build_llama(shape, vocabulary=self.vocabulary, end_id=0, pad_id=1)


SIZES = {
    "1M": Size(name="1M", layers=4, width=128, heads=4, feed_forward=384, vocabulary=4096),
    "6M": Size(name="6M", layers=6, width=256, heads=4, feed_forward=768, vocabulary=4096),
    "27M": Size(name="27M", layers=8, width=384, heads=6, feed_forward=1024, vocabulary=32_000),  # Llama's vocabulary
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one training did: losses and seconds of its steps."""

    losses: Sequence[float]
    seconds: Sequence[float]


# the same rows, one after another, for everybody ---------------------------------------------------------------------


class Rows(Dataset[dict[str, Tensor]]):
    """Windows of a token stream in an order of (seed): row n of the n-th place, for Trainer and ours alike."""

    def __init__(self, ids: Tensor, context: int, seed: int = 0) -> None:
        self._ids, self._context = ids, context
        windows = (len(ids) - 1) // context
        self._order = torch.from_numpy(np.random.default_rng(seed).permutation(windows))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        start = int(self._order[place % len(self._order)]) * self._context
        window = self._ids[start : start + self._context]
        return {"input_ids": window, "labels": window}

    def batch(self, position: int, size: int) -> Batch:
        """The same rows for our loop, whose labels are shifted already; the last token's successor is not learned there."""
        ids = torch.stack([self[position * size + row]["input_ids"] for row in range(size)])
        labels = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -100)], 1)
        return Batch(tensors={"ids": ids, "labels": labels}, tokens=ids.numel())


class RowBatches(Stateless):
    def __init__(self, rows: Rows, size: int) -> None:
        self._rows, self._size = rows, size

    def batch(self, position: int) -> Batch:
        return self._rows.batch(position, self._size)


# the ways -------------------------------------------------------------------------------------------------------------


def by_trainer(
    model: Any, rows: Rows, *, steps: int, size: int, rate: float, schedule: str = "constant", warmup: int = 0,
    precision: str = "bf16",
) -> Run:  # fmt: skip
    """transformers.Trainer with its own AdamW, on fp32 weights under bf16 autocast, or on bf16 weights alone."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Watch(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.began, self.seconds, self.losses = 0.0, [], []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self.began)

        def on_log(self, _args: Any, _state: Any, _control: Any, logs: Any = None, **__: Any) -> None:
            if "loss" in (logs or {}):
                self.losses.append(float(logs["loss"]))

    class Ordered(Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            return SequentialSampler(rows)

    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=size, learning_rate=rate,
            lr_scheduler_type=schedule, warmup_steps=warmup, bf16=precision == "bf16", use_cpu=True, report_to=[],
            save_strategy="no", logging_steps=1, logging_strategy="steps", disable_tqdm=True, weight_decay=0.0,
            adam_beta2=0.95, max_grad_norm=1.0, dataloader_num_workers=0, seed=0, logging_nan_inf_filter=False,
        )  # fmt: skip
        trainer = Ordered(
            model=model.bfloat16() if precision == "pure" else model,
            args=arguments,
            train_dataset=rows,
            callbacks=[watch],
        )
        from transformers import PrinterCallback

        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return Run(losses=watch.losses, seconds=watch.seconds)


def by_plain_loop(model: Any, rows: Rows, *, steps: int, size: int, rate: float) -> Run:
    """The library's model and loss under bf16 autocast, the fused AdamW, clipping: what one writes in ten lines."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    losses, seconds = [], []
    model.train()
    for position in range(steps):
        began = time.perf_counter()
        ids = rows.batch(position, size).tensors["ids"]
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        seconds.append(time.perf_counter() - began)
    return Run(losses=losses, seconds=seconds)


def by_ours(
    model: Any, rows: Rows, *, steps: int, size: int, optimizer: OptimizerConfig, schedule: Schedule,
    precision: str = "bf16", checkpoint_activations: bool = False,
) -> Run:  # fmt: skip
    """The engine's own loop, with its guard, its checkpoint at the end and its hooks."""
    losses, seconds = [], []

    def watch(_state: Any, metrics: Any) -> None:
        losses.append(metrics["loss"])
        seconds.append(metrics["step_seconds"])

    runtime = Runtime(
        precision=precision,  # type: ignore[arg-type]
        threads=torch.get_num_threads(),
        checkpoint_activations=checkpoint_activations,
    )
    config = TrainingConfig(
        steps=steps, batch_sequences=size, optimizer=optimizer, schedule=schedule, checkpoint_steps=steps,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        train(
            model, NextToken(), RowBatches(rows, size), config, checkpoints=Checkpoints(Path(folder), identity="bench"),
            runtime=runtime, seed=0, sequence_tokens=STEP_TOKENS // size, hooks=[watch],
        )  # fmt: skip
    return Run(losses=losses, seconds=seconds)


def as_trainer(model: Any, rows: Rows, *, steps: int, size: int, precision: str = "bf16", **changed: Any) -> Run:
    """Ours with the Trainer's optimizer: AdamW at the same constant learning rate."""
    adamw = OptimizerConfig(kind="adamw", learning_rate=RATE)
    return by_ours(
        model, rows, steps=steps, size=size, optimizer=adamw, schedule=Schedule(decay_share=0.0), precision=precision,
        **changed,
    )  # fmt: skip


# speed ----------------------------------------------------------------------------------------------------------------


def speed(
    ids_of: Callable[[int], Tensor], *, sizes: Sequence[str], contexts: Sequence[int], rounds: int, steps: int
) -> None:
    """A B C D A B C D ...: each time a fresh start of `steps` steps, of which the first is not counted."""
    print("tokens a second, medians; ratio to Trainer(bf16=True)\n", flush=True)
    for name in sizes:
        for context in contexts:
            found = turns(SIZES[name], ids_of(SIZES[name].vocabulary), context, rounds, steps)
            rates = {way: STEP_TOKENS / statistics.median(seconds) for way, seconds in found[0].items()}
            base = rates["Trainer bf16"]
            said = "   ".join(f"{way} {rate:,.0f} ({rate / base:.2f})" for way, rate in rates.items())
            losses = ", ".join(f"{way} {loss:.4f}" for way, loss in found[1].items())
            print(f"{name} x {context}: {said}\n    loss of step {steps}: {losses}", flush=True)
    print()


def turns(
    size: Size, ids: Tensor, context: int, rounds: int, steps: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of every counted step by way, and the loss each way had at its last step."""
    rows, count = Rows(ids, context), STEP_TOKENS // context
    ways: dict[str, Callable[[], Run]] = {
        "Trainer bf16": lambda: by_trainer(size.model(context), rows, steps=steps, size=count, rate=RATE),
        "Trainer on bf16 weights": lambda: by_trainer(
            size.model(context), rows, steps=steps, size=count, rate=RATE, precision="pure"
        ),
        "plain loop bf16": lambda: by_plain_loop(size.model(context), rows, steps=steps, size=count, rate=RATE),
        "ours bf16": lambda: as_trainer(size.model(context), rows, steps=steps, size=count),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    losses: dict[str, float] = {}
    for _ in range(rounds):
        for way, start in ways.items():
            run = start()
            seconds[way] += run.seconds[1:]
            losses[way] = run.losses[-1]
    return seconds, losses


# time to a loss -------------------------------------------------------------------------------------------------------

TRAINER_STEPS, OUR_STEPS = 240, 110
TRAINER_RATES, OUR_RATES = (3e-3, 6e-3, 1.2e-2, 2.4e-2), (2.5e-3, 5e-3, 1e-2, 2e-2)
SEEDS = (0, 1, 2)


def loss(train_ids: Tensor, valid_ids: Tensor) -> None:
    """Both sides choose their learning rate among four by the validation loss of the first seed, then train three seeds."""
    context, count = 256, STEP_TOKENS // 256
    print(
        f"time to a loss: 1M x {context}, {STEP_TOKENS} tokens a step; Trainer(bf16=True), AdamW, linear schedule with 5 % "
        f"warm-up, {TRAINER_STEPS} steps; ours, Muon and AdamW, plateau and line down, {OUR_STEPS} steps\n", flush=True,
    )  # fmt: skip

    def trainer(rate: float, seed: int) -> tuple[float, float]:
        model = SIZES["1M"].model(context, seed)
        run = by_trainer(
            model, Rows(train_ids, context, seed), steps=TRAINER_STEPS, size=count, rate=rate, schedule="linear",
            warmup=TRAINER_STEPS // 20,
        )  # fmt: skip
        return validation(model, valid_ids, context), sum(run.seconds)

    def ours(rate: float, seed: int) -> tuple[float, float]:
        model = SIZES["1M"].model(context, seed)
        run = by_ours(
            model, Rows(train_ids, context, seed), steps=OUR_STEPS, size=count,
            optimizer=OptimizerConfig(learning_rate=rate), schedule=Schedule(decay_share=0.5),
        )  # fmt: skip
        return validation(model, valid_ids, context), sum(run.seconds)

    trials = {"Trainer": tried("Trainer", trainer, TRAINER_RATES), "ours": tried("ours", ours, OUR_RATES)}
    their_rate, our_rate = (min(found, key=lambda rate: found[rate]) for found in trials.values())
    ratios = []
    for seed in SEEDS:
        tried_already = seed == SEEDS[0]
        theirs = trials["Trainer"][their_rate] if tried_already else trainer(their_rate, seed)
        own = trials["ours"][our_rate] if tried_already else ours(our_rate, seed)
        reached = "reached" if own[0] <= theirs[0] else "NOT reached"
        ratios.append(theirs[1] / own[1])
        print(
            f"seed {seed}: Trainer {theirs[0]:.4f} nats in {theirs[1]:.1f} s, ours {own[0]:.4f} in {own[1]:.1f} s "
            f"({reached}; {ratios[-1]:.2f} times as fast)", flush=True,
        )  # fmt: skip
    print(f"median over {len(SEEDS)} seeds: {statistics.median(ratios):.2f} times as fast\n", flush=True)


def tried(
    name: str, way: Callable[[float, int], tuple[float, float]], rates: Sequence[float]
) -> dict[float, tuple[float, float]]:
    """(validation loss, seconds) of the first seed at each learning rate."""
    found = {rate: way(rate, SEEDS[0]) for rate in rates}
    said = ", ".join(f"learning rate {rate:g} gives {value:.4f}" for rate, (value, _) in found.items())
    print(f"{name}: {said}", flush=True)
    return found


@torch.no_grad()
def validation(model: Any, ids: Tensor, context: int) -> float:
    """Nats per token on the first 64 windows of the validation text, fp32."""
    model.eval()
    windows = ids[: 64 * context].view(-1, 16, context)
    return statistics.fmean(float(model(input_ids=window, labels=window).loss) for window in windows)


# memory ---------------------------------------------------------------------------------------------------------------

MEMORY_CONTEXT, MEMORY_VOCABULARIES = 1024, (4096, 50_304)
MEMORY_WAYS = ("nothing", "plain", "ours", "ours-checkpointed")


def memory() -> None:
    print("peak memory of 3 steps at 27M x 1024, each in a process of its own, in MB\n")
    for vocabulary in MEMORY_VOCABULARIES:
        found = {way: measured(way, vocabulary) for way in MEMORY_WAYS}
        said = "   ".join(f"{way} {value / 1e6:,.0f}" for way, value in found.items())
        ratio = found["ours"] / found["plain"]
        least = found["ours-checkpointed"] / found["plain"]
        print(f"vocabulary {vocabulary:,}: {said}   ours / plain {ratio:.2f}, checkpointed {least:.2f}", flush=True)


def measured(way: str, vocabulary: int) -> int:
    command = [sys.executable, "-m", "tests.benchmarks.throughput", "peak", way, str(vocabulary)]
    found = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return int(found.stdout.split()[-1])


def peak(way: str, vocabulary: int) -> None:
    size = Size(name="27M", layers=8, width=512, heads=8, feed_forward=1408, vocabulary=vocabulary)
    ids = torch.randint(vocabulary, (5 * STEP_TOKENS + 1,), generator=torch.Generator().manual_seed(0))
    rows, count = Rows(ids, MEMORY_CONTEXT), STEP_TOKENS // MEMORY_CONTEXT
    model = size.model(MEMORY_CONTEXT)
    if way == "plain":
        by_plain_loop(model, rows, steps=3, size=count, rate=RATE)
    elif way != "nothing":
        as_trainer(model, rows, steps=3, size=count, checkpoint_activations=way == "ours-checkpointed")
    print(peak_bytes())


# ----------------------------------------------------------------------------------------------------------------------


@cache
def corpus(vocabulary: int) -> tuple[Tensor, Tensor]:
    """WikiText-2's training and validation text as ids of a BPE fitted on the training text."""
    folder = Path(os.environ["ESPALIER_TEST_DATA"]) / "wikitext-2"
    texts = [(folder / f"{name}.txt").read_text(encoding="utf-8") for name in ("train", "valid")]
    fitted = bpe.fit(texts[0].splitlines(), vocabulary=vocabulary)
    train_ids, valid_ids = (
        torch.tensor([id for each in fitted.encode_batch(text.splitlines()) for id in each.ids]) for text in texts
    )
    return train_ids, valid_ids


def main(parts: Sequence[str]) -> int:
    if parts[:1] == ["peak"]:
        peak(parts[1], int(parts[2]))
        return 0
    if set(parts) - set(PARTS):
        print(f"there is no part {' '.join(parts)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    import transformers

    transformers.logging.set_verbosity_error()
    print(f"{date.today()}  python -m tests.benchmarks.throughput {' '.join(parts)}")
    print(
        f"{os.cpu_count()} cores {platform.machine()} ({torch.backends.cpu.get_cpu_capability()}), "
        f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}\n",
        flush=True,
    )
    wanted = parts or PARTS
    if "speed" in wanted:
        speed(lambda vocabulary: corpus(vocabulary)[0], sizes=list(SIZES), contexts=(256, 1024), rounds=2, steps=6)
    if "loss" in wanted:
        loss(*corpus(SIZES["1M"].vocabulary))
    if "memory" in wanted:
        memory()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
