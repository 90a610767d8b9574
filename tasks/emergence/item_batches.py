"""Items as batches for the one loop: packed into rows, each read as if it stood alone, only what is to be written learned.

Shapes: B rows, T tokens.
"""

from collections.abc import Sequence

from tasks.emergence.abilities import Ability, Item, item
from tasks.emergence.vocabulary import END_ID, PAD_ID, encode
from tasks.training.batches import IGNORED, Batch, Shuffle, Stateless, padded

MOST_ITEMS = 64  # of a row


class ItemBatches(Stateless):
    """Rows of at most `row_tokens` tokens; each ability comes equally often, and what a row holds follows from its number.

    Operands that are held out are never drawn, so there is no end of an epoch and nothing to shuffle but the abilities.
    """

    def __init__(self, abilities: Sequence[Ability], *, rows: int, row_tokens: int, seed: int) -> None:
        self._abilities, self._rows, self._row_tokens, self._seed = tuple(abilities), rows, row_tokens, seed
        self._shuffle = Shuffle(len(self._abilities), seed)

    def batch(self, position: int) -> Batch:
        first = position * self._rows
        return packed([self._row(number) for number in range(first, first + self._rows)])

    def _row(self, row: int) -> list[Item]:
        """The items of a row, up to the first that has no room in it."""
        found: list[Item] = []
        tokens = 0
        places = self._shuffle.numbers(row * MOST_ITEMS, MOST_ITEMS)
        for number, place in enumerate(places, row * MOST_ITEMS):
            each = item(self._abilities[place], seed=self._seed, number=number, held_out=False)
            tokens += len(each.prompt) + len(each.target)
            if tokens > self._row_tokens:
                break
            found.append(each)
        return found


def packed(rows: Sequence[Sequence[Item]]) -> Batch:
    """Item 1+2= -> 3 gives ids 1 + 2 = 3 and labels - - - 3 end; `segments` numbers the items of a row from 1 on."""
    ids, labels, segments = [], [], []
    for row in rows:
        pairs = [(encode(each.prompt), [*encode(each.target), END_ID]) for each in row]
        ids.append([token for prompt, target in pairs for token in [*prompt, *target[:-1]]])
        labels.append([token for prompt, target in pairs for token in [*[IGNORED] * (len(prompt) - 1), *target]])
        segments.append(
            [number for number, (prompt, target) in enumerate(pairs, 1) for _ in range(len(prompt) + len(target) - 1)]
        )
    tensors = {"ids": padded(ids, PAD_ID), "labels": padded(labels, IGNORED), "segments": padded(segments, 0)}
    return Batch(tensors=tensors, tokens=sum(map(len, ids)))
