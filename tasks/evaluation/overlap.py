"""How much of a reference a text holds: F1 over words as SQuAD counts them (Rajpurkar et al. 2016), ROUGE (Lin 2004)."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORD = re.compile(r"[^\W_]+")


def squad_words(text: str) -> tuple[str, ...]:
    """ "The  Beatles' song!" -> ("beatles", "song"): no case, no ASCII punctuation, no articles."""
    return tuple(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def squad_f1(said: str, golds: Sequence[str]) -> float:
    """The best over the golds; nothing said is right where nothing is the gold."""
    return max(_f1(squad_words(said), squad_words(gold)) for gold in golds)


def word_f1(said: Sequence[str], wanted: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words as a multiset."""
    return _harmonic(sum((Counter(said) & Counter(wanted)).values()), len(said), len(wanted))


def _f1(said: tuple[str, ...], gold: tuple[str, ...]) -> float:
    return word_f1(said, gold) if said or gold else 1.0


def rouge_words(text: str) -> tuple[str, ...]:
    """Lower-case runs of letters and digits, in any script; English words are not stemmed."""
    return tuple(_WORD.findall(text.lower()))


def rouge_n(said: str, gold: str, n: int) -> float:
    """F1 over n-grams as a multiset."""
    found, wanted = _ngrams(rouge_words(said), n), _ngrams(rouge_words(gold), n)
    return _harmonic(sum((found & wanted).values()), sum(found.values()), sum(wanted.values()))


def rouge_l(said: str, gold: str) -> float:
    """F1 over the longest common subsequence of words."""
    found, wanted = rouge_words(said), rouge_words(gold)
    return _harmonic(longest_common_subsequence(found, wanted), len(found), len(wanted))


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length: "a b c d" and "a c d" -> 3. Time is the product of the lengths."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, 1):
            above = row[place]
            row[place] = diagonal + 1 if word == other else max(above, row[place - 1])
            diagonal = above
    return row[-1]


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def _harmonic(shared: int, said: int, wanted: int) -> float:
    return 2 * shared / (said + wanted) if shared else 0.0
