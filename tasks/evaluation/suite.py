"""What a suite is: it asks a model about benchmarks, and gives rows and the examples behind them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.evaluation.kept_cells import Cells
from tasks.evaluation.subject import Subject

MOST_TEMPERATURE = 10.0
Progress = Callable[[str, int, int], None]  # (what, how many, of how many)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for; `shots` () leaves the numbers to each benchmark, `data` are files of the user's own."""

    shots: tuple[int, ...] = ()
    samples: int = 5
    temperature: float = 0.7  # of the samples (Wang et al. 2022)
    limit: int = 50
    seed: int = 0
    data: tuple[Path, ...] = ()
    skip_long: bool = False  # questions that the model cannot read, counted

    def __post_init__(self) -> None:
        if not 0 < self.temperature <= MOST_TEMPERATURE:
            raise ValueError(f"--temperature {self.temperature}: expected more than 0 and at most {MOST_TEMPERATURE}")
        if self.samples < 0 or self.limit < 1 or self.seed < 0 or any(each < 0 for each in self.shots):
            raise ValueError(
                "expected --samples from 0 on, --limit from 1 on, --seed from 0 on and --shots like 0,1,4, found "
                f"{self.samples}, {self.limit}, {self.seed} and {','.join(map(str, self.shots)) or 'none'}"
            )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Rows and examples as documents.py keeps them; `reused` of the `cells` were computed by an earlier command."""

    rows: list[dict[str, Any]]
    examples: list[dict[str, Any]]
    cells: int
    reused: int
    notes: tuple[str, ...] = ()


Suite = Callable[[Subject, Request, Cells, Progress], Outcome]
