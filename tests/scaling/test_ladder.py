"""The ladder's trainings: by the one engine on a real token set, resumed, not repeated, and told in anybody's table."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.artifacts import read_artifact
from tasks.scaling.grid import Cell
from tasks.scaling.runs import read_runs
from tasks.scaling.shapes import family
from tasks.scaling.study import Part, Setting, parts, precision_for, seconds_of, write_table
from tasks.training.engine import Preempted
from tests.benchmarks.trainings import encode_text
from tests.losses import Losses

SMALL, LARGER = (shape for shape, _ in zip(family(512), range(2), strict=False))
CELL = Cell(flops=1.4e9, sized=SMALL, batch_sequences=8, steps=5)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    inputs = encode_text(tmp_path_factory.mktemp("text"), vocabulary=512)
    tokens, tokenizer = Path(inputs["tokens"]), Path(inputs["tokenizer"])
    return Setting(
        tokens=tokens,
        tokenizer=tokenizer,
        data=read_artifact(tokens).digest,
        code="this",
        learning_rate=0.01,
        precision="fp32",
    )


def test_a_training_is_measured_on_held_out_text_and_not_repeated(setting: Setting, tmp_path: Path) -> None:
    part = Part(cell=replace(CELL, steps=40), setting=setting, root=tmp_path)
    record = part.run([])
    assert 3.5 < record["loss"] < 5.9  # ln 512 = 6.24
    assert record["tokens"] == 40 * 8 * 256
    assert record["flops"] == pytest.approx(6 * record["parameters"] * record["tokens"])
    again = Losses()
    assert part.run([again]) == record
    assert again.found == []
    for other in (replace(setting, seed=2), replace(setting, code="another")):
        assert replace(part, setting=other).record() is None
        assert replace(part, setting=other).folder != part.folder  # beside it, where it can train too


def test_a_stopped_training_goes_on_where_it_was(setting: Setting, tmp_path: Path) -> None:
    part = Part(cell=CELL, setting=setting, root=tmp_path / "broken")
    with pytest.raises(Preempted):
        part.run([first := Losses(stop_at=2)])
    assert part.record() is None
    record = part.run([second := Losses()])
    whole = replace(part, root=tmp_path / "whole").run([unbroken := Losses()])
    assert first.found + second.found == unbroken.found
    assert record["loss"] == whole["loss"]


def test_the_table_is_one_that_a_fit_reads(setting: Setting, tmp_path: Path) -> None:
    cells = [CELL, replace(CELL, sized=LARGER, flops=2.8e9)]
    found = parts(cells, setting, tmp_path)
    assert found[0].cell is cells[1]  # the longest first
    records = [part.run([]) for part in found]
    runs = read_runs(write_table(records, tmp_path / "runs.csv"))
    assert sorted(runs.loss.tolist()) == sorted(record["loss"] for record in records)
    assert runs.flops.tolist() == sorted(record["flops"] for record in records)
    assert runs.parameters.tolist() == [SMALL.parameters, LARGER.parameters]  # the ones that 6 N D counts
    assert not runs.dropped


def test_pace_and_precision_are_this_machines(setting: Setting) -> None:
    assert 0 < seconds_of(CELL, setting) < 60
    assert precision_for(CELL, setting) in ("fp32", "bf16")
