"""Multiple choice and text by log-likelihoods, as lm-evaluation-harness reports them."""

import math
from collections.abc import Sequence


def chosen(nats: Sequence[float]) -> int:
    """acc: the choice of the highest log-likelihood; the first of equal ones."""
    return max(range(len(nats)), key=nats.__getitem__)


def chosen_by_characters(nats: Sequence[float], choices: Sequence[str], delimiter: str = " ") -> int:
    """acc_norm: log-likelihood per character of the choice; the delimiter before it does not count."""
    return chosen([each / len(choice) for each, choice in zip(nats, _bare(choices, delimiter), strict=True)])


def chosen_by_bytes(nats: Sequence[float], choices: Sequence[str], delimiter: str = " ") -> int:
    """acc_bytes: the same per byte of UTF-8."""
    return chosen([each / len(choice.encode()) for each, choice in zip(nats, _bare(choices, delimiter), strict=True)])


def _bare(choices: Sequence[str], delimiter: str) -> list[str]:
    bare = [choice.removeprefix(delimiter) for choice in choices]
    if not all(bare):
        raise ValueError(
            f"choice {bare.index('')}: it is empty, and a likelihood per character needs one; give its text"
        )
    return bare


def bits_per_byte(nats: float, byte_count: int) -> float:
    return nats / (math.log(2) * byte_count)


def byte_perplexity(bits: float) -> float:
    """2 to the bits per byte."""
    return math.exp2(bits)


def word_perplexity(bits: float, byte_count: int, words: int) -> float:
    """e to the nats per word of the original text: the byte perplexity to the power of bytes per word."""
    return math.exp2(bits * byte_count / words)
