"""String editing with one right result: words taken out or replaced, letters replaced, joining, plurals."""

import random
from collections.abc import Sequence

from tasks.exercises.exercise import Exercise
from tasks.exercises.table_files import table, words

FEWEST, MOST = 3, 5
SIGNS = ("-", "+", "/", "_", "&")


def remove_word(chance: random.Random) -> Exercise:
    """key apple moon, without apple -> key moon"""
    chosen = _some_words(chance)
    word = chance.choice(chosen)
    rest = " ".join(other for other in chosen if other != word)
    return Exercise(text=" ".join(chosen), answer=rest, slots={"word": word})


def replace_word(chance: random.Random) -> Exercise:
    """key apple moon, lamp for apple -> key lamp moon"""
    *chosen, new = _some_words(chance, more=1)
    old = chance.choice(chosen)
    answer = " ".join(new if word == old else word for word in chosen)
    return Exercise(text=" ".join(chosen), answer=answer, slots={"old": old, "new": new})


def replace_letter(chance: random.Random) -> Exercise:
    """banana, o for a -> bonono; every such letter is replaced, and the new one was not in the word."""
    word = chance.choice(words())
    old = chance.choice(word)
    new = chance.choice(sorted(set("abcdefghijklmnopqrstuvwxyz") - set(word)))
    spelled = "-".join(new if letter == old else letter for letter in word)
    answer = word.replace(old, new)
    rationale = f"{'-'.join(word)} becomes {spelled}. Together: {answer}"
    return Exercise(text=word, answer=answer, slots={"old": old, "new": new}, rationale=rationale)


def join(chance: random.Random) -> Exercise:
    """key, apple, moon with + -> key+apple+moon"""
    chosen = _some_words(chance)
    sign = chance.choice(SIGNS)
    return Exercise(text=", ".join(chosen), answer=sign.join(chosen), slots={"sign": sign})


def plural(chance: random.Random) -> Exercise:
    """knife, child -> knives, children"""
    plurals = table("plurals")
    chosen = chance.sample(sorted(plurals), chance.randint(1, 3))
    return Exercise(text=", ".join(chosen), answer=", ".join(plurals[word] for word in chosen), facts=tuple(chosen))


def _some_words(chance: random.Random, more: int = 0) -> Sequence[str]:
    """Three to five different words and `more`."""
    return chance.sample(words(), chance.randint(FEWEST, MOST) + more)
