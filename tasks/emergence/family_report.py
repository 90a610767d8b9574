"""What a leave-one-family-out study found: a table for people, and a plot of the gain against the number of families."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.figure import Figure

from tasks import figures
from tasks.alignment.families import Wording
from tasks.alignment.family_study import Marks, Result, gain
from tasks.figures import ACCENT, INK, MUTED, OCHRE, PAPER, RUST

Measure = Literal["likelihood", "exact", "ranked"]
SAID: Mapping[Measure, str] = {
    "likelihood": "log2 probability of the right answer, per byte",
    "exact": "exact match",
    "ranked": "right option likeliest",
}
LEAST: Mapping[Measure, float | None] = {"likelihood": None, "exact": -1.0, "ranked": -1.0}  # of a gain
COLOURS: Mapping[Measure, str] = {"likelihood": RUST, "exact": ACCENT, "ranked": OCHRE}
PANELS: tuple[tuple[Measure, ...], ...] = (("likelihood",), ("exact", "ranked"))
STYLE = {**figures.STYLE, "font.size": 9, "axes.grid": True, "axes.grid.axis": "y"}


class Study:
    """Results of all seeds beside the base's marks, by held-out family."""

    def __init__(self, base: Mapping[str, Marks], results: Sequence[Result]) -> None:
        self.base, self.results = base, results

    @property
    def held_out(self) -> list[str]:
        return list(self.base)

    @property
    def numbers(self) -> list[int | None]:
        return list(dict.fromkeys(each.number for each in self.results if each.wording == "templates"))

    def of(self, family: str, number: int | None, wording: Wording) -> list[Result]:
        wanted = (family, number, wording)
        return [each for each in self.results if (each.held_out, each.number, each.wording) == wanted]

    def gains(
        self, families: Sequence[str], number: int | None, wording: Wording, measure: Measure
    ) -> tuple[float, float, float] | None:
        """Over the base, over the items of all `families`; None where they have none of that kind."""
        before = [mark for family in families for mark in getattr(self.base[family], measure)]
        if not before:
            return None
        each = [self.of(family, number, wording) for family in families]
        after = [
            [mark for result in seed for mark in getattr(result.marks, measure)] for seed in zip(*each, strict=True)
        ]
        return gain(after, before, least=LEAST[measure])

    def over_control(self, families: Sequence[str], measure: Measure) -> tuple[float, float, float] | None:
        """All families with templates - all without, seed by seed on the same items."""
        each = [(self.of(family, None, "templates"), self.of(family, None, "names")) for family in families]
        seeds = range(len(each[0][0]))
        difference = [
            [
                mark - other
                for templates, names in each
                for mark, other in zip(
                    getattr(templates[seed].marks, measure), getattr(names[seed].marks, measure), strict=True
                )
            ]
            for seed in seeds
        ]
        return gain(difference, [0.0] * len(difference[0]), least=LEAST[measure]) if difference[0] else None

    def trained_on(self, number: int | None) -> float:
        return fmean(
            len(each.families) for each in self.results if (each.number, each.wording) == (number, "templates")
        )


def table(study: Study) -> Iterator[str]:
    """For each measure: the base's score, then the gain over it by number of families and without templates."""
    columns: list[tuple[str, int | None, Wording]] = [
        *(("all" if number is None else str(number), number, "templates") for number in study.numbers),
        ("all, no templates", None, "names"),
    ]
    for measure, said in SAID.items():
        yield f"{said}: base, then the gain over it (95 % interval over seeds and items) by families trained on"
        yield f"{'held out':14}{'items':>6}{'base':>7}" + "".join(f"{name:>28}" for name, _, _ in columns)
        rows = [(family, [family]) for family in study.held_out]
        for name, families in [*rows, ("all of them", study.held_out)]:
            before = [mark for family in families for mark in getattr(study.base[family], measure)]
            if before:
                cells = (study.gains(families, number, wording, measure) for _, number, wording in columns)
                yield f"{name:14}{len(before):6}{fmean(before):7.3f}" + "".join(f"{_cell(each):>28}" for each in cells)
        yield f"templates over none, all held-out families: {_cell(study.over_control(study.held_out, measure))}"
        yield ""


def _cell(found: tuple[float, float, float] | None) -> str:
    return "" if found is None else f"{found[0]:+.3f} ({found[1]:+.3f} to {found[2]:+.3f})"


def draw(study: Study, path: Path) -> Path:
    """The gain over the base against the number of families; crosses: all of them without templates."""
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.4), layout="constrained")
        panels: Any = figure.subplots(1, len(PANELS))
        for axes, measures in zip(panels, PANELS, strict=True):
            for measure in measures:
                _curve(axes, study, measure)
            axes.plot([], [], "x", color=MUTED, label="all, no templates")
            axes.axhline(0, color=MUTED, linewidth=0.8)
            axes.set_xlabel("families trained on")
            axes.legend(fontsize=8)
        panels[0].set_ylabel("gain over the base, held-out family")
        panels[0].set_title("Leave one family out", fontsize=10, color=INK, loc="left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=150, facecolor=PAPER, metadata={"Software": None})
    return path


def _curve(axes: Any, study: Study, measure: Measure) -> None:
    points = [study.gains(study.held_out, number, "templates", measure) for number in study.numbers]
    known = [(study.trained_on(number), each) for number, each in zip(study.numbers, points, strict=True) if each]
    if not known:
        return
    at, colour = [place for place, _ in known], COLOURS[measure]
    axes.plot(at, [mean for _, (mean, _, _) in known], "o-", color=colour, markersize=4, label=SAID[measure])
    lows, highs = [low for _, (_, low, _) in known], [high for _, (_, _, high) in known]
    axes.fill_between(at, lows, highs, color=colour, alpha=0.18, lw=0)
    control = study.gains(study.held_out, None, "names", measure)
    if control:
        axes.plot([at[-1]], [control[0]], "x", color=colour, markersize=7)
