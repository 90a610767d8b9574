"""What a model writes, with the probability with which it does: answers to questions, and texts that it goes on with."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.sampling import SamplingConfig, sample
from tasks.evaluation.subject import Subject

_AT_ONCE = 128

Told = Callable[[int], None]  # how many more were answered


@dataclass(frozen=True, kw_only=True)
class Said:
    """`probability` is that of all its tokens and its end together, at the temperature it was drawn with."""

    text: str
    probability: float


def answers(subject: Subject, questions: Sequence[str], config: SamplingConfig, told: Told) -> list[Said]:
    """In turns to a model that talks; to another as `Q: ...` and `A:`, where an answer ends with its line."""
    if subject.talks:
        return _written(subject, [_turn(subject, each) for each in questions], config, told)
    ids = [_text(subject, f"Q: {each}\nA:") for each in questions]
    return _written(subject, ids, config, told, ends_with_line=True)


def continuations(
    subject: Subject, beginnings: Sequence[str], config: SamplingConfig, told: Told, *, seed: int
) -> list[Said]:
    """Of texts that break off; a model that talks is given them as a user's turn. Each place has draws of its own."""
    if subject.talks:
        return _written(subject, [_turn(subject, each) for each in beginnings], config, told, seed=seed)
    ids = [_text(subject, each) for each in beginnings]
    return _written(subject, ids, config, told, seed=seed)


def _text(subject: Subject, text: str) -> list[int]:
    return [*subject.tokenizer.opening_ids, *subject.tokenizer.encode_text(text)]


def _turn(subject: Subject, text: str) -> list[int]:
    return subject.tokenizer.encode_prompt([{"role": "user", "content": text}])


def _written(
    subject: Subject,
    ids: Sequence[list[int]],
    config: SamplingConfig,
    told: Told,
    *,
    seed: int = 0,
    ends_with_line: bool = False,
) -> list[Said]:
    tokenizer = subject.tokenizer

    def line_ended(tokens: Sequence[int]) -> bool:
        return "\n" in tokenizer.decode(tokens[-1:])

    found = []
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        found += sample(
            subject.model, some, config, seed=seed, keys=range(start, start + len(some)), pad_id=tokenizer.pad_id,
            stop_ids=frozenset({tokenizer.end_id, tokenizer.end_of_text_id}),
            is_complete=line_ended if ends_with_line else None,
        )  # fmt: skip
        told(len(some))
    return [
        Said(text=tokenizer.decode(each.tokens).strip(), probability=math.exp(sum(each.log_probabilities)))
        for each in found
    ]
