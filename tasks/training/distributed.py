"""Data parallelism over a torch process group: sums over ranks, and which rows of a batch are this rank's.

Sums only: an average over ranks of averages over unequal shares is no average, and gloo's own AVG has been wrong in several
releases (pytorch issue 162338).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process's place among the workers; one worker needs no process group."""

    rank: int = 0
    world: int = 1

    @classmethod
    def current(cls) -> "Ranks":
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(rank=dist.get_rank(), world=dist.get_world_size())

    @property
    def first(self) -> bool:
        return self.rank == 0

    def self_test(self) -> None:
        """Ranks hold 1, 2, ...: their sum must be what arithmetic says. ValueError names a broken backend."""
        if self.world > 1:
            total = self.sum(float(self.rank + 1))
            expected = self.world * (self.world + 1) / 2
            if total != expected:
                raise ValueError(
                    f"all_reduce over {self.world} workers gives {total}, not {expected}: a broken backend"
                )

    def rows(self, count: int) -> slice:
        """This rank's contiguous share of `count` rows; shares differ by one row at most."""
        return slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)

    def sum(self, value: float) -> float:
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor)
        return float(tensor)

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums by name; a rank without a row to learn from has no names, and counts as zero."""
        if self.world == 1:
            return dict(values)
        gathered: list[dict[str, float]] = [{} for _ in range(self.world)]
        dist.all_gather_object(gathered, dict(values))
        names = sorted({name for each in gathered for name in each})
        return {name: sum(each.get(name, 0.0) for each in gathered) for name in names}

    def of_first(self, value: Value) -> Value:
        """The first rank's value, on every rank: what one machine measured may not differ from another's."""
        if self.world == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def first_before_others(self, action: Callable[[], Value]) -> Value:
        """`action` on every rank, on the first one before all others: it may put the folder in order.

        A ValueError of the first is everybody's: none waits for one that has ended.
        """
        if self.world == 1:
            return action()
        results: list[Value] = []
        refusal = ""
        if self.first:
            try:
                results.append(action())
            except ValueError as error:
                refusal = str(error)
        refusal = self.of_first(refusal)
        if refusal:
            raise ValueError(refusal)
        return results[0] if results else action()

    def any(self, flag: bool) -> bool:
        """True on every rank when it is on one: all stop together."""
        return self.each_any(flag)[0]

    def each_any(self, *flags: bool) -> list[bool]:
        """Of several flags at once, in one message."""
        if self.world == 1:
            return list(flags)
        tensor = torch.tensor(flags, dtype=torch.int64)
        dist.all_reduce(tensor)
        return [bool(each) for each in tensor]

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up gradients over ranks, flattened into one message; a rank without a gradient adds zero."""
        if self.world == 1:
            return
        tensors = list(parameters)
        flat = torch.cat([(torch.zeros_like(each) if each.grad is None else each.grad).flatten() for each in tensors])
        dist.all_reduce(flat)
        place = 0
        for each in tensors:
            each.grad = flat[place : place + each.numel()].view_as(each).clone()
            place += each.numel()
