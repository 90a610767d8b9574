"""The benchmark's small form: every way trains, the same thing, and what is said can be said."""

import pytest
import torch

from tasks.training.optimizers import OptimizerConfig, Schedule
from tests.benchmarks import throughput
from tests.benchmarks.throughput import Rows, Size, as_trainer, by_ours, by_plain_loop, by_trainer

SMALL = Size(name="small", layers=2, width=64, heads=2, feed_forward=128, vocabulary=300)
IDS = (torch.arange(20_000) * 7 + torch.arange(20_000) // 50) % 300
STEPS, COUNT, CONTEXT = 5, 4, 64


def test_trainer_plain_loop_and_ours_make_the_same_steps() -> None:
    """AdamW at one rate on the same rows: in fp32 the losses agree to rounding, and they fall."""
    rows = Rows(IDS, CONTEXT)
    given = {"steps": STEPS, "size": COUNT, "rate": throughput.RATE}
    trainer = by_trainer(SMALL.model(CONTEXT), rows, precision="fp32", **given)
    ours = as_trainer(SMALL.model(CONTEXT), rows, steps=STEPS, size=COUNT, precision="fp32")
    assert trainer.losses == pytest.approx(ours.losses, rel=2e-4)
    assert trainer.losses[-1] < trainer.losses[0]
    plain = by_plain_loop(SMALL.model(CONTEXT), rows, **given)  # bf16: within noise
    assert plain.losses == pytest.approx(ours.losses, rel=5e-3)
    assert all(len(run.seconds) == STEPS for run in (trainer, ours, plain))


def test_the_tables_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(throughput, "STEP_TOKENS", COUNT * CONTEXT)
    monkeypatch.setitem(throughput.SIZES, "small", SMALL)
    throughput.speed(lambda _: IDS, sizes=["small"], contexts=[CONTEXT], rounds=1, steps=3)
    said = capsys.readouterr().out
    assert f"small x {CONTEXT}: Trainer bf16 " in said
    assert "ours bf16 " in said


def test_ours_with_its_own_optimizer_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "STEP_TOKENS", COUNT * CONTEXT)
    model = SMALL.model(CONTEXT)
    before = throughput.validation(model, IDS, CONTEXT)
    by_ours(
        model,
        Rows(IDS, CONTEXT),
        steps=20,
        size=COUNT,
        optimizer=OptimizerConfig(learning_rate=1e-2),
        schedule=Schedule(),
    )
    assert throughput.validation(model, IDS, CONTEXT) < before - 0.5
