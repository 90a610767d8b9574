"""From a phrase, a word or a definition in a corpus to a question with a known answer.

Each maker is a function (thing, chance, label, material) -> Exercise, or None where the thing does not fit; `chance` is
seeded by the thing alone, so one changed document changes only its own exercises. `label` is the answer that is wanted,
where a task's answers are closed and the maker can make any of them.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

from tasks.exercises.exercise import Exercise
from tasks.exercises.phrases import Definition, Material, Phrase

CorpusMaker = Callable[[Any, random.Random, str, Material], Exercise | None]

# the closed answers of makers that have some; a task names all or some of them as its options
CLOSED: Mapping[str, tuple[str, ...]] = {
    "count_words": ("two", "three", "four", "five", "six"),
    "position": ("start", "middle", "end"),
    "spelling": ("correct", "misspelled"),
    "contains": ("yes", "no"),
    "brackets": ("yes", "no"),
    "kind_of_definition": ("function", "method", "class", "constant"),
}
NUMBERS = ("one", "two", "three", "four", "five", "six")
BLANK = "___"
_SPELLED_WORDS = 4
_SPELLED_LETTERS = 5


def count_words(phrase: Phrase, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """The first two to six words of a phrase; `label` is their number."""
    del chance, material
    count = NUMBERS.index(label) + 1
    return Exercise(text=phrase.of(phrase.words[:count]), answer=label) if count <= len(phrase.words) else None


def first_letter(word: str, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """A word of three letters or more; the answer is its first letter as it is written."""
    del chance, label, material
    return Exercise(text=word, answer=word[0]) if len(word) >= 3 else None


def position(phrase: Phrase, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """Where the one bracketed word stands: [Return] the value -> start."""
    del material
    last = len(phrase.words) - 1
    place = {"start": 0, "middle": chance.randrange(1, last), "end": last}[label]
    return Exercise(text=_bracketed(phrase, place), answer=label, slots={"word": phrase.words[place]})


def kind_of_definition(thing: Definition, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """close(self) is a method, HTTPServer(TCPServer) a class, MAX_SIZE = 8 a constant."""
    del chance, label, material
    return Exercise(text=thing.text, answer=thing.kind)


def spelling(phrase: Phrase, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """Four words of which one may be misspelled; both labels have a word long enough to misspell."""
    chosen = list(phrase.words[:_SPELLED_WORDS])
    places = [place for place, word in enumerate(chosen) if len(word) >= _SPELLED_LETTERS]
    if not places:
        return None
    if label == "misspelled":
        place = chance.choice(places)
        wrong = misspell(chosen[place], chance)
        if wrong in material.known_words:
            return None
        chosen[place] = wrong
    return Exercise(text=phrase.of(chosen), answer=label)


def misspell(word: str, chance: random.Random) -> str:
    """`word` with two neighbouring letters swapped, one doubled or one left out; the first letter stays."""
    place = chance.randrange(1, len(word) - 1)
    swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    doubled = word[: place + 1] + word[place:]
    shortened = word[:place] + word[place + 1 :]
    wrong = chance.choice((swapped, doubled, shortened))
    return wrong if wrong != word else doubled


def contains(phrase: Phrase, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """Whether a word occurs; absent words are drawn from other phrases, so that frequency gives nothing away."""
    source = phrase if label == "yes" else material.some_phrase(chance)
    word = chance.choice(source.words)
    if (word in phrase.words) != (label == "yes"):
        return None
    return Exercise(text=phrase.text, answer=label, slots={"word": word})


def brackets(phrase: Phrase, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """Whether the one bracket that opens is closed again: Return (the value of -> no."""
    del material
    chosen = list(phrase.words)
    start = chance.randrange(len(chosen) - 1)
    end = chance.randrange(start, len(chosen))
    chosen[start] = "(" + chosen[start]
    if label == "yes":
        chosen[end] += ")"
    return Exercise(text=phrase.of(chosen), answer=label)


def marked_word(phrase: Phrase, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """The one word in brackets, at any place: Return [the] value of -> the."""
    del label, material
    place = chance.randrange(len(phrase.words))
    return Exercise(text=_bracketed(phrase, place), answer=phrase.words[place])


def number(phrase: Phrase, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """A number of two to four figures put between the words; never the shortest or longest word of its text."""
    del label, material
    answer = str(chance.randrange(10, 10 ** chance.randrange(2, 5)))
    lengths = [len(word) for word in phrase.words]
    if not min(lengths) <= len(answer) < max(lengths):
        return None
    chosen = list(phrase.words)
    first_shortest = lengths.index(min(lengths))
    # A word as short as the number must come before it, or "the shortest word" would be the answer.
    start = first_shortest + 1 if min(lengths) == len(answer) else 0
    chosen.insert(chance.randrange(start, len(chosen) + 1), answer)
    return Exercise(text=phrase.of(chosen), answer=answer)


def cloze(phrase: Phrase, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """A phrase with one inner word blanked, and two words to choose from."""
    del label
    place = chance.randrange(1, len(phrase.words))
    answer, other = phrase.words[place], chance.choice(material.some_phrase(chance).words)
    if other in phrase.words:
        return None
    first, second = (answer, other) if chance.random() < 0.5 else (other, answer)
    text = phrase.of([*phrase.words[:place], BLANK, *phrase.words[place + 1 :]])
    return Exercise(text=text, answer=answer, slots={"first": first, "second": second}, options=(first, second))


def next_word(phrase: Phrase, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """All but the last word of a phrase; the answer is the last."""
    del chance, label, material
    return Exercise(text=phrase.of(phrase.words[:-1]), answer=phrase.words[-1])


def describe(thing: Definition, chance: random.Random, label: str, material: Material) -> Exercise | None:
    """The first line of the docstring of a definition; only definitions that have one."""
    del chance, label, material
    return Exercise(text=thing.text, answer=thing.summary) if thing.summary else None


def _bracketed(phrase: Phrase, place: int) -> str:
    return phrase.of([*phrase.words[:place], f"[{phrase.words[place]}]", *phrase.words[place + 1 :]])


# material -> name -> maker
CORPUS_MAKERS: Mapping[str, Mapping[str, CorpusMaker]] = {
    "phrases": {
        "count_words": count_words,
        "position": position,
        "spelling": spelling,
        "contains": contains,
        "brackets": brackets,
        "marked_word": marked_word,
        "number": number,
        "cloze": cloze,
        "next_word": next_word,
    },
    "words": {"first_letter": first_letter},
    "definitions": {"kind_of_definition": kind_of_definition, "describe": describe},
}
