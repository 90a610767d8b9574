"""The spool: one line per step, whole lines only, and a hook that carries the wish to stop."""

import json
from dataclasses import dataclass
from pathlib import Path

from infra.spool import SPOOL_FILE, STOP_FILE, SpoolReader, SpoolWriter


@dataclass
class State:
    step: int
    steps: int = 10


def test_what_is_written_is_read_once(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "run")
    reader = SpoolReader(writer.path)
    writer(State(1), {"loss": 2.5, "note": "no number"})  # type: ignore[dict-item]
    first = reader.read()
    assert [(record["step"], record["steps"], record["loss"]) for record in first] == [(1, 10, 2.5)]
    assert "note" not in first[0]
    assert reader.read() == []
    writer(State(2), {"loss": float("nan")})
    assert [record["step"] for record in reader.read()] == [2]
    writer.close()


def test_half_a_line_is_dropped_when_the_training_resumes(tmp_path: Path) -> None:
    path = tmp_path / SPOOL_FILE
    whole = json.dumps({"step": 1, "time": 1.0, "loss": 3.0}) + "\n"
    path.write_text(whole + '{"step": 2, "ti')
    reader = SpoolReader(path)
    assert [record["step"] for record in reader.read()] == [1]
    writer = SpoolWriter(tmp_path)
    writer(State(2), {"loss": 2.0})
    writer.close()
    assert [record["step"] for record in reader.read()] == [2]
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_lines_that_are_no_metrics_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / SPOOL_FILE
    path.write_text('not json\n[1]\n{"loss": 1.0}\n{"step": 7, "time": 1.0}\n')
    assert [record["step"] for record in SpoolReader(path).read()] == [7]
    assert SpoolReader.at_end(path).read() == []
    assert SpoolReader(tmp_path / "nothing").read() == []


def test_wish_to_stop_is_seen(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    writer(State(1), {})
    assert not writer.stop_requested()
    (tmp_path / STOP_FILE).touch()
    assert writer.stop_requested()
    writer.close()
    other = SpoolWriter(tmp_path / "other", stopped=lambda: True)
    assert other.stop_requested()
    other.close()
