"""Recorded completions, a line each, read from a file of JSON lines.

{"benchmark": "gsm8k", "completion": "... #### 18", "gold": "18"}; instead of a known benchmark, or beside a name of one's
own, "answer_type". Optional: "question" (lines that share it are samples of one question), "choices", "shots", "mode".
Other keys are passed over.
"""

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.corpus.json_lines import numbered_lines
from tasks.evaluation.answer_types import TYPES, AnswerType, known_benchmarks, of_benchmark, plain_name
from tasks.evaluation.extraction import modes
from tasks.evaluation.golds import golds_of


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One line; `golds` are in the form in which answers are compared with them."""

    line: int
    benchmark: str
    answer_type: str
    letters: str
    choices: tuple[str, ...]
    mode: str
    shots: int | None
    question: str | None
    continues: bool
    completion: str
    golds: tuple[str, ...]


def read_completions(path: Path) -> list[Completion]:
    """ValueError with file, line and mend for the first line that cannot be scored."""
    if not path.exists() or path.is_dir():  # a pipe is read too
        raise ValueError(f'{path}: there is no such file; give JSON lines {{"benchmark", "completion", "gold"}}')
    found = []
    for number, line in numbered_lines(path):
        try:
            found.append(_completion(number, line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    if not found:
        raise ValueError(f'{path}: holds no line; give JSON lines {{"benchmark", "completion", "gold"}}')
    return found


def _completion(number: int, line: Mapping[str, Any]) -> Completion:
    if any("\ud800" <= character <= "\udfff" for character in json.dumps(line, ensure_ascii=False)):
        raise ValueError("holds half of a character (\\ud800 to \\udfff); write both halves of the surrogate pair")
    kind = _kind(line)
    choices = _choices(line)
    letters = string.ascii_uppercase[: len(choices)] if choices else kind.letters
    if "gold" not in line:
        raise ValueError("gold is missing; give the right answer")
    return Completion(
        line=number,
        benchmark=_benchmark(line, kind),
        answer_type=kind.type,
        letters=letters,
        choices=choices,
        mode=_mode(line, kind),
        shots=_shots(line),
        question=_text(line, "question"),
        continues=kind.continues,
        completion=_needed(line, "completion"),
        golds=golds_of(line["gold"], kind.type, letters, choices),
    )


def _kind(line: Mapping[str, Any]) -> AnswerType:
    named, type_ = _text(line, "benchmark"), _text(line, "answer_type")
    if type_ is None:
        if named is None:
            raise ValueError('benchmark is missing; name one, or give "answer_type": ' + ", ".join(TYPES))
        return of_benchmark(named)
    if type_ not in TYPES:
        raise ValueError(f"answer_type {type_!r} is not known; give one of {', '.join(TYPES)}")
    known = known_benchmarks().get(plain_name(named or ""))
    return known if known and known.type == type_ else AnswerType(type=type_)


def _benchmark(line: Mapping[str, Any], kind: AnswerType) -> str:
    """Its known spelling, its own, or the type of its answers where it has no name."""
    named = _text(line, "benchmark")
    if named is None:
        return kind.type
    return plain_name(named) if plain_name(named) in known_benchmarks() else named


def _mode(line: Mapping[str, Any], kind: AnswerType) -> str:
    mode = _text(line, "mode") or kind.mode
    if mode not in modes(kind.type):
        raise ValueError(f"mode {mode!r} is no rule for a {kind.type}; give one of {', '.join(modes(kind.type))}")
    return mode


def _shots(line: Mapping[str, Any]) -> int | None:
    shots = line.get("shots")
    if shots is not None and (isinstance(shots, bool) or not isinstance(shots, int) or shots < 0):
        raise ValueError(f"shots: expected a whole number from 0 on, found {shots!r}; leave it out if it is not known")
    return shots


def _choices(line: Mapping[str, Any]) -> tuple[str, ...]:
    choices = line.get("choices")
    if choices is None:
        return ()
    if (
        not isinstance(choices, list)
        or not all(isinstance(each, str) for each in choices)
        or not 2 <= len(choices) <= 26
    ):
        raise ValueError("choices: expected a list of 2 to 26 texts, in the order of their letters")
    return tuple(choices)


def _needed(line: Mapping[str, Any], name: str) -> str:
    found = _text(line, name)
    if found is None:
        raise ValueError(f"{name} is missing; give what the model wrote, as a text")
    return found


def _text(line: Mapping[str, Any], name: str) -> str | None:
    found = line.get(name)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{name}: expected a text, found {type(found).__name__}")
    return found
