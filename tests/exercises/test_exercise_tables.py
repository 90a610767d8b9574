"""The tables of words, plurals and languages."""

import re
import unicodedata
from itertools import combinations

import pytest

from tasks.exercises.table_files import names, table, words

LANGUAGES = table("languages")
SCRIPTS = {"Korean": "HANGUL", "Japanese": "HIRAGANA", "Russian": "CYRILLIC"}


@pytest.mark.parametrize("listed", [names(), words()])
def test_no_name_or_word_is_listed_twice_and_each_is_plain(listed: tuple[str, ...]) -> None:
    assert len(set(listed)) == len(listed)
    assert all(re.fullmatch("[A-Z]?[a-z]{2,8}", word) for word in listed)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_twelve_sentences_in_its_own_letters(language: str) -> None:
    assert len(set(LANGUAGES[language])) == len(LANGUAGES[language]) >= 12
    for sentence in LANGUAGES[language]:
        scripts = {unicodedata.name(letter).split()[0] for letter in sentence if letter.isalpha()}
        assert SCRIPTS.get(language, "LATIN") in scripts
        assert language in SCRIPTS or scripts == {"LATIN"}


def test_there_are_eight_languages_or_more_and_no_sentence_is_in_two() -> None:
    assert len(LANGUAGES) >= 8
    assert all(not set(LANGUAGES[first]) & set(LANGUAGES[second]) for first, second in combinations(LANGUAGES, 2))


def test_a_plural_is_no_singular_and_irregular_ones_are_there() -> None:
    plurals = table("plurals")
    assert not set(plurals) & set(plurals.values())
    assert len(set(plurals.values())) == len(plurals)
    assert {word: plurals[word] for word in ("child", "knife", "mouse", "ox")} == {
        "child": "children", "knife": "knives", "mouse": "mice", "ox": "oxen",
    }  # fmt: skip
    regular = [word for word, many in plurals.items() if many == f"{word}s"]
    assert len(regular) < len(plurals) / 2, "the rule alone must not do"
