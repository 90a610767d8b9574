"""Which tokens BERT is asked for, and what it sees in their place (Devlin et al. 2018), after create_pretraining_data.py.

Shapes: T tokens of a row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
NO_WORD = -1  # marks and padding, which are never asked for
MASKED, RANDOM = 0.8, 0.1  # the rest stays as it is


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """`share` of a row's tokens, its marks counted, at most `max_predictions`; `whole_words`: all pieces or none."""

    share: float = 0.15
    max_predictions: int = 20
    whole_words: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.max_predictions < 1:
            raise ValueError("masking: share lies between 0 and 1, and max_predictions is at least 1")

    def count(self, length: int) -> int:
        """128 tokens -> 19; at least one."""
        return min(self.max_predictions, max(1, round(length * self.share)))


def word_numbers(ids: npt.NDArray[np.integer], continues: npt.NDArray[np.bool_]) -> Ids:
    """The number of each piece's word; `continues[id]` says of the vocabulary what goes on with a word (##ing).

    un ##believ ##able it is -> 0 0 0 1 2
    """
    begins = ~continues[ids]
    return np.cumsum(begins) - int(begins[0]) if len(ids) else np.zeros(0, dtype=np.int64)


def chosen_positions(words_T: Ids, count: int, draw: np.random.Generator) -> Ids:
    """The places of whole words in random order, until `count` is reached; a word that would exceed it is passed over.

    Where none fits, the shortest is taken: a row always asks for something. Words are runs of equal numbers.
    """
    begins_T = (words_T != NO_WORD) & (words_T != np.concatenate([[NO_WORD], words_T[:-1]]))
    starts, places = np.flatnonzero(begins_T), np.flatnonzero(words_T != NO_WORD)
    sizes = np.diff(np.searchsorted(places, starts), append=len(places))
    order = draw.permutation(len(starts))
    if count >= 1 and (sizes == 1).all():
        return np.sort(starts[order[:count]])
    chosen: list[int] = []
    for word in order.tolist():
        if len(chosen) + sizes[word] <= count:
            chosen += range(starts[word], starts[word] + sizes[word])
        if len(chosen) == count:
            break
    if not chosen:
        word = int(order[np.argmin(sizes[order])])
        chosen += range(starts[word], starts[word] + sizes[word])
    return np.sort(np.array(chosen, dtype=np.int64))


def replaced(ids_T: Ids, places: Ids, *, mask_id: int, vocabulary: int, draw: np.random.Generator) -> Ids:
    """The ids with 80 % of the places masked, 10 % replaced by any id of the vocabulary, marks among them, 10 % kept."""
    coins, others = draw.random(len(places)), draw.integers(vocabulary, size=len(places))
    seen_T = ids_T.copy()
    masked, random = coins < MASKED, (coins >= MASKED) & (coins < MASKED + RANDOM)
    seen_T[places[masked]] = mask_id
    seen_T[places[random]] = others[random]
    return seen_T
