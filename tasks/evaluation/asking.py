"""The cells of a suite, each asked once: what an earlier command found is taken again, what is too long is left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.artifacts import digest_of
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

    def key(self, cell: Cell) -> str:
        return digest_of(identity_of(cell, self.subject))

    @property
    def note(self) -> str:
        """One sentence about all that was left out, or ""."""
        titles = dict.fromkeys(cell.title for cell, _ in self.left_out.values())
        if not titles:
            return ""
        _, why = next(iter(self.left_out.values()))
        return f"left out, too long for this model: {'; '.join(titles)} ({why})"

    def of(self, cell: Cell) -> Examples | None:
        return self.answers.get(self.key(cell))


def ask_all(wanted: Sequence[Cell], subject: Subject, cells: Cells, progress: Progress, *, strict: bool) -> Asked:
    """With `strict`, and always where nothing but the question is asked, a prompt that is too long is refused at once."""
    asked = Asked(subject=subject)
    missing = {}
    for cell in wanted:
        found = cells.find(identity_of(cell, subject))
        if found is None:
            missing.setdefault(asked.key(cell), cell)
        elif asked.key(cell) not in asked.answers:
            asked.answers[asked.key(cell)] = found
            asked.reused += 1
    if missing:
        _compute(missing, asked, cells, progress, strict)
    return asked


def _compute(missing: dict[str, Cell], asked: Asked, cells: Cells, progress: Progress, strict: bool) -> None:
    from tasks.evaluation.asked import answered, too_long  # torch: five seconds, and only where a model is asked

    for key, cell in missing.items():
        if why := too_long(cell, asked.subject):
            if strict or (cell.mode == DIRECT and not cell.shots):
                raise ValueError(f"{why}; {'give fewer --shots, or ' if cell.shots else ''}add --skip-long")
            asked.left_out[key] = cell, why
    asking = [(key, cell) for key, cell in missing.items() if key not in asked.left_out]
    total = sum(len(cell.items) * (cell.samples or 1) for _, cell in asking)
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        progress("answers", done, total)

    for key, cell in asking:
        asked.answers[key] = answered(cell, asked.subject, told)
        cells.keep(identity_of(cell, asked.subject), asked.answers[key])
