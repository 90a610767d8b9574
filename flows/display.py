"""What a person sees of a run while it works: a line per stage, a bar with an ETA, the figures that matter.

Everything goes to standard error: standard output is for results. Without a terminal (CI, a log file) whole plain lines
appear every few seconds instead of a bar. The tables at the end are in flows/tables.py.
"""

import time
from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column, Table
from rich.text import Text

from flows.tables import MARKS, duration, error_line, named_values, plain

PLAIN_EVERY_SECONDS = 5.0
NAME_CELLS = 10
LEFT_CELLS = len("10 min 00 s left")
BETWEEN_CELLS = len("  " + "/") + 4 + 1  # the indentation, the stroke, a space between each two columns, one to spare
SHORTEST_BAR, LONGEST_BAR = 6, 32
FIGURES = (("loss", "loss"), ("reward", "reward"), ("kl", "KL"), ("accuracy", "accuracy"))


class Display:
    """The live view of one run. Every text is shown as text: square brackets and control codes in it mean nothing."""

    def __init__(self, title: str = "", console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._live: Progress | None = None
        self._task: Any = None
        self._bar = BarColumn()
        self._began: dict[str, float] = {}
        self._first: dict[str, tuple[float, int]] = {}
        self._spoke = float("-inf")
        if title:
            self._print(Text(plain(title), style="bold"))

    def stage_started(self, name: str, note: str = "") -> None:
        self._end_bar()
        self._began[name] = time.monotonic()
        self._first.pop(name, None)
        self._line("▸", "cyan", name, Text(plain(note), style="dim"))

    def progress(self, name: str, step: int, steps: int, metrics: Mapping[str, float] | None = None) -> None:
        """One more step of `steps`; the bar's ETA and the plain line's are from the pace since the first step seen."""
        now = time.monotonic()
        self._first.setdefault(name, (now, step))
        figures = figures_line(metrics or {})
        if self.console.is_terminal:
            self._show_bar(name, step, steps, figures)
        elif now - self._spoke >= PLAIN_EVERY_SECONDS or step >= steps:
            self._spoke = now
            left = self.seconds_left(name, step, steps)
            eta = "" if left is None or step >= steps else f", about {duration(left)} left"
            self._print(Text(f"  {fitted(name, NAME_CELLS)} step {step:,}/{steps:,}{eta}  {figures}".rstrip()))

    def seconds_left(self, name: str, step: int, steps: int) -> float | None:
        """None until two different steps were seen."""
        began, first = self._first.get(name, (0.0, step))
        if step <= first:
            return None
        return (time.monotonic() - began) / (step - first) * max(0, steps - step)

    def stage_ended(
        self, name: str, outcome: str, figures: Mapping[str, Any] | str | None = None, seconds: float | None = None
    ) -> None:
        """`outcome` is a key of MARKS (trained, reused, failed, ...); `figures` is a sentence or named values."""
        self._end_bar()
        mark, style = MARKS.get(outcome, ("•", ""))
        said = figures if isinstance(figures, str) else named_values(figures or {})
        if seconds is None and name in self._began:
            seconds = time.monotonic() - self._began[name]
        took = f" in {duration(seconds)}" if seconds and outcome not in ("reused", "skipped") else ""
        detail = Text(outcome + took, style=style)
        if said:
            detail.append(f"  {plain(said)}", style="default")
        self._line(mark, style, name, detail)

    def note(self, text: str) -> None:
        """A sentence below the current stage; a bar that is shown moves down."""
        said = Text(plain(text), style="dim")
        self._print(Padding(said, (0, 0, 0, 2)) if self.console.is_terminal else Text(f"  {said.plain}"))

    def error(self, text: str, log: object = None) -> None:
        """What went wrong in one sentence, and where the whole story is."""
        self._end_bar()
        self._print(error_line(text, log))

    def close(self) -> None:
        self._end_bar()

    def _line(self, mark: str, style: str, name: str, detail: Text) -> None:
        """On a terminal wrapped text stays beside the name, not under it."""
        if not self.console.is_terminal:
            self._print(Text(f"{mark} {fitted(name, NAME_CELLS)} {detail.plain}".rstrip()))
            return
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(width=NAME_CELLS, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(mark, style=style), Text(plain(name), style="bold"), detail)
        self._print(grid)

    def _print(self, renderable: RenderableType) -> None:
        """A terminal is wrapped at its width; a log keeps each line whole, for grep."""
        console = self._live.console if self._live is not None else self.console
        console.print(renderable, soft_wrap=not self.console.is_terminal)

    def _show_bar(self, name: str, step: int, steps: int, figures: str) -> None:
        """One line whatever its width: the bar gives way first, then the last figures."""
        room = self.console.width - NAME_CELLS - 2 * len(f"{steps:,}") - LEFT_CELLS - BETWEEN_CELLS
        shown = figures.split("  ")
        while len(shown) > 1 and room - cell_len("  ".join(shown)) < SHORTEST_BAR:
            shown.pop()
        figures = "  ".join(shown)
        self._bar.bar_width = max(SHORTEST_BAR, min(LONGEST_BAR, room - cell_len(figures)))
        if self._live is None:
            self._live = Progress(
                TextColumn("  {task.description}", markup=False, table_column=_one_line()),
                self._bar,
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}", table_column=_one_line()),
                _TimeLeft(self, name),
                TextColumn("{task.fields[figures]}", markup=False, table_column=_one_line()),
                console=self.console,
                transient=True,
                refresh_per_second=4,
            )
            self._live.start()
            self._task = self._live.add_task(fitted(name, NAME_CELLS), total=steps, figures=figures)
        self._live.update(self._task, completed=step, total=steps, figures=figures)

    def _end_bar(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _one_line() -> Column:
    return Column(no_wrap=True, overflow="ellipsis")


class _TimeLeft(ProgressColumn):
    def __init__(self, display: Display, name: str) -> None:
        super().__init__(table_column=_one_line())
        self._display, self._name = display, name

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text("measuring", style="cyan")
        left = self._display.seconds_left(self._name, int(task.completed), int(task.total or 0))
        return Text("" if left is None else f"{duration(left)} left", style="cyan")


def figures_line(metrics: Mapping[str, Any]) -> str:
    """{"loss": 3.1, "tokens_per_second": 8123.0} -> "loss 3.100  8,123 tokens/s"; only what a person watches."""
    said = [f"{label} {metrics[name]:.3f}" for name, label in FIGURES if _is_number(metrics.get(name))]
    if _is_number(metrics.get("tokens_per_second")):
        said.append(f"{metrics['tokens_per_second']:,.0f} tokens/s")
    return "  ".join(said)


def fitted(text: str, cells: int) -> str:
    """Cut or filled to `cells` columns of the terminal; a Korean syllable takes two."""
    return set_cell_size(plain(text), cells)


def _is_number(found: object) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)
