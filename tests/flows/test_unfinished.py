"""A training that was broken off and then changed is another one: the user is told that the first is still there."""

import json
from pathlib import Path

from flows.trained import left_unfinished
from infra.spool import SPOOL_FILE
from infra.storage import write_json
from infra.workers import RESULT_FILE


def _training(folder: Path, *, steps: int) -> Path:
    folder.mkdir(parents=True)
    lines = (json.dumps({"step": step, "steps": 120, "time": 1.0}) + "\n" for step in range(1, steps + 1))
    (folder / SPOOL_FILE).write_text("".join(lines), encoding="utf-8")
    return folder


def test_only_what_has_steps_and_no_result_is_named(tmp_path: Path) -> None:
    left = _training(tmp_path / "pretrain-1", steps=40)
    write_json(left / RESULT_FILE, {"error": {"kind": "Preempted"}})
    write_json(_training(tmp_path / "pretrain-2", steps=120) / RESULT_FILE, {"result": {}})
    _training(tmp_path / "pretrain-3", steps=0)
    _training(tmp_path / "instruct-1", steps=7)
    (said,) = left_unfinished(tmp_path, "pretrain")
    assert said.startswith("pretrain: begins anew; a training that ended unfinished at step 40 of 120 had other code")
    assert str(left) in said
    assert left_unfinished(tmp_path, "reward") == []
