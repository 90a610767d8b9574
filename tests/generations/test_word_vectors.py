"""Questions to word vectors whose answers are known by hand, and the public files they are read from."""

from pathlib import Path

import numpy as np
import pytest

from tasks.generations.word_vectors import (
    AnalogyScore,
    analogy_ranks,
    nearest,
    read_analogies,
    read_similarities,
    score_analogies,
    score_similarities,
    spearman,
)

# man, woman, king, queen, and "crown", which is nearer to king - man + woman than queen is
WORDS = {"man": 0, "woman": 1, "king": 2, "queen": 3, "crown": 4}
VECTORS = np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 2], [0, 1.5, 2], [-0.5, 1, 1]])


def test_nearest_words_leave_out_the_word_itself_whatever_the_lengths() -> None:
    assert [word for word, _ in nearest(VECTORS, 3, 2)] == [4, 2]
    assert nearest(VECTORS * np.array([[1], [9], [1], [1], [1]]), 1, 1)[0] == (4, pytest.approx(2 / 3))
    assert len(nearest(VECTORS, 0, 99)) == 4


def test_analogies_rule_the_query_out_and_may_be_asked_of_frequent_words_only() -> None:
    questions = np.array([[0, 1, 2, 3], [0, 1, 2, -1]])
    assert score_analogies(VECTORS, questions) == AnalogyScore(correct=0, scored=1, skipped=1)
    assert score_analogies(VECTORS, questions, most_frequent=4) == AnalogyScore(correct=1, scored=1, skipped=1)
    assert np.isnan(score_analogies(VECTORS, questions, most_frequent=3).accuracy)
    # b - a + c is nearest to c itself, and to b after it: only what is not asked with may answer
    assert score_analogies(np.array([[1.0, 0], [1, 0.1], [0, 1], [-0.1, 1]]), np.array([[0, 1, 2, 3]])).accuracy == 1


def test_spearman_with_ties_by_hand() -> None:
    assert spearman([1, 2, 3], [10, 30, 20]) == pytest.approx(0.5)
    assert spearman([1, 2, 3, 4], [-4, -3, -2, -1]) == pytest.approx(1)
    # ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: 4.5 / sqrt(4.5 * 5)
    assert spearman([5, 6, 6, 7], [1, 2, 3, 4]) == pytest.approx(4.5 / 22.5**0.5)
    assert np.isnan(spearman([1, 1], [1, 2]))


def test_similarities_are_of_the_pairs_whose_words_have_vectors() -> None:
    pairs = [("king", "queen", 9.0), ("king", "man", 5.0), ("man", "woman", 1.0), ("king", "castle", 8.0)]
    score = score_similarities(VECTORS, pairs, WORDS)
    assert (score.correlation, score.scored, score.skipped) == (pytest.approx(1), 3, 1)
    assert score_similarities(VECTORS, pairs[3:], WORDS).scored == 0


def test_question_files(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text(": family\nMan Woman King Queen\n\nman woman king castle\n: other\nking king king king\n")
    sections = read_analogies(path)
    assert {name: len(each) for name, each in sections.items()} == {"family": 2, "other": 1}
    assert analogy_ranks(sections["family"], WORDS).tolist() == [[0, 1, 2, 3], [0, 1, 2, -1]]
    assert analogy_ranks([], WORDS).shape == (0, 4)
    path.write_text(": family\nman woman king\n")
    with pytest.raises(ValueError, match=r"questions\.txt:2: expected four words"):
        read_analogies(path)


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("WS-353-ALL", 353, ("love", "sex", 6.77)),
        ("SIMLEX-999", 999, ("old", "new", 1.58)),
        ("MEN-TR-3k", 3000, ("sun", "sunlight", 50.0)),
    ],
)
def test_similarity_files(test_data: Path, name: str, count: int, first: tuple[str, str, float]) -> None:
    pairs = read_similarities(test_data / "word_tests" / f"word-sim.EN-{name}.txt")
    assert len(pairs) == count
    assert pairs[0] == first


def test_a_broken_similarity_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("a b 1.5\na b c\n")
    with pytest.raises(ValueError, match=r"pairs\.txt:2: expected two words and a number"):
        read_similarities(path)
