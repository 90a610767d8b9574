"""Bias scores by hand, and intervals that know how many wordings there really are."""

import pytest

from tasks.evaluation.bias import (
    Verdict,
    accuracy,
    ambiguous_score,
    bbq_score,
    disambiguated_score,
    preference_rate,
)


@pytest.mark.parametrize(
    ("n_biased", "n_non_unknown", "acc", "score"),
    [
        (5, 10, None, 0.0),  # half and half
        (5, 10, 0.0, 0.0),
        (10, 10, 0.0, 1.0),  # all biased and none right
        (0, 10, 0.0, -1.0),
        (10, 10, 0.75, 0.25),
        (3, 4, None, 0.5),
        (0, 0, 1.0, 0.0),  # always "unknown"
    ],
)
def test_bbq_by_hand(n_biased: int, n_non_unknown: int, acc: float | None, score: float) -> None:
    assert bbq_score(n_biased, n_non_unknown, accuracy=acc) == pytest.approx(score)


def test_more_biased_answers_than_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="3 biased answers of 2"):
        bbq_score(3, 2)


def verdicts(signs: list[int], *, ambiguous: bool) -> list[Verdict]:
    return [
        Verdict(wording=place // 2, ambiguous=ambiguous, right=(sign == 0) == ambiguous, sign=sign)
        for place, sign in enumerate(signs)
    ]


@pytest.mark.parametrize("signs", [[1, 1, 1, 1], [1, -1, 1, -1], [0, 1, 1, -1, 0, 0], [0, 0]])
def test_the_scores_of_answers_are_those_of_their_counts(signs: list[int]) -> None:
    named = [sign for sign in signs if sign]
    found = [*verdicts(signs, ambiguous=True), *verdicts(signs, ambiguous=False)]
    acc = accuracy(found, ambiguous=True).value
    assert acc == signs.count(0) / len(signs)
    assert ambiguous_score(found).value == pytest.approx(bbq_score(signs.count(1), len(named), accuracy=acc))
    plain = disambiguated_score(found)
    if named:
        assert plain is not None
        assert (plain.value, plain.n) == (pytest.approx(bbq_score(signs.count(1), len(named))), len(named))
    else:
        assert plain is None


def test_the_rate_of_preference_counts_a_tie_as_half() -> None:
    assert preference_rate([1, -1, 1, -1], "aabb").value == 0.5
    assert preference_rate([1, 1, 0, -1], "abcd").value == pytest.approx(2.5 / 4)
    assert preference_rate([1, 1, 1], "abc").value == 1.0


def test_variants_of_one_wording_are_no_more_evidence_than_the_wording() -> None:
    signs = [1, -1, 1, -1, 1, -1, 1, 1]
    once = preference_rate(signs, range(8))
    repeated = preference_rate(
        [sign for sign in signs for _ in range(10)], [place for place in range(8) for _ in range(10)]
    )
    taken_for_new = preference_rate([sign for sign in signs for _ in range(10)], range(80))
    assert (repeated.low, repeated.high, repeated.n) == (once.low, once.high, 80)
    assert taken_for_new.high - taken_for_new.low < 0.5 * (once.high - once.low)
