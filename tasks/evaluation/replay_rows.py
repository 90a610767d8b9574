"""The figures of a replay: one row for each benchmark, number of shots, rule and metric."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tasks.evaluation.extraction import CODE
from tasks.evaluation.golds import comparable, is_right
from tasks.evaluation.intervals import Interval, grouped_interval, scores_interval, share_interval
from tasks.evaluation.overlap import rouge_l, rouge_n, squad_f1
from tasks.evaluation.repeats import majority, pass_at_k
from tasks.evaluation.replay import RIGHT, UNPARSED, Decision

Score = Callable[[str, Sequence[str]], float]
# beside exact match
SCORES: Mapping[str, Mapping[str, Score]] = {
    "text": {"f1": squad_f1},
    "summary": {
        "rouge1": lambda said, golds: max(rouge_n(said, gold, 1) for gold in golds),
        "rouge2": lambda said, golds: max(rouge_n(said, gold, 2) for gold in golds),
        "rougeL": lambda said, golds: max(rouge_l(said, gold) for gold in golds),
    },
}
PASS_AT = (1, 10, 100)

Questions = Sequence[Sequence[Decision]]


def rows_of(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """In the order in which the benchmarks come up; the interval is over questions where these have several samples."""
    groups: defaultdict[tuple[str, str, int | None, str], list[Decision]] = defaultdict(list)
    for each in decisions:
        groups[each.of.benchmark, each.of.answer_type, each.of.shots, each.of.mode].append(each)
    rows = []
    for (benchmark, answer_type, shots, mode), own in groups.items():
        unparsed = sum(each.verdict == UNPARSED for each in own)
        known = {"benchmark": benchmark, "shots": shots, "mode": mode}
        counts = {"unparsed": unparsed, "unparsed_share": unparsed / len(own)}
        for metric, interval in _metrics(_by_question(own), answer_type).items():
            rows.append({**known, "metric": metric, **interval.record(), **counts})
    return rows


def _by_question(decisions: Sequence[Decision]) -> Questions:
    """Samples of one question together; a line without a question is one of its own."""
    groups: defaultdict[object, list[Decision]] = defaultdict(list)
    for each in decisions:
        groups[each.of.line if each.of.question is None else (each.of.question, each.of.golds)].append(each)
    return list(groups.values())


def _metrics(questions: Questions, answer_type: str) -> dict[str, Interval]:
    samples = {len(some) for some in questions}
    if answer_type == CODE:
        return {f"pass@{k}": _passed(questions, k) for k in PASS_AT if k <= min(samples)}
    found = {"exact_match": _mean(questions, lambda each: float(each.verdict == RIGHT))}
    for metric, score in SCORES.get(answer_type, {}).items():
        found[metric] = _mean(questions, partial(_scored, score))
    if len(samples) == 1 and samples != {1}:
        found[f"maj@{samples.pop()}"] = share_interval(sum(map(_majority_is_right, questions)), len(questions))
    return found


def _scored(score: Score, decision: Decision) -> float:
    return score(decision.extracted or "", decision.of.golds)


def _mean(questions: Questions, score: Callable[[Decision], float]) -> Interval:
    """Over all samples, which `n` counts; questions are resampled."""
    values = [[score(each) for each in some] for some in questions]
    if all(len(some) == 1 for some in values):
        return scores_interval([some[0] for some in values])
    return grouped_interval(values)


def _passed(questions: Questions, k: int) -> Interval:
    """The mean over questions of the chance that one of k samples passes."""
    right = [sum(each.verdict == RIGHT for each in some) for some in questions]
    return scores_interval([pass_at_k(len(some), count, k) for some, count in zip(questions, right, strict=True)])


def _majority_is_right(samples: Sequence[Decision]) -> bool:
    """Self-consistency: the answer of most samples of a question (Wang et al. 2022)."""
    of = samples[0].of
    answer = majority(comparable(each.extracted, of.answer_type) for each in samples if each.extracted)
    return answer is not None and is_right(answer, of.golds, of.answer_type)
