import pytest

from models.ngram_vocabulary import Vocabulary


def test_a_vocabulary_takes_tokens_of_any_kind() -> None:
    letters = Vocabulary.of(["ab", "ba"])
    assert letters.encode(["ab", "a"])[0].tolist() == [0, 1, 0]
    pairs = Vocabulary.of([[(1, "x"), (2, "y")]], unknown=(0, ""), end=(0, "end"))
    ids, starts = pairs.encode([[(2, "y")], [(9, "z")]], end=(0, "end"))
    assert (ids.tolist(), starts.tolist()) == ([3, 1, 0, 1], [0, 2])
    with pytest.raises(ValueError, match="'c' is not in it"):
        letters.encode(["c"])
    with pytest.raises(ValueError, match="appears twice"):
        Vocabulary(["a", "a"])
    with pytest.raises(ValueError, match="unknown token 'b' is not in it"):
        Vocabulary(["a"], unknown="b")
