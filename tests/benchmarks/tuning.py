"""Tuned whole, by LoRA, and whole with noise: equal steps, items and seeds; asked unseen items and a held-out family.

    make prove tuning                                             a base is pretrained on Python's documentation first
    python -m tests.benchmarks.tuning --base FOLDER --seeds 5     any pretrained folder

The noise is NEFTune's (Jain et al. 2023): uniform, on embedded tokens, in training alone. Differences are paired: the same
seed, which is the same items in the same order, and the same questions.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from models.catalogue import load_model
from models.lora import LoraShape
from tasks.alignment.drawing import InstructionItem
from tasks.alignment.families import Pool, check_apart
from tasks.alignment.family_study import asked_in_turns
from tasks.alignment.instructions import removed_families
from tasks.alignment.tuning import Tuning, tune
from tasks.evaluation.seed_intervals import interval
from tasks.exercises.task_files import all_tasks
from tasks.training.machine import Runtime
from tests.benchmarks.families import material, pretrained
from tests.benchmarks.trainings import header

NEFTUNE_ALPHA = 5.0
WHOLE, NOISY = "whole", "whole, with noise"
MAX_ANSWER_TOKENS = 24
FAMILIES = ("form", "extraction", "judgement", "commonsense")  # those that a model of minutes learns something of
UNSEEN, HELD_OUT = "unseen items", "held-out family"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of tuning."""

    name: str
    lora: LoraShape | None = None
    noise: bool = False


ARMS = (
    Arm(name=WHOLE),
    Arm(name=NOISY, noise=True),
    *(Arm(name=f"LoRA, rank {rank}", lora=LoraShape(rank=rank)) for rank in (8, 32)),
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Exact match of each question of both kinds, in their order."""

    arm: str
    seed: int
    parameters: int
    exact: Mapping[str, Sequence[float]]


@contextmanager
def noise(alpha: float) -> Iterator[None]:
    """Uniform in [-1, 1], times alpha / sqrt(tokens x width), on what any embedding gives while its module trains."""

    def add(module: nn.Module, _: Any, output: Tensor) -> Tensor | None:
        if not (isinstance(module, nn.Embedding) and module.training):
            return None
        return output + torch.zeros_like(output).uniform_(-1, 1) * (alpha / math.sqrt(output[0].numel()))

    handle = register_module_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True, kw_only=True)
class Study:
    """All of the families but one are trained on; asked are items of theirs about unseen texts, and those of the one."""

    base: Path
    folder: Path
    tuning: Tuning
    trained: Sequence[InstructionItem]
    asked: Mapping[str, Sequence[InstructionItem]]

    def ask(self, arm: Arm, seed: int) -> Asked:
        around: AbstractContextManager[None] = noise(NEFTUNE_ALPHA) if arm.noise else nullcontext()
        with around:
            tuned = tune(
                self.base,
                self.trained,
                replace(self.tuning, lora=arm.lora),
                self.folder / f"{arm.name} {seed}",
                seed=seed,
            )
        model, tokenizer = load_model(tuned.path)
        exact = {
            name: asked_in_turns(model, tokenizer, items, MAX_ANSWER_TOKENS).exact for name, items in self.asked.items()
        }
        return Asked(arm=arm.name, seed=seed, parameters=tuned.trained_parameters, exact=exact)


def drawn(held_out: str) -> tuple[list[InstructionItem], dict[str, list[InstructionItem]]]:
    """What is trained on, and what is asked."""
    seen, unseen = material()
    pool = Pool(tasks=all_tasks(), seen=seen, unseen=unseen, asked_per_task=50)
    removed = removed_families(pool.tasks, (held_out,))
    left = [family for family in FAMILIES if family not in removed]
    asked = {
        UNSEEN: [item for family in left for item in pool.asked(family)],
        HELD_OUT: replace(pool, asked_per_task=100).asked(held_out),
    }
    texts = {item.input for items in asked.values() for item in items}
    trained = pool.trained(left, "templates", texts)
    check_apart(trained, asked[HELD_OUT], removed)
    return trained, asked


def table(found: Sequence[Asked]) -> list[str]:
    """Means over seeds, and the paired difference to full tuning with its 95 % interval over seeds and items."""
    lines = []
    for name in (UNSEEN, HELD_OUT):
        lines += ["", f"{name:22}{'trained':>12}{'exact match':>13}   against {WHOLE} (95 %)"]
        for arm in dict.fromkeys(each.arm for each in found):
            own = [each for each in found if each.arm == arm]
            line = f"{arm:22}{own[0].parameters:12,}{fmean(fmean(each.exact[name]) for each in own):13.3f}"
            lines.append(line + ("" if arm == WHOLE else f"   {_difference(found, arm, name)}"))
    return lines


def _difference(found: Sequence[Asked], arm: str, name: str) -> str:
    ours, whole = (np.array([each.exact[name] for each in found if each.arm == one]) for one in (arm, WHOLE))
    mean, low, high = interval(ours - whole, least=-1.0)
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path)
    parser.add_argument("--held-out", choices=FAMILIES, default="judgement")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    header("tuning")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        base = given.base or pretrained(Path(folder))
        trained, asked = drawn(given.held_out)
        tuning = Tuning(
            steps=given.steps, batch_sequences=16, warmup_steps=5, runtime=Runtime(threads=1, precision="fp32")
        )
        study = Study(base=base, folder=Path(folder), tuning=tuning, trained=trained, asked=asked)
        print(
            f"{tuning.steps} steps of {tuning.batch_sequences}, learning rate {tuning.learning_rate}; {len(trained):,} "
            f"items, {len(asked[UNSEEN])} unseen ones asked, {len(asked[HELD_OUT])} of {given.held_out}, which is held out\n"
        )
        found: list[Asked] = []
        for seed in range(1, given.seeds + 1):
            for arm in ARMS:
                found.append(study.ask(arm, seed))
                marks = ", ".join(f"{name} {fmean(marks):.3f}" for name, marks in found[-1].exact.items())
                print(f"seed {seed}, {arm.name}: {marks}; {time.perf_counter() - started:.0f} s", flush=True)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
