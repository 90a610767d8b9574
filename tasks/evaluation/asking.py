"""The cells of a suite, each asked once: what an earlier command found is taken again, what is too long is left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.artifacts import digest_of
from tasks.evaluation.cell_prompts import too_long
from tasks.evaluation.cells import DIRECT, Cell, identity_of
from tasks.evaluation.kept_cells import Cells, Examples
from tasks.evaluation.subject import Subject
from tasks.evaluation.suite import Progress


@dataclass(kw_only=True)
class Asked:
    """Answers by the digest of their cell's identity; `left_out` are the cells that were not asked, and why."""

    subject: Subject
    answers: dict[str, Examples] = field(default_factory=dict)
    left_out: dict[str, tuple[Cell, str]] = field(default_factory=dict)
    reused: int = 0
    identities: dict[Cell, dict[str, str]] = field(default_factory=dict)

    def identity(self, cell: Cell) -> dict[str, str]:
        if cell not in self.identities:
            self.identities[cell] = identity_of(cell, self.subject)
        return self.identities[cell]

    def key(self, cell: Cell) -> str:
        return digest_of(self.identity(cell))

    def of(self, cell: Cell) -> Examples | None:
        return self.answers.get(self.key(cell))

    @property
    def note(self) -> str:
        """One sentence about all that was left out, or ""."""
        titles = dict.fromkeys(cell.title for cell, _ in self.left_out.values())
        if not titles:
            return ""
        _, why = next(iter(self.left_out.values()))
        return f"left out, too long for this model: {'; '.join(titles)} ({why})"


def ask_all(wanted: Sequence[Cell], subject: Subject, cells: Cells, progress: Progress, *, strict: bool) -> Asked:
    """With `strict`, and always where nothing but the question is asked, a prompt that is too long is refused at once."""
    asked = Asked(subject=subject)
    missing: dict[str, Cell] = {}
    for cell in wanted:
        key = asked.key(cell)
        if key in asked.answers or key in missing:
            continue  # the usual order and wording are among the ways to ask
        found = cells.find(asked.identity(cell))
        if found is None:
            missing[key] = cell
        else:
            asked.answers[key] = found
            asked.reused += 1
    if missing:
        _compute(missing, asked, cells, progress, strict)
    return asked


def _compute(missing: dict[str, Cell], asked: Asked, cells: Cells, progress: Progress, strict: bool) -> None:
    for key, cell in missing.items():
        if why := too_long(cell, asked.subject):
            if strict or (cell.mode == DIRECT and not cell.shots):
                raise ValueError(f"{why}; {'give fewer --shots, or ' if cell.shots else ''}add --skip-long")
            asked.left_out[key] = cell, why
    asking = {key: cell for key, cell in missing.items() if key not in asked.left_out}
    if not asking:
        return
    from tasks.evaluation.asked import answered  # torch: five seconds, and only where a model is asked

    total = sum(len(cell.items) * (cell.samples or 1) for cell in asking.values())
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        progress("answers", done, total)

    for key, cell in asking.items():
        asked.answers[key] = answered(cell, asked.subject, told)
        cells.keep(asked.identity(cell), asked.answers[key])
