"""Whatever the number of processes, and whenever it changes: the same samples in the same order, and the same losses.

What is compared is what the objective was given to learn from in each process, not what a source says that it gives.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_distributed import raised, with_ranks
from tiny_training import CONTEXT, STEPS, VOCABULARY, Notes, StopAt, read_notes, train_tiny
from torch import nn

from tasks.alignment.dialogues import Dialogue, DialogueBatches
from tasks.tokenization.shards import ShardWriter, TokenStream, write_documents
from tasks.training.batches import Batch, Batches, TokenBatches
from tasks.training.engine import Preempted
from tasks.training.objectives import Loss, NextToken

SEQUENCES, SAMPLES = 6, 25  # four processes have shares of 1, 2, 1 and 2; the epochs end within batches
CHANGED_AT = 4
SOURCES = ("windows", "dialogues")


def source(name: str, folder: Path) -> Batches:
    draw = np.random.default_rng(5)
    if name == "dialogues":
        lengths = draw.integers(6, CONTEXT, SAMPLES)
        rows = [tuple(draw.integers(5, VOCABULARY, length).tolist()) for length in lengths]
        said = [tuple(place >= len(ids) // 2 for place in range(len(ids))) for ids in rows]
        dialogues = [Dialogue(ids=ids, said=learned) for ids, learned in zip(rows, said, strict=True)]
        return DialogueBatches(dialogues, batch_sequences=SEQUENCES, seed=1, pad_id=1)
    folder.mkdir(parents=True)
    tokens = SAMPLES * CONTEXT + 1
    writer = ShardWriter(folder, "train", np.dtype("<u2"), most_bytes=CONTEXT * 10)
    writer.write(draw.integers(5, VOCABULARY, tokens))
    write_documents(folder, "train", [])
    described = {"tokens": tokens, "bytes": tokens, "documents": 0, "shards": writer.shards}
    stream = TokenStream(folder, {"dtype": "uint16", "splits": {"train": described}}, "train")
    return TokenBatches(stream, context=CONTEXT, batch_sequences=SEQUENCES, seed=1)


def samples(batch: Batch) -> list[list[int]]:
    """The ids of each row without its padding: no two samples have the same."""
    ids = batch.tensors["ids"]
    mask = batch.tensors.get("mask", torch.ones_like(ids)).bool()
    return [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]


class Order(NextToken):
    """The objective that notes what it learns from, and the hook that writes it down after each step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._learned: list[list[int]] = []

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        if module.training:  # checks before the first step only look
            self._learned += samples(batch)
        return super().loss(module, batch)

    def __call__(self, state: Any, _: Any) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": state.step, "samples": self._learned}) + "\n")
        self._learned = []


def train_noted(rank: int, folder: Path, *, name: str, stop: int = 0) -> None:
    order = Order(folder / f"order-{rank}")
    hooks = [order, Notes(folder / f"notes-{rank}"), *([StopAt(stop)] if stop else [])]
    batches = source(name, folder / f"tokens-{rank}")
    checkpoints = folder.parent / "checkpoints"
    train_tiny(
        checkpoints, batches=batches, objective=order, hooks=hooks, batch_sequences=SEQUENCES, checkpoint_steps=100
    )


def train_with(world: int, folder: Path, name: str, stop: int = 0) -> None:
    """One worker is this process, without gloo."""
    folder.mkdir(parents=True)
    work = partial(train_noted, name=name, stop=stop)
    if world > 1:
        with_ranks(world, folder, work)
        assert bool(raised(folder, 0)) == bool(stop)
    elif stop:
        with pytest.raises(Preempted, match=f"stopped at step {stop}"):
            work(0, folder)
    else:
        work(0, folder)


def learned(folder: Path, world: int) -> Iterator[tuple[int, list[list[int]]]]:
    """Each step with the samples of all its workers, in the order of their ranks."""
    for notes in zip(*(read_notes(folder / f"order-{rank}") for rank in range(world)), strict=True):
        assert len({note["step"] for note in notes}) == 1
        yield notes[0]["step"], [sample for note in notes for sample in note["samples"]]


def expected(name: str, folder: Path) -> dict[int, list[list[int]]]:
    given = islice(source(name, folder).starting_at(0), STEPS)
    return {step: samples(batch) for step, batch in enumerate(given, 1)}


def losses(folder: Path, world: int) -> dict[int, float]:
    """All ranks say the same loss."""
    notes: Sequence[list[dict[str, Any]]] = [read_notes(folder / f"notes-{rank}") for rank in range(world)]
    found = [{note["step"]: note["loss"] for note in each} for each in notes]
    assert all(each == found[0] for each in found)
    return found[0]


@pytest.fixture(scope="module", params=SOURCES)
def unbroken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(source, folder) of a training of one process that nobody interrupted."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_with(1, folder, request.param)
    torch.set_num_threads(threads)
    return request.param, folder


def test_samples_are_told_apart(tmp_path: Path) -> None:
    """Else equal orders would say nothing; an epoch is 25 samples, each once."""
    for name in SOURCES:
        given = [sample for batch in expected(name, tmp_path / name).values() for sample in batch]
        assert len(given) == SEQUENCES * STEPS
        for epoch in (given[:SAMPLES], given[SAMPLES : 2 * SAMPLES]):
            assert len({tuple(sample) for sample in epoch}) == SAMPLES
        assert given[:SAMPLES] != given[SAMPLES : 2 * SAMPLES]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_order_does_not_depend_on_the_number_of_workers(
    unbroken: tuple[str, Path], tmp_path: Path, world: int
) -> None:
    name, folder = unbroken
    if world > 1:
        folder = tmp_path / "run"
        train_with(world, folder, name)
    assert dict(learned(folder, world)) == expected(name, tmp_path / "expected")
    assert losses(folder, world) == pytest.approx(losses(unbroken[1], 1), rel=1e-4)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 4), (4, 2)])
def test_the_order_and_the_losses_outlive_a_change_of_workers(
    unbroken: tuple[str, Path], tmp_path: Path, before: int, after: int
) -> None:
    """Stopped after step 4 of 10 and continued by another number of workers, as if nothing had happened."""
    name, whole = unbroken
    train_with(before, tmp_path / "before", name, stop=CHANGED_AT)
    train_with(after, tmp_path / "after", name)
    steps = [*learned(tmp_path / "before", before), *learned(tmp_path / "after", after)]
    assert [step for step, _ in steps] == list(range(1, STEPS + 1))
    assert dict(steps) == expected(name, tmp_path / "expected")
    found = {**losses(tmp_path / "before", before), **losses(tmp_path / "after", after)}
    assert found == pytest.approx(losses(whole, 1), rel=1e-4)
