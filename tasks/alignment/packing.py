"""Several dialogues in one row of the context's length: nothing is read but tokens, and no dialogue sees another.

The rows of an epoch follow from (seed, epoch) alone. Their number differs from epoch to epoch, so the place of a row is
found by counting the epochs before it.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from tasks.alignment.dialogues import Dialogue, labels_of
from tasks.training.batches import IGNORED, Batch, Shuffle, Stateless, padded


class PackedDialogues(Stateless):
    """Dialogues packed into rows of `context` tokens, in a new order each epoch; a batch is `batch_sequences` rows."""

    def __init__(
        self, dialogues: Sequence[Dialogue], *, context: int, batch_sequences: int, seed: int, pad_id: int
    ) -> None:
        self._dialogues = dialogues
        self._context, self._size, self._pad_id = context, batch_sequences, pad_id
        self._shuffle = Shuffle(len(dialogues), seed)
        self._starts = [0]  # the first row of each epoch that was counted so far
        self._epoch = -1
        self._rows: list[list[int]] = []  # of that epoch

    def batch(self, position: int) -> Batch:
        rows = self._numbers(position * self._size, self._size)
        return packed_batch([[self._dialogues[number] for number in row] for row in rows], self._pad_id)

    def _numbers(self, start: int, length: int) -> list[list[int]]:
        """Rows `start` to `start + length` of the endless sequence of epochs, as numbers of dialogues."""
        found: list[list[int]] = []
        while len(found) < length:
            row = start + len(found)
            while self._starts[-1] <= row:
                self._starts.append(self._starts[-1] + len(self._packed(len(self._starts) - 1)))
            epoch = bisect_right(self._starts, row) - 1
            place = row - self._starts[epoch]
            found += self._packed(epoch)[place : place + length - len(found)]
        return found

    def _packed(self, epoch: int) -> list[list[int]]:
        if epoch != self._epoch:
            order = self._shuffle.numbers(epoch * len(self._dialogues), len(self._dialogues))
            rows = best_fit([len(self._dialogues[number].ids) - 1 for number in order], self._context)
            self._epoch, self._rows = epoch, [[order[place] for place in row] for row in rows]
        return self._rows


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Places of `lengths` in rows of `capacity`: each goes, in turn, where it leaves the least room.

    best_fit([5, 3, 4, 2], 7) -> [[0, 3], [1, 2]]
    """
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # what is left in a row and its number, the least first
    for place, length in enumerate(lengths):
        found = bisect_left(rooms, (length, -1))
        room, row = rooms.pop(found) if found < len(rooms) else (capacity, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(place)
        insort(rooms, (room - length, row))
    return rows


def packed_batch(rows: Sequence[Sequence[Dialogue]], pad_id: int) -> Batch:
    """As `batch_of`, with several dialogues in a row: `segments` numbers them from 1 on, 0 is padding.

    packed_batch([[ids 5 6 7, ids 8 9]]) -> ids 5 6 8, labels 6 7 9 where said, segments 1 1 2
    """
    segments = [[number for number, each in enumerate(row, 1) for _ in each.ids[1:]] for row in rows]
    tensors = {
        "ids": padded([[token for each in row for token in each.ids[:-1]] for row in rows], pad_id),
        "labels": padded([[label for each in row for label in labels_of(each)] for row in rows], IGNORED),
        "segments": padded(segments, 0),
    }
    return Batch(tensors=tensors, tokens=sum(map(len, segments)))
