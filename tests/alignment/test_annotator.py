"""The written rule: each part by hand, and a digest that another rule does not have."""

from pathlib import Path

import pytest

from tasks.alignment import annotator
from tasks.alignment.annotator import Judgement, rule_digest, score
from tasks.evaluation import answers, overlap


def judged(answer: str, gold: str = "three", *, finished: bool = True) -> Judgement:
    return score(answer, gold=gold, finished=finished)


def test_the_right_answer_in_any_clothing_is_worth_everything() -> None:
    for answer in ("three", "Three.", "  THREE!\n", '"three"', "ＴＨＲＥＥ"):
        assert judged(answer) == Judgement(score=1.0, parts=dict.fromkeys(annotator.WEIGHTS, 1.0), reasons=())
    assert judged("그리고", "그리고.").score == 1.0


def test_the_example_of_the_rule_is_what_the_rule_says() -> None:
    found = judged("three three three three", finished=False)
    assert found.parts == {"correct": pytest.approx(0.2), "complete": 0.0, "brief": 0.75, "no_repetition": 0.25}
    assert found.score == pytest.approx(0.7 * 0.2 + 0.1 * 0.75 + 0.1 * 0.25)
    assert len(found.reasons) == 4


@pytest.mark.parametrize(
    ("answer", "gold", "correct", "brief", "no_repetition"),
    [
        ("four", "three", 0.0, 1.0, 1.0),
        ("it is three", "three", 0.5 * 2 * 1 / 4, 1.0, 1.0),  # one of three words, and one of one: F1 1/2
        ("the old tree", "the new tree", 0.5 * 2 / 3, 1.0, 1.0),
        ("a b c d e f", "three", 0.0, 0.5, 1.0),  # 3 words are allowed
        ("a b a b", "a b", 0.5 * 2 * 2 / 6, 1.0, 0.75),  # the second pair repeats the first
        ("no no", "three", 0.0, 1.0, 0.5),
    ],
)
def test_each_part_by_hand(answer: str, gold: str, correct: float, brief: float, no_repetition: float) -> None:
    parts = judged(answer, gold).parts
    expected = {"correct": correct, "complete": 1.0, "brief": brief, "no_repetition": no_repetition}
    assert parts == {name: pytest.approx(value) for name, value in expected.items()}


def test_to_be_cut_off_costs_what_completeness_weighs() -> None:
    whole, cut = judged("three"), judged("three", finished=False)
    assert whole.score - cut.score == pytest.approx(0.1)
    assert cut.reasons == ("the answer was cut off before it ended",)


@pytest.mark.parametrize("answer", ["", "   ", "\n\t"])
def test_an_empty_answer_is_worth_nothing(answer: str) -> None:
    assert judged(answer).score == 0.0
    assert judged(answer).reasons == ("the answer is empty",)


def test_signs_alone_are_an_answer_where_they_are_asked_for() -> None:
    assert judged("==", "==").score == 1.0
    assert judged("!=", "==").parts["correct"] == 0.0
    assert judged("...", "three").parts["correct"] == 0.0


def test_a_score_lies_between_0_and_1_and_the_weights_add_up() -> None:
    assert sum(annotator.WEIGHTS.values()) == pytest.approx(1)
    for answer in ("three", "x " * 500, "three " * 500, ".", "a b a b a b"):
        for finished in (True, False):
            found = judged(answer, finished=finished)
            assert 0 <= found.score <= 1
            assert all(0 <= part <= 1 for part in found.parts.values())
            assert (found.score == 1) == (not found.reasons)


def test_an_item_without_an_answer_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="needs a gold answer, found an empty one"):
        judged("three", " ")


def test_the_digest_is_the_rules_and_another_rule_has_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rule_digest() == rule_digest()
    assert len(rule_digest()) == 64
    before = rule_digest()
    for module in (annotator, answers, overlap):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        changed = tmp_path / f"{module.__name__}.py"
        changed.write_text(source + "\nANOTHER_RULE = True\n", encoding="utf-8")
        with monkeypatch.context() as patched:
            patched.setattr(module, "__file__", str(changed))
            assert rule_digest() != before, f"a change of {module.__name__} leaves the digest as it was"
