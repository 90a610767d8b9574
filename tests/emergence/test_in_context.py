"""Induction and learning in context (Olsson et al. 2022, Garg et al. 2022), shown on decoders that train in seconds."""

import math
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch

from tasks.emergence.in_context import (
    LABELS,
    Draw,
    Drawn,
    label_mappings,
    least_mapping_nats,
    nats_by_place,
    repeated_cycles,
    small_attention,
)
from tasks.training.batches import IGNORED
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig, Schedule
from tests.generations.brief_training import train_briefly

TOKENS = 32
EXAMPLES, LETTERS = 16, 4


def taught(folder: Path, model: Any, draw: Draw, *, steps: int, rows: int, optimizer: OptimizerConfig) -> Any:
    batches, schedule = Drawn(draw, rows=rows, seed=1), Schedule(warmup_steps=10)
    train_briefly(
        folder, model, NextToken(), batches, steps=steps, batch_sequences=rows, optimizer=optimizer, schedule=schedule
    )
    return model


def test_a_cycle_is_repeated_from_any_of_its_tokens_on() -> None:
    ids_BT, labels_BT = repeated_cycles(5)(np.random.default_rng(0), 40)
    assert torch.equal(ids_BT[:, 1:], labels_BT[:, :-1])
    offsets = set()
    for row in torch.cat([ids_BT, labels_BT[:, -1:]], 1).tolist():
        first, second = row[:5], row[5:]
        assert sorted(first) == list(range(5))
        offset = first.index(second[0])
        offsets.add(offset)
        assert second == first[offset:] + first[:offset]
    assert offsets == set(range(5))


def test_a_mapping_holds_within_its_sequence_alone() -> None:
    ids_BT, labels_BT = label_mappings(6, letters=3)(np.random.default_rng(0), 50)
    mappings = [dict(zip(said[::2], said[1::2], strict=True)) for said in ids_BT.tolist()]
    for mapping, said in zip(mappings, ids_BT.tolist(), strict=True):
        assert all(mapping[said[place]] == said[place + 1] for place in range(0, 12, 2))
    assert {mapping[LABELS] for mapping in mappings if LABELS in mapping} == set(range(LABELS))
    assert torch.equal(labels_BT[:, ::2], ids_BT[:, 1::2])
    assert (labels_BT[:, 1::2] == IGNORED).all()


def test_the_least_loss_of_a_mapping_by_hand() -> None:
    """Two letters: after one example the next letter is new half of the time, after two a quarter of it."""
    assert least_mapping_nats(3, 2) == pytest.approx([math.log(4), math.log(4) / 2, math.log(4) / 4])


@pytest.mark.parametrize(("layers", "least", "most"), [(2, 2.0, 3.0), (1, -0.3, 0.3)])
def test_induction_takes_two_layers(layers: int, least: float, most: float, tmp_path: Path) -> None:
    """The loss on the second half falls by 2 nats and more; one layer, trained alike, gains nothing.

    What follows the cycle's end at its beginning, at place TOKENS - 1, nothing foretells.
    """
    draw = repeated_cycles(TOKENS)
    model = small_attention(layers, vocabulary=TOKENS, context=2 * TOKENS)
    optimizer = OptimizerConfig(learning_rate=0.05, adam_share=0.5)
    nats = nats_by_place(taught(tmp_path, model, draw, steps=450, rows=16, optimizer=optimizer), draw, rows=128, seed=2)
    first, second = fmean(nats[: TOKENS - 1]), fmean(nats[TOKENS:])
    assert least < first - second < most
    assert first < math.log(TOKENS)  # it did learn something: which tokens are still to come


def test_more_examples_of_a_mapping_mean_less_loss_and_shuffled_labels_no_gain(tmp_path: Path) -> None:
    draw = label_mappings(EXAMPLES, letters=LETTERS)
    optimizer = OptimizerConfig(learning_rate=0.03, adam_share=0.5)
    model = small_attention(2, vocabulary=LABELS + LETTERS, context=2 * EXAMPLES)
    taught(tmp_path, model, draw, steps=250, rows=32, optimizer=optimizer)
    nats = nats_by_place(model, draw, rows=500, seed=2)
    assert nats[0] == pytest.approx(math.log(4), abs=0.05)  # without an example: guessing
    falling = [nats[0], fmean(nats[1:4]), fmean(nats[4:10]), fmean(nats[10:])]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] - falling[-1] > 0.4
    assert all(found > least - 0.1 for found, least in zip(nats, least_mapping_nats(EXAMPLES, LETTERS), strict=True))
    shuffled = nats_by_place(model, label_mappings(EXAMPLES, letters=LETTERS, shuffled=True), rows=500, seed=2)
    assert min(shuffled) > math.log(4) - 0.05
