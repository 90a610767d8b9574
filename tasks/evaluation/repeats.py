"""Several samples of one question: pass@k, and the majority's answer (self-consistency)."""

import math
from collections import Counter
from collections.abc import Iterable


def pass_at_k(samples: int, right: int, k: int) -> float:
    """1 - C(n-c, k) / C(n, k): how likely one of k samples passes, of n of which c did (Chen et al. 2021, eq. 1).

    As a product, since the binomials overflow: pass_at_k(10, 3, 1) -> 0.3
    """
    if not 0 <= right <= samples or not 1 <= k <= samples:
        raise ValueError(
            f"pass@k: expected 0 <= right <= samples and 1 <= k <= samples, found {right}, {samples}, k={k}"
        )
    if samples - right < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / each for each in range(samples - right + 1, samples + 1))


def majority(answers: Iterable[str | None]) -> str | None:
    """The most frequent answer; samples without one have no vote, and of equal ones the first seen wins."""
    votes = Counter(answer for answer in answers if answer)
    return max(votes, key=votes.__getitem__) if votes else None
