"""DVC as a child process: one writer per workspace; its words turned into what ran, what did not, and why it failed.

dvc.lock is git-ignored; its bytes are the version of the data, and are kept per run elsewhere.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from infra.processes import file_lock, start_process, terminate_tree
from infra.settings import Settings, child_environment

OnLine = Callable[[str], None]

RAN, UNCHANGED, RESTORED = "ran", "unchanged", "restored"
_OUTCOMES = (
    (re.compile(r"^Running stage '(.+)':"), RAN),
    (re.compile(r"^Stage '(.+)' didn't change, skipping"), UNCHANGED),
    (re.compile(r"^Stage '(.+)' is cached - skipping run"), RESTORED),
)
_FAILED_STAGE = re.compile(r"^ERROR: failed to reproduce '(.+?)'")


class DataFailed(Exception):
    """A data stage failed: one sentence with the stage's own last words, and where its log is."""

    def __init__(self, message: str, log: Path, stage: str | None = None, is_input: bool = False) -> None:
        super().__init__(f"{message} (log: {log})")
        self.message = message
        self.log = log
        self.stage = stage
        self.is_input = is_input  # the stage refused what it was given: settings or data


def reproduce(
    settings: Settings,
    targets: Iterable[str],
    *,
    on_line: OnLine | None = None,
    single: bool = False,
    force: bool = False,
) -> dict[str, str]:
    """Stage name -> "ran", "unchanged" or "restored" (outputs taken from DVC's cache), in the order DVC saw them.

    `single` runs a (frozen) stage alone, without what it depends on. Waits while another process holds the workspace.
    """
    options = [*(["--single-item"] if single else []), *(["--force"] if force else [])]
    outcomes: dict[str, str] = {}
    spoken: list[str] = []
    status = 0
    # DVC itself waits only until a stage is under way: a second one that then wants the same stage fails as "busy"
    with file_lock(settings.home / "data.lock"), _DvcCommand(settings, "repro", *options, *targets) as lines:
        for line in lines:
            spoken.append(line)
            for pattern, outcome in _OUTCOMES:
                if found := pattern.match(line):
                    outcomes[found[1]] = outcome
            if on_line is not None:
                on_line(line)
        status = lines.status
    if status != 0:
        raise _failure(spoken, outcomes, settings)
    return outcomes


def changed(settings: Settings, targets: Iterable[str] = ()) -> dict[str, Any]:
    """What `dvc status --json` says: empty when every output is what its dependencies make of it."""
    with _DvcCommand(settings, "status", "--json", *targets) as lines:
        spoken = list(lines)
        status = lines.status
    if status != 0:
        raise _failure(spoken, {}, settings)
    documents = [line for line in spoken if line.startswith("{")]
    return dict(json.loads(documents[-1])) if documents else {}


def lock_bytes(settings: Settings) -> bytes:
    """The bytes of the dvc.lock files, one YAML document each: the version of all data; empty before the first stage."""
    return b"---\n".join(path.read_bytes() for path in settings.dvc_locks if path.exists())


def output_digests(settings: Settings) -> dict[str, str]:
    """Path of every output, as dvc.yaml spells it -> DVC's md5 of it (folders end in .dir)."""
    return {
        str(output["path"]): str(output["md5"])
        for lock in yaml.safe_load_all(lock_bytes(settings))
        for stage in (lock or {}).get("stages", {}).values()
        for output in stage.get("outs", [])
        if "md5" in output
    }


class _DvcCommand:
    """`dvc VERB...` as a context: iterate over its lines, then read `status`; left early, it is ended."""

    def __init__(self, settings: Settings, verb: str, *arguments: str) -> None:
        if not (settings.checkout / ".dvc" / "config").is_file():
            raise ValueError(f"{settings.checkout}: no .dvc/config there; run from a checkout of Espalier")
        self._command = [settings.python, "-m", "dvc", "--wait-for-lock", verb, *arguments]
        self._settings = settings
        self.status = 0

    def __enter__(self) -> "_DvcCommand":
        settings = self._settings
        settings.logs.mkdir(parents=True, exist_ok=True)
        self._log = data_log(settings).open("a", encoding="utf-8", buffering=1)
        self._log.write(f"$ {' '.join(self._command)}\n")
        environment = child_environment(settings, {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"})
        self._process = start_process(
            self._command,
            cwd=settings.checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # one stream keeps a stage's last words before DVC's own
        )
        return self

    def __iter__(self) -> Iterator[str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._log.write(line)
            yield line.rstrip()
        self.status = self._process.wait()

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            terminate_tree(self._process.pid)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()


def data_log(settings: Settings) -> Path:
    return settings.logs / "data.log"


def _failure(spoken: Sequence[str], outcomes: dict[str, str], settings: Settings) -> DataFailed:
    named = next((found[1] for line in spoken if (found := _FAILED_STAGE.match(line))), None)
    stage = named or next((name for name, outcome in reversed(outcomes.items()) if outcome == RAN), None)
    own = [line for line in spoken if line.strip() and not line.startswith(("ERROR", "WARNING", "Running stage", ">"))]
    errors = [line.removeprefix("ERROR: ") for line in spoken if line.startswith("ERROR")]
    ran = stage is not None and outcomes.get(stage) == RAN
    words = own[-1] if ran and own else (errors[-1] if errors else "dvc said nothing")
    reason = re.sub(r"^(?:[\w.]+\.)?ValueError: ", "", words.strip())
    sentence = f"{stage}: {reason}" if stage else reason
    return DataFailed(sentence, data_log(settings), stage, is_input=reason != words.strip())
