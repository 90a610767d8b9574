"""DVC in a small workspace of its own: what ran, what was reused, and a failure in the stage's own words."""

import os
import time
from pathlib import Path

import psutil
import pytest

from infra.data_versions import DataFailed, changed, lock_bytes, output_digests, reproduce
from infra.settings import Settings, load_settings

DVC_YAML = """
stages:
  upper:
    cmd: python upper.py
    deps: [upper.py, text.txt]
    outs: [upper.txt]
  count:
    cmd: python -c "open('count.txt', 'w').write(str(len(open('upper.txt').read())))"
    deps: [upper.txt]
    outs: [count.txt]
"""

UPPER = """
import sys
text = open("text.txt").read()
if not text.strip():
    print("ValueError: text.txt: no text is left", file=sys.stderr)
    sys.exit(1)
if text == "wait":
    import time
    time.sleep(600)
open("upper.txt", "w").write(text.upper())
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    checkout = tmp_path / "checkout"
    (checkout / ".dvc").mkdir(parents=True)
    (checkout / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (checkout / "dvc.yaml").write_text(DVC_YAML)
    (checkout / "upper.py").write_text(UPPER)
    (checkout / "text.txt").write_text("abc")
    return load_settings(checkout, tmp_path / "home")


def test_stages_run_once_and_again_only_when_their_input_changed(settings: Settings) -> None:
    assert lock_bytes(settings) == b""
    lines: list[str] = []
    assert reproduce(settings, ["count"], on_line=lines.append) == {"upper": "ran", "count": "ran"}
    assert "Running stage 'upper':" in lines
    first = lock_bytes(settings)
    assert (settings.checkout / "count.txt").read_text() == "3"
    assert set(output_digests(settings)) == {"upper.txt", "count.txt"}
    assert all(len(digest) == 32 for digest in output_digests(settings).values())

    assert reproduce(settings, ["count"]) == {"upper": "unchanged", "count": "unchanged"}
    assert lock_bytes(settings) == first

    (settings.checkout / "text.txt").write_text("ABC")
    assert "upper" in changed(settings)
    assert reproduce(settings, ["count"]) == {"upper": "ran", "count": "unchanged"}
    assert lock_bytes(settings) != first
    assert changed(settings) == {}

    (settings.checkout / "text.txt").write_text("abc")
    assert reproduce(settings, ["count"]) == {"upper": "restored", "count": "unchanged"}
    assert lock_bytes(settings) == first


def test_failure_is_the_stages_own_sentence(settings: Settings) -> None:
    (settings.checkout / "text.txt").write_text(" ")
    with pytest.raises(DataFailed, match=r"^upper: text\.txt: no text is left \(log: .*data\.log\)$") as caught:
        reproduce(settings, ["count"])
    assert caught.value.stage == "upper"
    assert "failed to reproduce 'upper'" in caught.value.log.read_text()


def test_unknown_target_and_missing_workspace_are_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DataFailed, match="nothing"):
        reproduce(settings, ["nothing"])
    with pytest.raises(ValueError, match=r"no \.dvc/config there"):
        reproduce(load_settings(tmp_path / "elsewhere", tmp_path / "home"), ["count"])


def test_interrupted_stage_is_ended_and_the_next_run_completes(settings: Settings) -> None:
    (settings.checkout / "text.txt").write_text("wait")

    def interrupt(line: str) -> None:
        if line.startswith("> python upper.py"):
            raise KeyboardInterrupt

    before = psutil.Process(os.getpid()).children(recursive=True)  # another test's server of processes lives on
    with pytest.raises(KeyboardInterrupt):
        reproduce(settings, ["count"], on_line=interrupt)
    time.sleep(0.2)
    now = psutil.Process(os.getpid()).children(recursive=True)
    assert [one for one in now if one not in before and one.status() != psutil.STATUS_ZOMBIE] == []
    (settings.checkout / "text.txt").write_text("abc")
    assert reproduce(settings, ["count"]) == {"upper": "ran", "count": "ran"}


def test_nothing_is_written_outside_the_workspace_and_the_home(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = tmp_path / "user"
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    reproduce(settings, ["count"])
    assert list(user.iterdir()) == []
    assert (settings.caches / "dvc").exists()
