"""Wrong input: one clear sentence, exit status 2, nothing lost; and one run at a time."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from infra.processes import RunLock


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "--recipe", "lptop"), "no recipe named lptop; there are "),
        (("run", "--recipe", "tiny", "--set", "pretrain"), "expected KEY=VALUE"),
        (("run", "--recipe", "tiny", "--set", "pretain.training.steps=5"), "pretain: unknown section"),
        (("run", "--recipe", "tiny", "--set", "data=mine"), "there is no corpus mine"),
        (
            ("run", "--recipe", "tiny", "--set", "align.families=[symbolc]"),
            "align.families: symbolc is none of the families that params.yaml trains on; did you mean symbolic?",
        ),
        (("run", "--recipe", "tiny", "--set", "align.families=[completion]"), "align.families: completion is none of"),
        (("models", "show", "production"), "there is none yet; `espalier run` makes the first"),
        (("data", "add", "/nowhere/at/all"), "no file at /nowhere/at/all"),
        (("stage", "instruct", "--recipe", "tiny"), "corpus must run first"),
        (("data", "label", "/nowhere.jsonl"), "/nowhere.jsonl: there is no such file"),
        (("deploy",), "`espalier up` first"),
    ],
)
def test_wrong_input_is_one_sentence(espalier: Any, arguments: tuple[str, ...], sentence: str) -> None:
    result = espalier(*arguments)
    assert result.returncode == 2, result.stderr
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_key_is_refused_before_anything_runs(espalier: Any) -> None:
    result = espalier("run", "--recipe", "tiny", "--set", "pretrain.training.optimzer={learning_rate: 1.0e-2}")
    assert result.returncode == 2
    assert "tiny.yaml: pretrain.training.optimzer: unknown key; did you mean optimizer?" in result.stderr
    assert not (espalier.workspace / ".espalier" / "data").exists()


def test_a_second_run_says_who_holds_the_checkout(espalier: Any) -> None:
    home = espalier.workspace / ".espalier"
    home.mkdir()
    with RunLock(home / "run.lock"):
        result = espalier("run", "--recipe", "tiny")
    assert result.returncode == 2
    assert f"process {os.getpid()}, since {time.strftime('%Y-%m-%d')}" in result.stderr


def test_a_dead_holders_lock_is_broken(espalier: Any) -> None:
    home = espalier.workspace / ".espalier"
    home.mkdir()
    (home / "run.lock").write_text('{"pid": 1, "started": 1.0, "since": "yesterday"}')
    result = espalier("run", "--recipe", "tiny", "--set", "data=mine")
    assert "there is no corpus mine" in result.stderr


def test_a_message_without_a_word_is_refused(espalier: Any) -> None:
    result = espalier("chat", "--once", " ")
    assert result.returncode == 2
    assert "--once: there is no message in it; write one" in result.stderr


def test_every_command_has_help_with_an_example(espalier: Any) -> None:
    top = espalier("--help")
    assert top.returncode == 0
    for command in ("run", "stage", "up", "down", "status", "deploy", "chat", "doctor", "evaluate"):
        assert command in top.stdout
        assert "example:" in espalier(command, "--help").stdout, command
    for command in ("list", "show", "explain", "history", "rollback", "verify"):
        assert "example:" in espalier("models", command, "--help").stdout, command


def test_doctor_finds_this_checkout_in_order(espalier: Any) -> None:
    result = espalier("doctor", "--json")
    assert result.returncode == 0, result.stdout
    assert Path(espalier.workspace).name in result.stdout
