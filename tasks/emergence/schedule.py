"""How a study uses its machine and time: the precision, and how many steps fit, measured before it begins."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tasks.emergence.item_batches import ItemBatches
from tasks.emergence.study import CONTEXT, StudyConfig, build, parameters_of, training_config
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import train
from tasks.training.machine import Runtime, decide
from tasks.training.objectives import NextToken
from tasks.training.pace import Stopwatch, longest_lane

TIMED_STEPS = 8
MOST_STEPS = 20_000
MEASURING_SHARE = 0.15  # of the whole time, for the answers to the questions at the end and the start of processes


def precision_for(config: StudyConfig) -> Literal["fp32", "bf16"]:
    """What this machine computes the largest size in; one for all of them, or the sizes would differ by it too."""
    model = build(max(config.sizes, key=parameters_of), 0)
    runtime = Runtime(device="cpu", threads=1)
    return decide(runtime, model, batch_sequences=config.rows, sequence_tokens=CONTEXT).precision


def seconds_per_step(size: str, config: StudyConfig) -> float:
    """The median of a few steps of the engine on real batches; the weights are thrown away."""
    watch = Stopwatch()
    short = training_config(replace(config, steps=TIMED_STEPS))
    with tempfile.TemporaryDirectory() as folder:
        train(
            build(size, 0),
            NextToken(),
            ItemBatches(config.abilities, rows=config.rows, row_tokens=CONTEXT, seed=0),
            short,
            checkpoints=Checkpoints(Path(folder), identity="pace"),
            runtime=Runtime(device="cpu", threads=1, precision=config.precision),
            seed=0,
            sequence_tokens=CONTEXT,
            hooks=[watch],
        )
    return watch.median()


def steps_within(paces: Sequence[float], *, seeds: int, workers: int, seconds: float) -> int:
    """The most steps with which all trainings end in time, the longest begun first on as many workers.

    steps_within([1.0, 0.1], seeds=3, workers=2, seconds=100) -> 85 % of 100 s for 2 s a step: 42
    """
    one_step = longest_lane(sorted([pace for pace in paces for _ in range(seeds)], reverse=True), workers)
    return max(1, min(MOST_STEPS, int((1 - MEASURING_SHARE) * seconds / one_step)))
