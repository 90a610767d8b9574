"""A whole study of a few steps: trained by the engine, resumed, not repeated, and told in rows, verdicts and figures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from planted import planted_records

from tasks.emergence import plots, report, study
from tasks.emergence.schedule import precision_for, seconds_per_step, steps_within
from tasks.emergence.study import SIZES, Part, StudyConfig, build, parameters_of, parts
from tasks.training.engine import Preempted
from tasks.training.pace import longest_lane
from tests.losses import Losses

TINY = StudyConfig(sizes=("4k",), seeds=1, steps=6, rows=4, test_items=4, train_items=2)


@pytest.mark.parametrize("size", SIZES)
def test_parameters_are_counted_right(size: str) -> None:
    assert parameters_of(size) == sum(each.numel() for each in build(size, 0).parameters())


def test_a_small_decoder_learns_to_add_by_the_one_engine(tmp_path: Path) -> None:
    losses = Losses()
    config = replace(TINY, sizes=("11k",), steps=40, learning_rate=0.02)
    record = Part(config=config, size="11k", seed=0, folder=tmp_path).run([losses])
    assert len(losses.found) == record["steps"] == 40
    assert losses.found[0] == pytest.approx(3.7, abs=0.3)  # ln 43
    assert sum(losses.found[-5:]) / 5 < 0.7 * losses.found[0]
    assert len(record["abilities"]) == 10


def test_a_stopped_training_goes_on_where_it_was_and_a_finished_one_is_not_repeated(tmp_path: Path) -> None:
    part = Part(config=TINY, size="4k", seed=1, folder=tmp_path / "one")
    with pytest.raises(Preempted):
        part.run([first := Losses(stop_at=3)])
    assert part.record() is None
    record = part.run([second := Losses()])
    unbroken = Losses()
    whole = replace(part, folder=tmp_path / "other").run([unbroken])
    assert first.found + second.found == unbroken.found
    assert record["abilities"] == whole["abilities"]
    again = Losses()
    assert part.run([again]) == record
    assert again.found == []


def test_another_configuration_does_not_take_a_record_for_its_own(tmp_path: Path) -> None:
    part = Part(config=TINY, size="4k", seed=0, folder=tmp_path)
    part.run()
    other = replace(part, config=replace(TINY, learning_rate=0.5))
    assert other.record() is None
    with pytest.raises(ValueError, match="belongs to another training"):
        other.run()
    assert replace(part, config=replace(TINY, seeds=3, sizes=("4k", "11k"))).record() is not None


def test_each_training_has_a_folder_and_the_largest_come_first(tmp_path: Path) -> None:
    found = parts(StudyConfig(), tmp_path)
    assert len({part.folder for part in found}) == len(found) == 18
    assert [part.size for part in found[:3]] == ["857k"] * 3
    assert [part.size for part in found[-3:]] == ["4k"] * 3


def test_wrong_studies_are_refused() -> None:
    with pytest.raises(ValueError, match="no family"):
        StudyConfig(family="geometry")
    with pytest.raises(ValueError, match="found 12k"):
        StudyConfig(sizes=("12k",))
    with pytest.raises(ValueError, match="at least 1"):
        StudyConfig(seeds=0)


def test_lanes_by_hand() -> None:
    """5 | 4 3, then 2 goes to the first: 7 and 7; three seeds of 1 s and of 0.1 s end after 2 s on two workers."""
    assert longest_lane([5, 4, 3, 2], 2) == 7
    assert longest_lane([5, 4, 3, 2], 1) == 14
    assert steps_within([0.1, 1.0], seeds=3, workers=2, seconds=100) == 42
    assert steps_within([1.0], seeds=1, workers=1, seconds=0.1) == 1


def test_the_pace_is_measured_on_real_steps() -> None:
    assert 0 < seconds_per_step("4k", replace(TINY, rows=2)) < 5
    assert precision_for(TINY) in ("fp32", "bf16")


def test_rows_verdicts_and_the_scratchpads_gain() -> None:
    records = planted_records()
    rows = report.rows(records)
    assert len(rows) == 16
    assert rows[0] | {"edit_distance": 3.0, "brier": None, "n": 50, "train_exact_match": 1.0} == rows[0]
    direct, written = report.verdicts(records)
    assert (direct["mode"], direct["verdict"]) == ("direct", "sharp under both")
    assert set(direct["measures"]) == {"exact_match", "token_nats", "edit_distance"}
    assert written["verdict"] == "not resolved"  # one size below a rise says nothing of what could have been foretold
    assert "the two smallest sizes" in written["reason"]
    gains = report.scratchpad_effects(records)
    assert [each["gain"] for each in gains] == [0.0, 1.0, 0.0, 0.0]
    json.dumps({"rows": rows, "verdicts": [direct, written], "scratchpad": gains})


def test_a_figure_for_each_ability(tmp_path: Path) -> None:
    records = planted_records()
    (path,) = plots.draw(records, report.verdicts(records), tmp_path / "figures")
    assert path.name == "emergence-addition.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_record_that_is_half_written_does_not_count(tmp_path: Path) -> None:
    part = Part(config=TINY, size="4k", seed=0, folder=tmp_path)
    (tmp_path / study.RECORD).write_text('{"identity": ', encoding="utf-8")
    assert part.record() is None
