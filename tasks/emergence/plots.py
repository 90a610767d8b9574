"""The study's figure: each ability's exact match and, below it, the nats per token, against parameters on a log axis."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks import figures
from tasks.emergence.abilities import LABELS, UNITS, Ability
from tasks.emergence.report import Record, abilities_of, scores
from tasks.evaluation.seed_intervals import interval
from tasks.figures import ACCENT, INK, MUTED, OCHRE, PAPER

COLOURS = {"direct": OCHRE, "scratchpad": ACCENT}
STYLE = {**figures.STYLE, "font.size": 8.5, "axes.grid": True, "axes.grid.axis": "y"}
PANEL = (2.15, 1.75)  # inches


def draw(records: Sequence[Record], verdicts: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """A PNG for each name of an ability, in `folder`: a column for each size of the problem, a colour for each mode."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(ability.name for ability in abilities_of(records)))
    return [_draw(records, verdicts, name, folder / f"emergence-{name.replace(' ', '-')}.png") for name in names]


def _draw(records: Sequence[Record], verdicts: Sequence[Mapping[str, Any]], name: str, path: Path) -> Path:
    abilities = [ability for ability in abilities_of(records) if ability.name == name]
    columns = sorted({ability.digits for ability in abilities})
    with rc_context(STYLE):
        figure = Figure(figsize=(0.6 + PANEL[0] * len(columns), 0.5 + 2 * PANEL[1]), layout="constrained")
        grid = figure.subplots(2, len(columns), squeeze=False, sharex=True, sharey="row")
        for place, digits in enumerate(columns):
            here = [ability for ability in abilities if ability.digits == digits]
            _panels(grid[0][place], grid[1][place], records, here)
            grid[0][place].set_title(
                f"{UNITS[name]}: {digits}\n{_said(verdicts, here)}", fontsize=8, color=INK, loc="left"
            )
            grid[1][place].set_xlabel("parameters")
        grid[0][0].set_ylabel("exact match")
        grid[1][0].set_ylabel("nats per token")
        grid[0][0].set_ylim(-0.03, 1.05)  # once all is drawn: rows share their axes, and a limit ends their scaling
        grid[1][0].set_ylim(bottom=0.0)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        figure.suptitle(name, fontsize=10, color=INK)
        figure.savefig(path, format="png", dpi=150, facecolor=PAPER, metadata={"Software": None})
    return path


def _panels(upper: Axes, lower: Axes, records: Sequence[Record], abilities: Sequence[Ability]) -> None:
    for ability in abilities:
        colour = COLOURS[ability.mode]
        for axes, measure, top in ((upper, "exact", 1.0), (lower, "nats", float("inf"))):
            found = scores(records, ability, measure)
            if found is None:
                continue
            sizes, values_KSI = found
            points = [interval(each, least=0.0 if measure == "exact" else None) for each in values_KSI]
            means = [mean for mean, _, _ in points]
            axes.plot(sizes, means, "o-", color=colour, markersize=3, linewidth=1.5, label=ability.mode)
            axes.fill_between(
                sizes,
                [max(0.0, low) for _, low, _ in points],
                [min(top, high) for _, _, high in points],
                color=colour,
                alpha=0.18,
                lw=0,
            )
        _floors(upper, records, ability)
    upper.set_xscale("log")
    lower.minorticks_off()


def _floors(axes: Axes, records: Sequence[Record], ability: Ability) -> None:
    """Below 1/n exact match cannot be seen; where there are choices, guessing is right that often."""
    found = scores(records, ability, "exact")
    if found is None or ability.mode == "scratchpad":
        return
    axes.axhline(1 / found[1].shape[2], color=MUTED, linewidth=0.8, linestyle=":", label="1/n, the least it can show")
    if ability.name == "label mapping":
        axes.axhline(1 / len(LABELS), color=MUTED, linewidth=0.8, linestyle="--", label="guessing")


def _said(verdicts: Sequence[Mapping[str, Any]], abilities: Sequence[Ability]) -> str:
    known = {(each["ability"], each["digits"], each["mode"]): each["verdict"] for each in verdicts}
    return "\n".join(
        f"{ability.mode}: {known.get((ability.name, ability.digits, ability.mode), '')}" for ability in abilities
    )
