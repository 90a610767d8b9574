"""Answers with the way to them and without it: what is trained on, what is judged, and a model that learns from both."""

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch

from tasks.alignment.rationales import (
    SAME_TOKENS,
    WITH,
    WITHOUT,
    Arm,
    compared,
    difference,
    different,
    is_held_out,
    item_of,
)
from tasks.exercises.arithmetic import column_addition
from tasks.exercises.exercise import Exercise
from tasks.exercises.makers import MAKERS
from tests.benchmarks.rationale import fresh, said, study

SUM = Exercise(text="7 + 5 - 3", answer="9", rationale="7 + 5 = 12, 12 - 3 = 9.")


@pytest.mark.parametrize(
    ("rationale", "answer"),
    [(True, "7 + 5 = 12, 12 - 3 = 9. The answer is 9."), (False, "The answer is 9.")],
)
def test_the_answer_s_sentence_is_the_same_with_and_without_the_way(rationale: bool, answer: str) -> None:
    item = item_of(SUM, "arithmetic", rationale=rationale)
    assert (item.prompt, item.answer) == ("7 + 5 - 3", answer)


def test_an_exercise_without_a_way_is_refused() -> None:
    with pytest.raises(ValueError, match="has no rationale; take a maker"):
        item_of(Exercise(text="1 + 1", answer="2"), "arithmetic", rationale=True)


def test_what_is_judged_is_never_trained_on_whatever_the_seed() -> None:
    asked = {each.text for each in different(MAKERS["arithmetic"], 100, seed=0, held_out=True)}
    for seed in (0, 1):
        trained = {each.text for each in different(MAKERS["arithmetic"], 500, seed=seed, held_out=False)}
        assert len(trained) == 500
        assert not trained & asked
        assert not any(map(is_held_out, trained))


def test_a_maker_with_too_few_exercises_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="has 1 different exercises to train on, fewer than 3"):
        different(lambda _: Exercise(text="a", answer="b"), 3, seed=0, held_out=is_held_out("a"))


def test_differences_are_paired_by_seed_and_item() -> None:
    """Seed 1: 1 - 0 and 1 - 1, seed 2: 0 - 0 and 1 - 0; the mean of 1, 0, 0, 1."""
    marks = {WITH: ([1, 1], [0, 1]), WITHOUT: ([0, 1], [0, 0])}
    arms = [
        Arm(name=name, seed=seed, steps=1, tokens=1, exact=exact, unparsed=0.0, said=[])
        for name, seeds in marks.items()
        for seed, exact in enumerate(seeds)
    ]
    mean, low, high = difference(arms, WITH, WITHOUT)
    assert mean == 0.5
    assert low < 0.5 < high


def test_the_small_form_of_the_proof(tmp_path: Path) -> None:
    """Too brief to reason, long enough to learn the sentence; the models at equal tokens have read equally many."""
    torch.set_num_threads(1)
    small = study(column_addition, steps=60, train_items=200, held_out_items=10)
    arms = list(compared(small, lambda seed: fresh(tmp_path, seed), tmp_path, [1]))
    found = {arm.name: arm for arm in arms}
    assert set(found) == {WITH, WITHOUT, SAME_TOKENS}
    assert found[WITH].steps == found[WITHOUT].steps == 60
    assert found[WITH].tokens > 1.5 * found[WITHOUT].tokens
    assert found[SAME_TOKENS].tokens == pytest.approx(found[WITH].tokens, rel=0.05)
    assert found[SAME_TOKENS].unparsed < 0.2
    assert fmean(text.startswith("The answer is") for text in found[SAME_TOKENS].said) > 0.8
    assert np.isin(found[SAME_TOKENS].exact, (0.0, 1.0)).all()
    assert any(line.startswith(f"{WITH} - {SAME_TOKENS}: ") for line in said(arms, small.asked()))
