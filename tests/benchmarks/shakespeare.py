"""GPT-2 on the letters of tiny shakespeare as nanoGPT trains it on a CPU: its published validation loss is 1.88.

    python tests/benchmarks/shakespeare.py DATA        minutes on one core; DATA holds tinyshakespeare/input.txt

nanoGPT's config/train_shakespeare_char.py with the README's CPU settings: 4 layers of 128, 4 heads, context 64, 12 rows,
2000 steps, no dropout, AdamW at 1e-3 falling to 1e-4 (there along a cosine, here along a line), the last tenth for
validation, scored in windows of 64 without overlap. The library's GPT-2 has biases, nanoGPT's has none.
"""

import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from models.gpt2 import Gpt2Shape, build_gpt2
from tasks.generations.decoders import WindowBatches, sample, token_nats
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import TrainingConfig, train
from tasks.training.machine import Runtime
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig, Schedule

STEPS, ROWS, CONTEXT = 2000, 12, 64


def main() -> None:
    text = (Path(sys.argv[1]) / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    letters = sorted(set(text))
    ids = np.array([letters.index(each) for each in text])
    cut = int(0.9 * len(ids))
    torch.manual_seed(1337)
    shape = Gpt2Shape(layers=4, width=128, heads=4, context=CONTEXT)
    model = build_gpt2(shape, vocabulary=len(letters), end_id=0, pad_id=0)
    config = TrainingConfig(
        steps=STEPS,
        batch_sequences=ROWS,
        optimizer=OptimizerConfig(kind="adamw", learning_rate=1e-3, beta2=0.99, weight_decay=0.1),
        schedule=Schedule(warmup_steps=100, decay_share=0.95, final_share=0.1),
        checkpoint_steps=STEPS,
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train(
            model,
            NextToken(),
            WindowBatches(ids[:cut], context=CONTEXT, batch_sequences=ROWS, seed=1),
            config,
            checkpoints=Checkpoints(Path(folder), identity="shakespeare"),
            runtime=Runtime(precision="fp32", micro_batch=ROWS, device="cpu"),
            seed=1,
            sequence_tokens=CONTEXT,
        )
    seconds = time.perf_counter() - started
    loss = float(token_nats(model, ids[cut:], CONTEXT)[1:].mean())
    print(f"{STEPS} steps in {seconds:.0f} s; validation {loss:.4f} nats ({loss / math.log(2):.4f} bits) a letter")
    print("".join(letters[each] for each in sample(model, [letters.index("\n")], tokens=300, temperature=0.8, seed=1)))


if __name__ == "__main__":
    main()
