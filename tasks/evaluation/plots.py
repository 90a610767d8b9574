"""An evaluation's figures: each benchmark over the number of shots, a colour for each mode, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tasks.evaluation.comparable import Row
from tasks.figures import ACCENT, BLUE, INK, LEAF, MAUVE, OCHRE, PAGE_STYLE, RUST, SLATE, drawn

COLOURS = {"direct": OCHRE, "cot": ACCENT, "likelihood": BLUE}
OTHERS = (MAUVE, RUST, LEAF, SLATE)  # self-consistency, and what other suites call their modes
APART = 0.09  # of the way from one number of shots to the next, so that intervals do not hide each other
SINGLE_INCHES = 0.3  # a line of the figure of single values


def mode_colours(rows: Sequence[Row]) -> dict[str, str]:
    """One colour for each mode on the whole page."""
    modes = list(dict.fromkeys(str(row["mode"]) for row in rows))
    others = iter([*OTHERS] * len(modes))
    return {mode: COLOURS.get(mode) or next(others) for mode in modes}


def matrices(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """benchmark -> the first figure of each number of shots and mode, where there are several numbers of shots."""
    found: dict[str, dict[tuple[Any, Any], Row]] = {}
    for row in rows:
        if _is_share(row):
            found.setdefault(row["benchmark"], {}).setdefault((row["shots"], row["mode"]), row)
    return {name: list(cells.values()) for name, cells in found.items() if len({shots for shots, _ in cells}) > 1}


def singles(rows: Sequence[Row]) -> list[Row]:
    """The shares of the benchmarks that have no matrix."""
    inside = matrices(rows)
    return [row for row in rows if _is_share(row) and row["benchmark"] not in inside]


def _is_share(row: Row) -> bool:
    """Between 0 and 1, of all items, and no range between the best and the worst way to ask."""
    return "subset" not in row and "ways" not in row and row["low"] >= 0 and row["high"] <= 1


def matrix(rows: Sequence[Row], colours: Mapping[str, str]) -> str:
    """One benchmark: the value over shots, a line for each mode, with its intervals. The SVG."""
    shots = sorted({row["shots"] for row in rows}, key=lambda each: -1 if each is None else each)
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    with rc_context({**PAGE_STYLE, "svg.hashsalt": "matrix"}):
        figure = Figure(figsize=(3.1, 1.95), layout="constrained")
        axes = figure.add_subplot()
        for number, mode in enumerate(modes):
            found = sorted((row for row in rows if row["mode"] == mode), key=lambda row: shots.index(row["shots"]))
            places = [shots.index(row["shots"]) + (number - (len(modes) - 1) / 2) * APART for row in found]
            values, reach = [row["value"] for row in found], _reach(found)
            axes.errorbar(places, values, yerr=reach, fmt="o-", color=colours[mode], markersize=4, elinewidth=1.1)
        axes.set_xticks(range(len(shots)), ["–" if each is None else str(each) for each in shots])
        axes.set_xlim(-0.4, len(shots) - 0.6)
        axes.set_xlabel("shots")
        _share_axis(axes, "y")
        return drawn(figure)


def single(rows: Sequence[Row], colours: Mapping[str, str]) -> str:
    """One line for each figure: a dot and its interval. The SVG."""
    with rc_context({**PAGE_STYLE, "axes.grid.axis": "x", "svg.hashsalt": "single"}):
        figure = Figure(figsize=(6.4, 0.45 + SINGLE_INCHES * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for place, row in enumerate(rows):
            axes.errorbar(row["value"], place, xerr=_reach([row]), fmt="o", color=colours[row["mode"]], markersize=5)
        names = [f"{_shortened(row['benchmark'])}, {row['metric'].replace('_', ' ')}" for row in rows]
        axes.set_yticks(range(len(rows)), names, color=INK, parse_math=False)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        _share_axis(axes, "x")
        return drawn(figure)


def _reach(rows: Sequence[Row]) -> list[list[float]]:
    """How far the intervals reach below and above the values."""
    return [[row["value"] - row["low"] for row in rows], [row["high"] - row["value"] for row in rows]]


def _shortened(name: str, most: int = 24) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _share_axis(axes: Any, which: str) -> None:
    axis = axes.yaxis if which == "y" else axes.xaxis
    getattr(axes, f"set_{which}lim")(-0.03, 1.03)
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1])
    axis.set_major_formatter(PercentFormatter(1, decimals=0))
