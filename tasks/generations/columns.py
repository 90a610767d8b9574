"""A text as one stream: cut into columns that are read side by side, segment by segment, with the state carried between.

Shapes: B columns, T tokens, L layers, D width.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.recurrent import State
from tasks.training.batches import Batch, Stateless
from tasks.training.distributed import Ranks

Ids = npt.NDArray[np.integer]


class ColumnBatches(Stateless):
    """Segment after segment of B columns, at most `segment_tokens` long and as equal as they can be; every epoch anew.

    Tensors: ids, labels [B, T]; columns [B]; positions [B], the batch's; begins [B], where a column begins from its start.
    """

    def __init__(self, ids: Ids, *, columns: int, segment_tokens: int) -> None:
        if min(columns, segment_tokens) < 1:
            raise ValueError("columns: columns and segment_tokens must be at least 1")
        length = (len(ids) - 1) // columns
        if length < 1:
            raise ValueError(
                f"the training text has {len(ids)} tokens, too few for {columns} columns: add more text, or cut fewer"
            )
        stream = torch.from_numpy(np.asarray(ids, dtype=np.int64))
        self._ids_BT = stream[: columns * length].view(columns, length)
        self._labels_BT = stream[1 : columns * length + 1].view(columns, length)
        self.batches_per_epoch = -(-length // segment_tokens)

    def batch(self, position: int) -> Batch:
        number, count = position % self.batches_per_epoch, self.batches_per_epoch
        columns, length = self._ids_BT.shape
        segment = slice(number * length // count, (number + 1) * length // count)
        tensors = {
            "ids": self._ids_BT[:, segment],
            "labels": self._labels_BT[:, segment],
            "columns": torch.arange(columns),
            "positions": torch.full((columns,), position),
            "begins": torch.full((columns,), number == 0),
        }
        return Batch(tensors=tensors, tokens=tensors["ids"].numel())


class CarriedStates:
    """With which state each column begins which batch: the one it ended the batch before with, and zeros without that.

    The start of a batch is kept until the next, so a batch may be read twice (less memory, other micro-batches) and gives
    the same. After batches that were left out a column begins anew, as nothing it has read stands before it.
    """

    def __init__(self) -> None:
        if Ranks.current().world > 1:
            raise ValueError(
                "states are carried in one process, a checkpoint has none of the others'; set runtime.workers to 1"
            )
        self._starts: dict[int, dict[int, State]] = {}

    def start(self, batch: Batch, zeros: State) -> State:
        """The states of the batch's rows, parts [L, B, D] like `zeros`."""
        rows = [
            None if begins else self._starts.get(column, {}).get(position) for column, position, begins in _rows(batch)
        ]
        return tuple(
            torch.stack([zero[:, row] if kept is None else kept[part].to(zero) for row, kept in enumerate(rows)], 1)
            for part, zero in enumerate(zeros)
        )

    def keep(self, batch: Batch, start: State, end: State) -> None:
        """Where the rows' next segments begin; a state that is no number would spoil all that follow, and is none."""
        sound_B = torch.stack([part.isfinite().all(2).all(0) for part in end]).all(0)
        after = tuple(part.detach().where(sound_B[:, None], 0.0) for part in end)
        for row, (column, position, _) in enumerate(_rows(batch)):
            self._starts[column] = {
                position: tuple(part[:, row] for part in start),
                position + 1: tuple(part[:, row] for part in after),
            }

    def state_dict(self) -> dict[str, Any]:
        """As JSON, with every bit; the next batch is all that a resumed training asks for."""
        newest = {column: max(starts) for column, starts in self._starts.items()}
        return {
            str(column): {"position": position, "parts": [encoded(part) for part in self._starts[column][position]]}
            for column, position in newest.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._starts = {
            int(column): {kept["position"]: tuple(decoded(part) for part in kept["parts"])}
            for column, kept in state.items()
        }


def _rows(batch: Batch) -> Iterator[tuple[int, int, bool]]:
    """Of each row its column, its position and whether it begins there."""
    return zip(*(batch.tensors[name].tolist() for name in ("columns", "positions", "begins")), strict=True)


def encoded(tensor: Tensor) -> dict[str, Any]:
    """{"dtype": "float32", "shape": [2, 3], "bytes": "AACAPwAA…"}: base64, since decimal text may lose a bit."""
    array = tensor.cpu().contiguous().numpy()
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    text = base64.b64encode(array.tobytes()).decode("ascii")
    return {"dtype": array.dtype.name, "shape": list(array.shape), "bytes": text}


def decoded(record: Mapping[str, Any]) -> Tensor:
    dtype = np.dtype(record["dtype"]).newbyteorder("<")
    array = np.frombuffer(base64.b64decode(record["bytes"]), dtype=dtype).reshape(record["shape"])
    return torch.from_numpy(array.astype(dtype.newbyteorder("=")))
