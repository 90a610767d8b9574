"""Every maker of exercises by its name, as task files and suites call it."""

from collections.abc import Mapping

from tasks.exercises.arithmetic import arithmetic, compare_numbers
from tasks.exercises.closed_book import closed_book
from tasks.exercises.commonsense import commonsense, commonsense_choice, commonsense_yes_no
from tasks.exercises.editing import join, plural, remove_word, replace_letter, replace_word
from tasks.exercises.exercise import Maker
from tasks.exercises.languages import language
from tasks.exercises.python_facts import python_error, python_lookup, python_parameter
from tasks.exercises.symbolic import coin_flip, last_letters, reverse, reverse_list, sort_words
from tasks.exercises.word_problems import word_problem

MAKERS: Mapping[str, Maker] = {
    "arithmetic": arithmetic,
    "compare_numbers": compare_numbers,
    "word_problems": word_problem,
    "last_letters": last_letters,
    "coin_flip": coin_flip,
    "reverse": reverse,
    "reverse_list": reverse_list,
    "sort_words": sort_words,
    "commonsense": commonsense,
    "commonsense_choice": commonsense_choice,
    "commonsense_yes_no": commonsense_yes_no,
    "remove_word": remove_word,
    "replace_word": replace_word,
    "replace_letter": replace_letter,
    "join": join,
    "plural": plural,
    "language": language,
    "unknown": closed_book,
    "python_error": python_error,
    "python_parameter": python_parameter,
    "python_lookup": python_lookup,
}
