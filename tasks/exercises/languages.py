"""Which language a text is written in: one or two sentences of languages.yaml."""

import random

from tasks.exercises.exercise import Exercise
from tasks.exercises.table_files import table


def language(chance: random.Random) -> Exercise:
    """Die Kinder spielen draußen. -> German"""
    sentences = table("languages")
    answer = chance.choice(sorted(sentences))
    chosen = tuple(chance.sample(sentences[answer], chance.randint(1, 2)))
    return Exercise(text=" ".join(chosen), answer=answer, options=tuple(sentences), facts=chosen)
