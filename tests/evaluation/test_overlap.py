"""F1 as SQuAD counts it, and ROUGE against figures worked out by hand or printed in its paper."""

import pytest

from tasks.evaluation.overlap import longest_common_subsequence, rouge_l, rouge_n, squad_f1, squad_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The  Beatles' song!", ("beatles", "song")),
        ("a an the", ()),
        ("theatre, and anthem", ("theatre", "and", "anthem")),  # articles are whole words
        ("U.S.A.", ("usa",)),
        ("세종 대왕.", ("세종", "대왕")),
    ],
)
def test_words_as_squad_compares_them(text: str, words: tuple[str, ...]) -> None:
    assert squad_words(text) == words


@pytest.mark.parametrize(
    ("said", "golds", "f1"),
    [
        ("the Eiffel Tower in Paris", ["Eiffel tower"], 2 * 2 / (4 + 2)),
        ("the Eiffel Tower in Paris", ["Rome", "Eiffel tower", "Paris, in the Eiffel Tower"], 1.0),  # the best gold
        ("tower tower", ["tower"], 2 * 1 / 3),  # a word counts once for each time it stands in the gold
        ("Rome", ["Paris"], 0.0),
        ("", [""], 1.0),
        ("", ["Paris"], 0.0),
    ],
)
def test_f1_by_hand(said: str, golds: list[str], f1: float) -> None:
    assert squad_f1(said, golds) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("said", "gold", "one", "two", "longest"),
    [
        # by hand: the cat on the mat are shared, 5 of 6 each; the bigrams "the cat", "on the", "the mat", 3 of 5 each
        ("The cat sat on the mat.", "the cat is on the mat", 5 / 6, 3 / 5, 5 / 6),
        # Lin 2004, section 3.1: ROUGE-L of its three candidates is 3/4, 2/4, 2/4
        ("police kill the gunman", "police killed the gunman", 3 / 4, 1 / 3, 3 / 4),
        ("the gunman kill police", "police killed the gunman", 3 / 4, 1 / 3, 2 / 4),
        ("the gunman police killed", "police killed the gunman", 1.0, 2 / 3, 2 / 4),
        # unequal lengths: precision 2/2, recall 2/4
        ("a b", "a b c d", 2 * 1 * 0.5 / 1.5, 2 * 1 * (1 / 3) / (4 / 3), 2 * 1 * 0.5 / 1.5),
        ("a", "a", 1.0, 0.0, 1.0),  # no bigram in one word
        ("", "a b", 0.0, 0.0, 0.0),
        ("a_b-c", "A B C", 1.0, 1.0, 1.0),
    ],
)
def test_rouge_by_hand(said: str, gold: str, one: float, two: float, longest: float) -> None:
    found = rouge_n(said, gold, 1), rouge_n(said, gold, 2), rouge_l(said, gold)
    assert found == pytest.approx((one, two, longest))
    assert found == pytest.approx((rouge_n(gold, said, 1), rouge_n(gold, said, 2), rouge_l(gold, said)))


@pytest.mark.parametrize(
    ("first", "second", "length"),
    [("abcbdab", "bdcaba", 4), ("abc", "abc", 3), ("abc", "cba", 1), ("", "abc", 0), ("aaa", "aa", 2)],
)
def test_the_longest_common_subsequence(first: str, second: str, length: int) -> None:
    """The first pair is the example of Cormen et al., Introduction to Algorithms: "bcba"."""
    assert longest_common_subsequence(first, second) == length
