"""Arithmetic, learned with the way to the answer and without it: the same model, exercises and steps.

    make prove rationale      kept in tests/benchmarks/results/rationale.txt

Additions of three digits, column by column, and sums of one to three small terms, which a small model learns at a look.

A second comparison gives the model without rationale as many steps as make equally many tokens. Models begin from nothing,
so that what they know of arithmetic is what they are taught here; a token is a byte. Judged on sums that nobody was taught.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import torch

from models.catalogue import save_model
from models.llama import LlamaShape, build_llama
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.rationales import SAME_TOKENS, WITH, WITHOUT, Arm, Study, compared, difference
from tasks.alignment.tuning import Tuning
from tasks.exercises.arithmetic import arithmetic, column_addition
from tasks.exercises.exercise import Exercise, Maker
from tasks.training.machine import Runtime
from tests.benchmarks.trainings import header

SHAPE = LlamaShape(layers=3, width=64, heads=4, kv_heads=4, feed_forward=192, context=256)
MAKERS: Mapping[str, Maker] = {"additions of three digits": column_addition, "sums of one to three terms": arithmetic}
SEEDS = (1, 2, 3)
SHOWN = 3


def study(maker: Maker, *, steps: int = 500, train_items: int = 8000, held_out_items: int = 200) -> Study:
    tuning = Tuning(
        steps=steps,
        batch_sequences=16,
        learning_rate=0.004,
        warmup_steps=20,
        runtime=Runtime(threads=1, precision="fp32"),
    )
    return Study(
        task="arithmetic", maker=maker, answer_type="number", tuning=tuning, train_items=train_items,
        held_out_items=held_out_items, max_answer_tokens=110,
    )  # fmt: skip


def fresh(folder: Path, seed: int) -> Path:
    """The folder of a model that knows nothing, with bytes for tokens."""
    path = folder / f"fresh-{seed}"
    if not path.exists():
        torch.manual_seed(seed)
        tokenizer = ChatTokenizer.ours(bpe.fit([], vocabulary=261))
        model = build_llama(
            SHAPE, vocabulary=tokenizer.vocabulary, end_id=tokenizer.end_of_text_id, pad_id=tokenizer.pad_id
        )
        save_model(path, model, tokenizer)
    return path


def main() -> None:
    header("rationale")
    print(f"{SHAPE}\n{study(arithmetic).tuning}\n{study(arithmetic).train_items:,} exercises to train on")
    started = time.perf_counter()
    for name, maker in MAKERS.items():
        asked = study(maker)
        print(f"\n{name}, {asked.held_out_items} to judge by\n")
        arms: list[Arm] = []
        with tempfile.TemporaryDirectory() as folder:
            for arm in compared(asked, partial(fresh, Path(folder)), Path(folder), SEEDS):
                arms.append(arm)
                print(
                    f"seed {arm.seed}, {arm.name}: {arm.steps} steps, {arm.tokens:,} tokens, exact match "
                    f"{fmean(arm.exact):.3f}, unparsed {arm.unparsed:.3f}; {time.perf_counter() - started:.0f} s",
                    flush=True,
                )
        print("\n".join(said(arms, asked.asked())))


def said(arms: Sequence[Arm], asked: Sequence[Exercise]) -> list[str]:
    """The means by the number of steps a sum takes, the paired differences, and some answers of the last seed."""
    calculations = [exercise.rationale.count("=") for exercise in asked]
    lines = [
        "",
        f"{'exact match':24}{'all':>8}" + "".join(f"{number:>5} step(s)" for number in sorted(set(calculations))),
    ]
    for name in (WITH, WITHOUT, SAME_TOKENS):
        own = [arm for arm in arms if arm.name == name]
        by_steps = [
            fmean(
                mark for arm in own for mark, steps in zip(arm.exact, calculations, strict=True) if steps == number
            )
            for number in sorted(set(calculations))
        ]  # fmt: skip
        lines.append(
            f"{name:24}{fmean(m for arm in own for m in arm.exact):8.3f}" + "".join(f"{m:13.3f}" for m in by_steps)
        )
    lines.append("")
    for other in (WITHOUT, SAME_TOKENS):
        mean, low, high = difference(arms, WITH, other)
        lines.append(f"{WITH} - {other}: {mean:+.3f} ({low:+.3f} to {high:+.3f}, 95 % over seeds and items)")
    for place in range(SHOWN):
        lines += ["", f"asked {asked[place].text}, which is {asked[place].answer}"]
        lines += [f"  {arm.name}: {arm.said[place]}" for arm in arms[-3:]]
    return lines


if __name__ == "__main__":
    main()
