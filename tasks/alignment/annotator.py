"""The rule annotator: a written rule that judges an answer to an instruction item.

It stands where human labels are missing, labels preference pairs and judges held-out answers; it is never the reward that
reinforcement learning climbs (that is the learned reward model's). The rule, in full:

    score = 0.70 correct + 0.10 complete + 0.10 brief + 0.10 no_repetition,   every part in [0, 1]

    correct        1 for the gold answer (case, punctuation and outer space aside); else half of the word F1 with it
    complete       1 when the answer ended by itself and says something; 0 when it was cut off or is empty
    brief          1 up to twice the gold answer's words (at least three); beyond that allowed / said
    no_repetition  share of the answer's words that do not repeat the word before them or close a doubled pair of words

An empty answer scores 0 in every part.
"""

import hashlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.evaluation import answers, overlap
from tasks.evaluation.answers import normalised_words
from tasks.evaluation.overlap import word_f1

NAME = "rule annotator"
WEIGHTS: Mapping[str, float] = {"correct": 0.70, "complete": 0.10, "brief": 0.10, "no_repetition": 0.10}
ALLOWED_LENGTH_RATIO = 2.0
SHORTEST_ALLOWED_WORDS = 3
PARTIAL_CREDIT = 0.5


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """`score` in [0, 1]; `parts` are what it is made of; `reasons` say in words what cost points."""

    score: float
    parts: Mapping[str, float]
    reasons: tuple[str, ...]


def score(answer: str, *, gold: str, finished: bool) -> Judgement:
    """Judge one answer to a question whose right answer is `gold`; `finished`: it ended with the end mark.

    score("Three.", gold="three", finished=True)
    -> score 1.0, every part 1.0, no reasons
    score("three three three three", gold="three", finished=False)
    -> correct 0.2 (half of F1 0.4), complete 0, brief 0.75 (3 of 4 words), no_repetition 0.25; score 0.24
    """
    if not gold.strip():
        raise ValueError("the rule annotator needs a gold answer, found an empty one: give the item's answer")
    said, wanted = normalised_words(answer), normalised_words(gold)
    if not answer.strip():
        return Judgement(score=0.0, parts=dict.fromkeys(WEIGHTS, 0.0), reasons=("the answer is empty",))
    parts = {
        "correct": 1.0 if said == wanted else PARTIAL_CREDIT * word_f1(said, wanted),
        "complete": 1.0 if finished else 0.0,
        "brief": _brief(said, wanted),
        "no_repetition": _no_repetition(said),
    }
    total = sum(WEIGHTS[name] * part for name, part in parts.items())
    return Judgement(score=round(total, 6), parts=parts, reasons=_reasons(parts))


def _brief(said: tuple[str, ...], wanted: tuple[str, ...]) -> float:
    allowed = max(SHORTEST_ALLOWED_WORDS, int(ALLOWED_LENGTH_RATIO * len(wanted)))
    return min(1.0, allowed / len(said))


def _no_repetition(said: tuple[str, ...]) -> float:
    repeats = {place for place in range(1, len(said)) if said[place] == said[place - 1]}
    repeats |= {place for place in range(3, len(said)) if said[place - 1 : place + 1] == said[place - 3 : place - 1]}
    return 1.0 - len(repeats) / len(said)


def _reasons(parts: Mapping[str, float]) -> tuple[str, ...]:
    sentences = {
        "correct": "the answer is not the expected one",
        "complete": "the answer was cut off before it ended",
        "brief": "the answer is longer than the question needs",
        "no_repetition": "the answer repeats itself",
    }
    return tuple(sentence for name, sentence in sentences.items() if parts[name] < 1.0)


def rule_digest() -> str:
    """sha256 of the rule's source, its comparison of words included: another rule is another annotator."""
    sources = [inspect.getsource(module) for module in (sys.modules[__name__], answers, overlap)]
    return hashlib.sha256("".join(sources).encode()).hexdigest()
