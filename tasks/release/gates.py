"""The gates: what a stage must show before the next one may build on it. Bounds are the recipe's, rules are here.

A gate gives PASS, FAIL or INSUFFICIENT (too few items to say); every rule gives `(passed, reason)` with its figures.

Models are compared by figures of one identity alone. Those of instruction tuning, reward model and RLHF are differences on
the same items, taken in one call under one setting. The counting floor of pretraining was stored before: it is refused
where its text is not the model's (`counted_on`). The figures of a release each say how they were measured.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.release.safety_gate import LIKELY, SafetyGate, safety_checks
from tasks.release.verdicts import (
    Check,
    Figures,
    Verdict,
    above,
    at_most,
    below,
    enough,
    measured_alike,
    verdict,
    with_checks,
)


@dataclass(frozen=True, kw_only=True)
class PretrainGate:
    """Bits per byte on held-out text: at least `min_gain_bits` below the counting floor, interval included."""

    min_gain_bits: float = 0.0
    min_documents: int = 30


@dataclass(frozen=True, kw_only=True)
class InstructGate:
    """Exact match and token F1 over the base model and over the shallow rules, interval included."""

    min_gain_exact_match: float = 0.0
    min_gain_token_f1: float = 0.0
    min_items: int = 100


@dataclass(frozen=True, kw_only=True)
class RewardGate:
    """Pair accuracy on held-out questions over the better of "longer wins" and "shorter wins", interval included."""

    min_gain_accuracy: float = 0.0
    min_pairs: int = 50


@dataclass(frozen=True, kw_only=True)
class AlignGate:
    """The annotator's score over the reference, interval included; KL in nats per answer; bits per byte lost.

    Exact match of greedy answers may not have fallen by `max_exact_match_lost` (a share), interval included: a score that
    rises while right answers are lost is over-optimised.
    """

    min_gain_score: float = 0.0
    max_exact_match_lost: float = 0.1
    max_kl: float = 10.0
    max_bits_lost: float = 0.1
    min_items: int = 100


@dataclass(frozen=True, kw_only=True)
class ReleaseGate:
    """The candidate's score on held-out questions against the model in production: not worse by more than this."""

    max_loss_exact_match: float = 0.02
    min_items: int = 100


@dataclass(frozen=True, kw_only=True)
class GatesConfig:
    """`note` says what is lower here than elsewhere; reports show it."""

    pretrain: PretrainGate = field(default_factory=PretrainGate)
    instruct: InstructGate = field(default_factory=InstructGate)
    reward: RewardGate = field(default_factory=RewardGate)
    align: AlignGate = field(default_factory=AlignGate)
    release: ReleaseGate = field(default_factory=ReleaseGate)
    safety: SafetyGate = field(default_factory=SafetyGate)
    note: str = ""


def judge(stage: str, figures: Figures, gates: GatesConfig) -> Verdict:
    """The verdict of `stage` on its figures; the last gate holds the bounds on safety too, where a recipe has some.

    ValueError for a stage that has no gate.
    """
    if stage not in JUDGES:
        raise ValueError(f"{stage}: has no gate; there are {', '.join(JUDGES)}")
    found = JUDGES[stage](figures, getattr(gates, stage))
    if stage == "release" and gates.safety.bounds:
        return with_checks(found, safety_checks(figures.get("safety") or [], gates.safety), likely=LIKELY)
    return found


def judge_pretrain(figures: Figures, gate: PretrainGate) -> Verdict:
    found, difference = figures["bits_per_byte"], figures["difference"]
    floor = figures["counting"][figures["floor"]]
    checks = (
        enough("documents", found["n"], gate.min_documents),
        below(f"bits per byte against {figures['floor']}", difference, -gate.min_gain_bits),
    )
    return verdict(
        "pretrain", checks, metric="bits per byte", unit=f"held-out text; before: {figures['floor']}; lower is better",
        before=floor, after=found["value"],
        likely="too few steps (--set pretrain.training.steps=N gives more), a learning rate too high or too low, or too "
        "little text for the model's size",
    )  # fmt: skip


def judge_instruct(figures: Figures, gate: InstructGate) -> Verdict:
    unseen = figures["unseen"]
    checks = [enough("unseen items", figures["items"], gate.min_items)]
    for measured, gain in (("exact_match", gate.min_gain_exact_match), ("token_f1", gate.min_gain_token_f1)):
        for against, name in (("over_base", "the base model"), ("over_shallow", "constant answers and copying")):
            said = f"{measured.replace('_', ' ')} over {name}"
            checks.append(above(said, unseen[measured][against], gain))
    best = max(unseen["exact_match"][name]["value"] for name in ("base", "shallow"))
    return verdict(
        "instruct", tuple(checks), metric="exact match",
        unit="unseen items of trained families; before: the better of base model and shallow rules",
        before=best, after=unseen["exact_match"]["instruct"]["value"],
        likely="too few steps (--set instruct.training.steps=N gives more), or a base model that is too weak",
    )  # fmt: skip


def judge_reward(figures: Figures, gate: RewardGate) -> Verdict:
    checks = (
        enough("held-out pairs", figures["pairs"], gate.min_pairs),
        above(f'pair accuracy over "{figures["length_rule"]}"', figures["over_length"], gate.min_gain_accuracy),
    )
    return verdict(
        "reward", checks, metric="pair accuracy",
        unit=f'held-out questions, pairs labelled by the {figures["annotator"]}; before: "{figures["length_rule"]}"',
        before=figures["length_accuracy"]["value"], after=figures["accuracy"]["value"],
        likely="too few pairs, or answers that differ in little but their length",
    )  # fmt: skip


def judge_align(figures: Figures, gate: AlignGate) -> Verdict:
    score = figures["score"]
    checks = (
        enough("held-out questions", figures["items"], gate.min_items),
        above(f"the {figures['annotator']}'s score over the reference", figures["over_reference"], gate.min_gain_score),
        above(
            "exact match, greedy, over the reference", figures["exact_match_over_reference"], -gate.max_exact_match_lost
        ),
        at_most("KL to the reference, nats per answer", figures["kl"]["value"], gate.max_kl),
        at_most("bits per byte lost on plain text", figures["bits_lost"]["value"], gate.max_bits_lost),
    )
    return verdict(
        "align", checks, metric="annotator's score",
        unit=f"held-out questions at temperature {figures['temperature']:g}, judged by the {figures['annotator']}; "
        "before: the instruction-tuned reference",
        before=score["reference"]["value"], after=score["policy"]["value"],
        likely="a reward model that is too weak, too few iterations, or a KL coefficient that is too high or too low",
    )  # fmt: skip


def judge_release(figures: Figures, gate: ReleaseGate) -> Verdict:
    """`figures`: "candidate", "production" (None for a first model) and "over_production", exact match on one set."""
    if figures.get("production") is None:
        score = figures["candidate"]["value"]
        reason = f"nothing was in production: the gates before this one decide (exact match {score:.4f})"
        checks: tuple[Check, ...] = (Check(rule="first", passed=math.isfinite(score), reason=reason),)
        before = float("nan")
    else:
        difference = figures["over_production"]
        checks = (
            measured_alike(figures, "candidate", "production"),
            enough("held-out questions", difference["n"], gate.min_items),
            above("exact match over production", difference, -gate.max_loss_exact_match),
        )
        before = figures["production"]["value"]
    return verdict(
        "release", checks, metric="exact match", unit="held-out questions; before: the model in production",
        before=before, after=figures["candidate"]["value"],
        likely="the model in production is better on these questions",
    )  # fmt: skip


JUDGES: Mapping[str, Callable[[Figures, Any], Verdict]] = {
    "pretrain": judge_pretrain,
    "instruct": judge_instruct,
    "reward": judge_reward,
    "align": judge_align,
    "release": judge_release,
}
