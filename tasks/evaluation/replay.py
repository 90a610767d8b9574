"""Recorded completions scored again: every decision with its rule, and a row for each benchmark and metric.

Lines of another number of shots or another rule are never averaged together.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.artifacts import digest_of, file_sha256
from tasks.evaluation.completions import Completion, read_completions
from tasks.evaluation.extraction import CODE, extract
from tasks.evaluation.golds import is_right
from tasks.evaluation.sandbox import PASSED, run_program

RIGHT, WRONG, UNPARSED = "right", "wrong", "unparsed"
# what decides about a verdict or a figure; their bytes are part of a replay's identity
DECIDING = (
    "answer_types.py", "answer_types.yaml", "completions.py", "extraction.py", "golds.py", "intervals.py", "overlap.py",
    "repeats.py", "replay.py", "replay_rows.py", "sandbox.py", "sandbox_child.py",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was made of one completion; `reason` says why a program did not pass."""

    of: Completion
    extracted: str | None
    verdict: str
    rule: str
    reason: str = ""

    def record(self) -> dict[str, Any]:
        gold = self.of.golds[0] if len(self.of.golds) == 1 else list(self.of.golds)
        of = {name: getattr(self.of, name) for name in ("line", "benchmark", "shots", "mode", "question")}
        said = {"extracted": self.extracted, "gold": gold, "verdict": self.verdict, "rule": self.rule}
        return {**of, **said, **({"reason": self.reason} if self.of.answer_type == CODE else {})}


def read(path: Path, *, run_code: bool = False) -> list[Completion]:
    """ValueError for a file that cannot be scored, or that holds programs when these are not to be run."""
    completions = read_completions(path)
    programs = [each.line for each in completions if each.answer_type == CODE]
    if programs and not run_code:
        raise ValueError(
            f"{path}, line {programs[0]}: is a program, and a model's program runs only when asked for; add --run-code"
        )
    return completions


def decide(of: Completion) -> Decision:
    """Right, wrong, or unparsed where the rule finds no answer (and none is not the right one); a program is run."""
    found = extract(of.completion, of.answer_type, of.mode, shots=of.shots, letters=of.letters)
    reason = ""
    if found.answer is None:
        nothing_is_right = of.answer_type == "text" and is_right("", of.golds, of.answer_type)
        verdict = RIGHT if nothing_is_right else UNPARSED
    elif of.answer_type == CODE:
        outcome = run_program(program_of(of, found.answer))
        verdict = RIGHT if outcome.verdict == PASSED else WRONG
        reason = "" if outcome.verdict == PASSED else f"{outcome.verdict}: {outcome.reason}"
    else:
        verdict = RIGHT if is_right(found.answer, of.golds, of.answer_type) else WRONG
    return Decision(of=of, extracted=found.answer, verdict=verdict, rule=found.rule, reason=reason)


def program_of(of: Completion, code: str) -> str:
    """The completion, after the question where it goes on from there, and its tests."""
    beginning = of.question or "" if of.continues else ""
    return f"{beginning}{code}\n\n{of.golds[0]}\n"


def identity_of(completions: Sequence[Completion]) -> str:
    """A digest of the lines, the rules and the code that decides; never of a path or of where in the file a line stands."""
    lines = [{name: value for name, value in asdict(each).items() if name != "line"} for each in completions]
    return digest_of({"lines": lines, "code": {name: file_sha256(Path(__file__).with_name(name)) for name in DECIDING}})
