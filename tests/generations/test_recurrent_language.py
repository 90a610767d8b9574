"""LSTMs and Elman networks trained by the engine: they learn what counting cannot, are resumed to the byte, and talk."""

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.recurrent import ZAREMBA_SMALL, RecurrentModel, RecurrentShape
from tasks.generations.columns import ColumnBatches
from tasks.generations.recurrent import CarriedNextToken, RecurrentConfig, sample, token_nats
from tasks.training.engine import Outcome, Preempted
from tests.generations.languages import COLUMNS, KINDS, VOCABULARY, Agreement, resumes_to_the_byte, trained
from tests.training.tiny_training import Notes, SignalAt, StopAt

LANGUAGE = Agreement(fillers=2)
STEPS = 200


def tiny(kind: str = "lstm", **changed: object) -> RecurrentModel:
    torch.manual_seed(0)
    shape = RecurrentShape(kind=kind, **{"layers": 1, "width": 24, "embedding": 12, **changed})  # type: ignore[arg-type]
    return RecurrentModel(shape, vocabulary=VOCABULARY)


def columns(column_sentences: int = 50) -> ColumnBatches:
    return ColumnBatches(LANGUAGE.training_text(column_sentences), columns=COLUMNS, segment_tokens=20)


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> tuple[RecurrentModel, Outcome]:
    torch.set_num_threads(1)
    model = tiny()
    return model, trained(tmp_path_factory.mktemp("lstm"), model, CarriedNextToken(), columns(), steps=STEPS)


def test_it_learns_an_agreement_that_pairs_do_not_show(lstm: tuple[RecurrentModel, Outcome]) -> None:
    """Which closer comes is three words back: counting pairs or threes leaves ln 4, the LSTM next to nothing."""
    model, outcome = lstm
    held_out = LANGUAGE.text(400, seed=2)
    nats = token_nats(model, held_out)
    unigram, bigram, trigram = (LANGUAGE.counted_nats(held_out, order) for order in (1, 2, 3))
    assert nats.mean() < bigram.mean() < unigram.mean()
    assert nats.mean() < trigram.mean()
    assert nats.mean() == pytest.approx(LANGUAGE.best_nats, abs=0.05)
    closers = slice(LANGUAGE.sentence - 1, None, LANGUAGE.sentence)
    assert nats[closers].mean() < 0.1
    assert bigram[closers].mean() > math.log(KINDS)
    assert outcome.metrics["loss"] < 0.6 * math.log(VOCABULARY)
    assert outcome.events == ()


def test_an_elman_network_learns_too(tmp_path: Path) -> None:
    model = tiny("rnn")
    before = token_nats(model, LANGUAGE.text(50, seed=2)).mean()
    trained(tmp_path, model, CarriedNextToken(), columns(), steps=60)
    assert before == pytest.approx(math.log(VOCABULARY), abs=0.05)
    assert token_nats(model, LANGUAGE.text(50, seed=2)).mean() < 0.8 * before


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_a_stream_costs_the_same_in_chunks(kind: str, dtype: torch.dtype, tolerance: float) -> None:
    model, ids = tiny(kind, layers=2, initial_range=0.5).to(dtype), LANGUAGE.text(30, seed=3)
    whole = token_nats(model, ids, chunk_tokens=1000)
    assert whole.shape == ids.shape
    assert whole.dtype == np.float64
    for chunk_tokens in (1, 7, 149, 150):
        np.testing.assert_allclose(token_nats(model, ids, chunk_tokens=chunk_tokens), whole, rtol=0, atol=tolerance)
    assert token_nats(model, ids[:0]).shape == (0,)
    first = -model.head.bias.detach().log_softmax(0)[ids[0]].item()  # what is said before anything was read
    assert token_nats(model, ids[:1]).tolist() == pytest.approx([first], abs=tolerance)


def test_the_nats_are_those_of_a_distribution_over_texts() -> None:
    """All texts of three tokens together have probability 1, and a later token changes no earlier one's."""
    torch.manual_seed(0)
    model = RecurrentModel(RecurrentShape(layers=1, width=6, embedding=5, initial_range=1.0), vocabulary=4).double()
    texts = [np.array(text) for text in product(range(4), repeat=3)]
    nats = np.stack([token_nats(model, text) for text in texts])
    assert np.exp(-nats.sum(1)).sum() == pytest.approx(1, abs=1e-12)
    assert np.ptp(nats.reshape(16, 4, 3)[:, :, :2], axis=1).max() == 0


def test_asking_changes_no_mode_and_drops_nothing_out() -> None:
    model = tiny(dropout=0.5)
    assert model.training
    ids = LANGUAGE.text(10, seed=4)
    assert token_nats(model, ids).tolist() == token_nats(model, ids).tolist()
    assert model.training


def test_samples_keep_the_agreement(lstm: tuple[RecurrentModel, Outcome]) -> None:
    model, _ = lstm
    prompt = LANGUAGE.text(4, seed=5).tolist()
    drawn = np.array(sample(model, prompt, 300, seed=1)).reshape(-1, LANGUAGE.sentence)
    roles = drawn // KINDS
    right = (roles == [0, *[1] * LANGUAGE.fillers, 2]).all(1) & (drawn[:, 0] == drawn[:, -1] - 2 * KINDS)
    assert right.mean() > 0.8
    assert sample(model, prompt, 50, seed=1) == drawn.ravel()[:50].tolist()  # a draw depends on its place, not on count
    assert sample(model, prompt, 50, seed=2) != drawn.ravel()[:50].tolist()
    greedy = sample(model, [2, 4, 5], 1, seed=3, temperature=0)
    assert greedy == [2 + 2 * KINDS]
    assert len(sample(model, [], 7, seed=4)) == 7


def straight(folder: Path, killed_at: int = 0) -> None:
    """Two layers with dropout; an epoch has eight batches, so states are carried into, over and after its end."""
    torch.set_num_threads(1)
    notes = Notes(folder.with_suffix(".notes"))
    hooks = (notes, SignalAt(killed_at)) if killed_at else (notes,)
    model = tiny(layers=2, dropout=0.2)
    trained(folder, model, CarriedNextToken(), columns(40), steps=14, hooks=hooks, checkpoint_steps=4, micro_batch=5)


def test_killed_and_resumed_is_never_stopped(tmp_path: Path) -> None:
    """Killed in the middle of a column and right after it began anew; state, weights and losses are the unbroken run's."""
    resumes_to_the_byte(straight, tmp_path)


class Forgetful(CarriedNextToken):
    """What a trainer does whose checkpoint has no states."""

    def state_dict(self) -> dict[str, Any]:
        return {"carried": {}}


@pytest.mark.parametrize(
    ("objective", "precision", "same"),
    [(CarriedNextToken, "fp32", True), (CarriedNextToken, "bf16", True), (Forgetful, "fp32", False)],
)
def test_what_is_carried_is_a_part_of_the_checkpoint(
    tmp_path: Path, objective: Callable[[], CarriedNextToken], precision: str, same: bool
) -> None:
    """The next step after a resumption has another loss where states were forgotten: equal bytes above say something."""
    asked: dict[str, Any] = {"steps": 7, "precision": precision}
    whole = trained(tmp_path / "whole", tiny(), CarriedNextToken(), columns(), **asked)
    with pytest.raises(Preempted, match="with a checkpoint"):
        trained(tmp_path / "run", tiny(), objective(), columns(), hooks=(StopAt(6),), **asked)
    outcome = trained(tmp_path / "run", tiny(), objective(), columns(), **asked)
    assert outcome.resumed_at == 6
    assert (outcome.metrics["loss"] == whole.metrics["loss"]) == same


def test_the_small_network_of_zaremba_is_the_default() -> None:
    config = RecurrentConfig()
    assert config.shape == ZAREMBA_SMALL
    assert (config.columns, config.segment_tokens, config.epochs, config.max_gradient_norm) == (20, 20, 13, 5.0)
    with pytest.raises(ValueError, match="max_gradient_norm above 0"):
        RecurrentConfig(max_gradient_norm=0.0)
