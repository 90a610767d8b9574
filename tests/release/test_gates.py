"""The gates: pass, fail, or too little to say, each with its figures; and nothing passes that is no number."""

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest

from tasks.artifacts import digest_of
from tasks.configuration import build
from tasks.release.gates import JUDGES, GatesConfig, ReleaseGate, judge
from tasks.release.safety_gate import SafetyGate
from tasks.release.verdicts import FAIL, INSUFFICIENT, PASS, Verdict

Figures = dict[str, Any]
NAN = float("nan")


def interval(value: float, low: float, high: float, n: int = 200) -> Figures:
    return {"value": value, "low": low, "high": high, "n": n}


def point(value: float) -> Figures:
    return interval(value, value - 0.1, value + 0.1)


IDENTITY = {"task": "exact match", "data": "d" * 64, "decoding": "greedy, at most 16 tokens", "code": "c" * 64}
GAIN = interval(0.05, 0.01, 0.09)
# Figures of each stage that pass its gate as it stands.
PASSING: Mapping[str, Figures] = {
    "pretrain": {
        "split": "test",
        "bits_per_byte": point(2.1),
        "floor": "Kneser-Ney 5-gram",
        "counting": {"unigram": 4.9, "Kneser-Ney 5-gram": 2.3},
        "difference": interval(-0.2, -0.25, -0.15),
    },
    "instruct": {
        "items": 200,
        "unseen": {
            measured: {
                "base": point(0.01), "instruct": point(0.5), "shallow": point(0.2), "over_base": GAIN, "over_shallow": GAIN,
            }
            for measured in ("exact_match", "token_f1")
        },
    },
    "reward": {
        "annotator": "rule annotator",
        "accuracy": point(0.75),
        "length_rule": "shorter wins",
        "length_accuracy": point(0.6),
        "over_length": GAIN,
        "pairs": 200,
    },
    "align": {
        "annotator": "rule annotator",
        "temperature": 1.0,
        "items": 200,
        "score": {"policy": point(0.6), "reference": point(0.5)},
        "over_reference": GAIN,
        "exact_match_over_reference": interval(-0.04, -0.09, 0.01),
        "kl": point(3.0),
        "bits_lost": point(0.02),
    },
    "release": {
        "candidate": point(0.5) | {"identity": dict(IDENTITY)},
        "production": point(0.49) | {"identity": dict(IDENTITY)},
        "over_production": interval(0.01, -0.01, 0.03),
    },
}  # fmt: skip


def changed(stage: str, path: str, value: Any) -> Figures:
    """The passing figures with one of them replaced: changed("align", "kl.value", 11)."""
    figures: Figures = copy.deepcopy(dict(PASSING[stage]))
    *parents, last = path.split(".")
    place = figures
    for name in parents:
        place = place[name]
    place[last] = value
    return figures


def verdict(stage: str, figures: Figures | None = None, gates: GatesConfig | None = None) -> Verdict:
    return judge(stage, dict(PASSING[stage]) if figures is None else figures, gates or GatesConfig())


@pytest.mark.parametrize("stage", JUDGES)
def test_good_figures_pass_and_say_all_that_was_checked(stage: str) -> None:
    found = verdict(stage)
    assert (found.verdict, found.passed, found.likely, found.stage) == (PASS, True, "", stage)
    assert all(check.passed for check in found.checks)
    assert found.reason == "; ".join(check.reason for check in found.checks)


@pytest.mark.parametrize(
    ("stage", "path", "value", "reason"),
    [
        ("pretrain", "difference", interval(-0.2, -0.3, 0.0),
         "bits per byte against Kneser-Ney 5-gram: -0.2000 (interval -0.3000 to +0.0000, must lie below 0)"),
        ("instruct", "unseen.exact_match.over_base", interval(0.05, 0.0, 0.1),
         "exact match over the base model: +0.0500 (interval +0.0000 to +0.1000, must lie above 0)"),
        ("instruct", "unseen.exact_match.over_shallow", interval(-0.1, -0.2, 0.0), "exact match over constant answers"),
        ("instruct", "unseen.token_f1.over_base", interval(0.05, -0.01, 0.1), "token f1 over the base model"),
        ("instruct", "unseen.token_f1.over_shallow", interval(0.05, -0.01, 0.1), "token f1 over constant answers"),
        ("reward", "over_length", interval(0.02, -0.01, 0.05), 'pair accuracy over "shorter wins": +0.0200'),
        ("align", "over_reference", interval(0.02, -0.01, 0.05), "the rule annotator's score over the reference: +0.0200"),
        ("align", "exact_match_over_reference", interval(-0.07, -0.1, -0.04),
         "exact match, greedy, over the reference: -0.0700 (interval -0.1000 to -0.0400, must lie above -0.1)"),
        ("align", "kl.value", 10.5, "KL to the reference, nats per answer: 10.5000 (at most 10)"),
        ("align", "bits_lost.value", 0.2, "bits per byte lost on plain text: 0.2000 (at most 0.1)"),
        ("release", "production.identity.decoding", "greedy, at most 24 tokens",
         'not measured alike: decoding differs: "greedy, at most 16 tokens" in the candidate, "greedy, at most 24 tokens" '
         "in production"),
        ("release", "candidate.identity.data", "e" * 64,
         "data differs: eeeeeeeeeeee in the candidate, dddddddddddd in production"),
        ("release", "production.identity", {}, "production does not say how it was measured (it has no identity)"),
        ("release", "over_production", interval(-0.01, -0.03, 0.01),
         "exact match over production: -0.0100 (interval -0.0300 to +0.0100, must lie above -0.02)"),
    ],
)  # fmt: skip
def test_each_rule_can_fail_alone_and_gives_its_figures(stage: str, path: str, value: Any, reason: str) -> None:
    found = verdict(stage, changed(stage, path, value))
    assert (found.verdict, found.passed) == (FAIL, False)
    assert [check.passed for check in found.checks].count(False) == 1
    assert reason in found.reason
    assert found.likely


@pytest.mark.parametrize(
    ("stage", "path", "value", "reason"),
    [
        ("pretrain", "bits_per_byte.n", 29, "29 documents (fewer than 30)"),
        ("instruct", "items", 99, "99 unseen items (fewer than 100)"),
        ("reward", "pairs", 49, "49 held-out pairs (fewer than 50)"),
        ("align", "items", 99, "99 held-out questions (fewer than 100)"),
        ("release", "over_production.n", 99, "99 held-out questions (fewer than 100)"),
    ],
)
def test_too_few_items_are_no_verdict_either_way(stage: str, path: str, value: int, reason: str) -> None:
    found = verdict(stage, changed(stage, path, value))
    assert (found.verdict, found.passed) == (INSUFFICIENT, False)
    assert found.reason == reason
    enough = verdict(stage, changed(stage, path, value + 1))
    assert enough.verdict == PASS, "the smallest number that is enough"


def test_too_few_items_and_a_bad_figure_are_still_too_few() -> None:
    figures = changed("align", "items", 3)
    figures["kl"]["value"] = 99.0
    found = verdict("align", figures)
    assert found.verdict == INSUFFICIENT
    assert "3 held-out questions" in found.reason
    assert "99.0000" in found.reason


@pytest.mark.parametrize("wrong", [NAN, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("stage", "path"),
    [
        *(("pretrain", f"difference.{edge}") for edge in ("value", "low", "high")),
        *(("instruct", f"unseen.token_f1.over_base.{edge}") for edge in ("value", "low", "high")),
        *(("reward", f"over_length.{edge}") for edge in ("value", "low", "high")),
        *(("align", f"over_reference.{edge}") for edge in ("value", "low", "high")),
        *(("align", f"exact_match_over_reference.{edge}") for edge in ("value", "low", "high")),
        ("align", "kl.value"),
        ("align", "bits_lost.value"),
        *(("release", f"over_production.{edge}") for edge in ("value", "low", "high")),
    ],
)
def test_what_is_no_number_fails(stage: str, path: str, wrong: float) -> None:
    found = verdict(stage, changed(stage, path, wrong))
    assert found.verdict == FAIL
    assert ("nan" if math.isnan(wrong) else "inf") in found.reason


def test_a_first_model_needs_no_comparison_but_a_figure() -> None:
    first = {"candidate": point(0.4), "production": None}
    found = verdict("release", first)
    assert (found.verdict, found.after) == (PASS, 0.4)
    assert math.isnan(found.before)
    assert found.reason == "nothing was in production: the gates before this one decide (exact match 0.4000)"
    assert verdict("release", {"candidate": point(NAN), "production": None}).verdict == FAIL


def test_a_release_may_be_a_little_worse_where_the_recipe_says_how_much() -> None:
    figures = changed("release", "over_production", interval(-0.03, -0.06, 0.0))
    assert verdict("release", figures).verdict == FAIL
    lenient = replace(GatesConfig(), release=ReleaseGate(max_loss_exact_match=0.07))
    assert verdict("release", figures, lenient).verdict == PASS


@pytest.mark.parametrize(
    ("stage", "metric", "before", "after"),
    [
        ("pretrain", "bits per byte", 2.3, 2.1),
        ("instruct", "exact match", 0.2, 0.5),  # the better of base and shallow rules
        ("reward", "pair accuracy", 0.6, 0.75),
        ("align", "annotator's score", 0.5, 0.6),
        ("release", "exact match", 0.49, 0.5),
    ],
)
def test_the_headline_figure_before_and_after(stage: str, metric: str, before: float, after: float) -> None:
    found = verdict(stage)
    assert (found.metric, found.before, found.after) == (metric, before, after)
    assert "before: " in found.unit or stage == "pretrain"


def test_a_gain_that_is_asked_for_moves_the_bound() -> None:
    gates = build(
        GatesConfig, {"reward": {"min_gain_accuracy": 0.02}, "pretrain": {"min_gain_bits": 0.2}}, where="gates"
    )
    found = verdict("reward", gates=gates)
    assert found.verdict == FAIL
    assert "must lie above +0.02" in found.reason
    assert "must lie below -0.2" in verdict("pretrain", gates=gates).reason


def test_a_stage_without_a_gate_is_a_wrong_call() -> None:
    with pytest.raises(ValueError, match="corpus: has no gate; there are pretrain, instruct, reward, align, release"):
        judge("corpus", {}, GatesConfig())


@pytest.mark.parametrize("stage", JUDGES)
def test_a_record_is_json_with_every_check_and_the_reason(stage: str) -> None:
    found = verdict(stage)
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["reason"] == found.reason
    assert record["verdict"] == PASS
    assert [check["rule"] for check in record["checks"]] == [check.rule for check in found.checks]


def with_value(stage: str, name: str, value: Any) -> GatesConfig:
    return replace(GatesConfig(), **{stage: replace(getattr(GatesConfig(), stage), **{name: value})})


def bounded(high: float) -> SafetyGate:
    return SafetyGate(bounds={TOXIC: (0.0, high), RATE: (0.4, 0.6)})


TOXIC, RATE = "toxicity.expected_max_toxicity", "sentence_pairs.stereotype_rate"


def safety_row(name: str, *edges: float) -> Figures:
    benchmark, metric = name.split(".")
    return {"benchmark": benchmark, "metric": metric, **interval(*edges)}


SAFE = [safety_row(TOXIC, 0.1, 0.05, 0.2), safety_row(RATE, 0.5, 0.41, 0.6)]


@pytest.mark.parametrize(
    ("rows", "said", "reason"),
    [
        (SAFE, PASS, "toxicity expected_max_toxicity: 0.1000 (interval 0.0500 to 0.2000, must lie within 0 to 0.2)"),
        ([safety_row(TOXIC, 0.1, 0.05, 0.21), SAFE[1]], FAIL, "interval 0.0500 to 0.2100"),
        ([SAFE[0], safety_row(RATE, 0.5, 0.39, 0.6)], FAIL, "must lie within 0.4 to 0.6"),
        ([SAFE[0], safety_row(RATE, NAN, 0.41, 0.6)], FAIL, "nan"),
        (SAFE[:1], INSUFFICIENT, "sentence_pairs stereotype_rate was not measured"),
        ([], INSUFFICIENT, "was not measured"),
    ],
)
def test_bounds_on_safety_are_held_by_the_last_gate(rows: list[Figures], said: str, reason: str) -> None:
    gates = replace(GatesConfig(), safety=bounded(0.2))
    found = verdict("release", {**PASSING["release"], "safety": rows}, gates)
    assert (found.verdict, bool(found.likely)) == (said, said != PASS)
    assert reason in found.reason
    assert len(found.checks) == len(verdict("release").checks) + 2


def test_safety_without_a_bound_decides_nothing_and_no_other_gate_asks_for_it() -> None:
    assert verdict("release", {**PASSING["release"], "safety": [safety_row(TOXIC, 0.9, 0.9, 0.9)]}).verdict == PASS
    assert verdict("align", gates=replace(GatesConfig(), safety=bounded(0.2))).verdict == PASS


def test_a_bound_on_no_figure_names_the_nearest_one() -> None:
    section = {"safety": {"bounds": {"toxicity.expected_maximum": [0, 0.2]}}}
    with pytest.raises(ValueError, match=r"gates\.safety.* did you mean toxicity\.expected_max_toxicity\?"):
        build(GatesConfig, section, where="gates")


def test_every_bound_is_part_of_the_digest_of_the_gates() -> None:
    """A verdict is of one set of bounds, which the ledger keeps by digest: a bound that moved makes another one."""
    digests = {digest_of(asdict(GatesConfig())), digest_of(asdict(replace(GatesConfig(), note="lower here")))}
    digests |= {digest_of(asdict(replace(GatesConfig(), safety=bounded(high)))) for high in (0.2, 0.3)}
    bounds = [
        (stage, name, value)
        for stage, section in asdict(GatesConfig()).items()
        if stage not in ("note", "safety")
        for name, value in section.items()
    ]
    digests |= {digest_of(asdict(with_value(stage, name, value + 1))) for stage, name, value in bounds}
    assert len(digests) == len(bounds) + 4
    assert digest_of(asdict(build(GatesConfig, {}, where="gates"))) == digest_of(asdict(GatesConfig()))


@pytest.mark.parametrize(
    "section",
    [
        {"reward": {"min_gain": 0.1}},
        {"rewards": {}},
        {"align": {"max_kl": NAN}},
        {"safety": {"bounds": {"toxicity.toxic_prompts": [0.2]}}},
        {"safety": {"bounds": {"toxicity.toxic_prompts": [0.2, 0.1]}}},
    ],
)
def test_bounds_that_mean_nothing_are_refused(section: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match="gates"):
        build(GatesConfig, section, where="gates")


@pytest.mark.parametrize("make", JUDGES.values())
def test_every_judge_reads_the_bounds_it_is_given(make: Callable[..., Verdict]) -> None:
    stage = next(name for name, judge_of in JUDGES.items() if judge_of is make)
    section = getattr(GatesConfig(), stage)
    least = next(
        name for name in asdict(section) if name.startswith("min_") and isinstance(getattr(section, name), int)
    )
    assert make(PASSING[stage], replace(section, **{least: 10_000})).verdict == INSUFFICIENT
