"""Checkpoints written beside the training: the loop goes on while a thread writes what it was handed a copy of.

One is written at a time: a disk slower than the interval makes the loop wait for it, never a queue grow.
"""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tasks.training.checkpoints import Checkpoints, Tensors

logger = logging.getLogger(__name__)

MOST_FAILURES = 3


class DiskFull(Exception):
    """Several checkpoints in a row could not be written; the ones before them are whole, and the training can go on."""


class CheckpointWriter:
    """Writes with `checkpoints`; a write that fails is said and forgiven until `MOST_FAILURES` came in a row."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._failures, self._failed = 0, ""
        self.waited_seconds = 0.0

    def submit(self, step: int, tensors: Mapping[str, Tensors], record: Mapping[str, Any]) -> None:
        """Take a copy of the tensors and write it; waits for the write before."""
        self.wait()
        started = time.perf_counter()
        copied = {name: {key: _copy(tensor) for key, tensor in group.items()} for name, group in tensors.items()}
        self._thread = threading.Thread(target=self._write, args=(step, copied, record), name="checkpoint")
        self._thread.start()
        self.waited_seconds += time.perf_counter() - started

    def wait(self) -> str:
        """Wait for the write under way; "" or why the last one failed. Any error but the disk's own is raised."""
        started = time.perf_counter()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.waited_seconds += time.perf_counter() - started
        if self._error is not None:
            raise self._error
        return self._failed

    @property
    def gave_up(self) -> bool:
        return self._failures >= MOST_FAILURES

    def _write(self, step: int, tensors: Mapping[str, Tensors], record: Mapping[str, Any]) -> None:
        try:
            self._checkpoints.save(step, tensors, record)
            self._failures, self._failed = 0, ""
        except OSError as error:
            self._failures, self._failed = self._failures + 1, str(error)
            logger.warning("%s (%d in a row, the training ends at %d)", error, self._failures, MOST_FAILURES)
        except BaseException as error:  # a lost lease: the loop raises it, a thread cannot
            self._error = error


def _copy(tensor: Tensor) -> Tensor:
    """On the CPU and of its own: the next step writes into the one that is handed in."""
    return tensor.detach().to("cpu", copy=True).contiguous()
