"""The report's figures, drawn by matplotlib: inline SVG that follows the page's light or dark colours, and PNG files."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from tasks.figures import BLUE, LEAF, LIGHT, MAUVE, OCHRE, PAGE_STYLE, PAPER, SLATE, drawn

PART_COLOURS = {
    "data": OCHRE,
    "training": "#2c6e4e",
    "sampling": LEAF,
    "evaluation": BLUE,
    "start-up": MAUVE,
    "glue": "#b3aea2",
}
UNKNOWN_PART = SLATE
MOST_POINTS = 600


def curve(points: Sequence[tuple[float, float]], *, png: Path) -> str:
    """One metric over steps; where it is noisy, every point faint and a running mean on top. Returns the SVG."""
    points = _thinned([(step, value) for step, value in points if math.isfinite(value)])
    with rc_context({**PAGE_STYLE, "svg.hashsalt": png.stem}):
        figure = Figure(figsize=(3.1, 1.75), layout="constrained")
        axes = figure.add_subplot()
        steps, values = [step for step, _ in points], [value for _, value in points]
        noisy = _is_noisy(values)
        axes.plot(steps, values, color=LIGHT["faint" if noisy else "accent"], linewidth=1.0 if noisy else 1.6)
        if noisy:
            axes.plot(steps, _running_mean(values), color=LIGHT["accent"], linewidth=1.6)
        if len(points) == 1:
            axes.plot(steps, values, "o", color=LIGHT["accent"], markersize=4)
        axes.locator_params(axis="x", nbins=4, integer=True)
        axes.locator_params(axis="y", nbins=4)
        axes.margins(x=0.02)
        axes.yaxis.set_major_formatter(_short)
        return drawn(figure, png)


def bits_per_byte(values: Mapping[str, float], *, png: Path) -> str:
    """Bars of bits per byte, the model's own (the key "model") set apart; lower is better."""
    with rc_context({**PAGE_STYLE, "axes.grid": False, "svg.hashsalt": png.stem}):
        figure = Figure(figsize=(6.4, 0.5 + 0.38 * len(values)), layout="constrained")
        axes = figure.add_subplot()
        names = list(values)
        colours = [LIGHT["accent" if name == "model" else "other"] for name in names]
        bars = axes.barh(names, [values[name] for name in names], color=colours, height=0.62)
        axes.bar_label(bars, fmt="%.3f", padding=4, color=LIGHT["ink"])
        axes.invert_yaxis()
        axes.tick_params(axis="y", labelcolor=LIGHT["ink"])
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.margins(x=0.1)
        return drawn(figure, png)


def time_parts(parts: Mapping[str, float], *, png: Path) -> str:
    """One bar of where the time went; parts too narrow for a label are named in the list below it on the page."""
    total = sum(parts.values()) or 1.0
    with rc_context({**PAGE_STYLE, "axes.grid": False, "svg.hashsalt": png.stem}):
        figure = Figure(figsize=(9.6, 0.44))
        axes = figure.add_axes((0, 0, 1, 1))
        left = 0.0
        for name, seconds in parts.items():
            axes.barh(0, seconds, left=left, color=part_colour(name), height=1.0, edgecolor=PAPER, linewidth=1.5)
            label = f"{name}  {seconds / total:.0%}"
            if seconds / total > 0.0085 * len(label):
                axes.text(left + seconds / 2, 0, label, ha="center", va="center", color="#ffffff", fontsize=9)
            left += seconds
        axes.set_xlim(0, total)
        axes.set_ylim(-0.5, 0.5)
        axes.axis("off")
        return drawn(figure, png)


def part_colour(name: str) -> str:
    return PART_COLOURS.get(name, UNKNOWN_PART)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS, each the mean of its neighbours: a page stays small whatever the run's length."""
    if len(points) <= MOST_POINTS:
        return points
    size = math.ceil(len(points) / MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _is_noisy(values: Sequence[float]) -> bool:
    """Whether neighbours differ by more than a fiftieth of the range, as they never do on a schedule."""
    if len(values) < 12:
        return False
    jumps = [abs(after - before) for before, after in itertools.pairwise(values)]
    return sum(jumps) / len(jumps) > 0.02 * (max(values) - min(values))


def _running_mean(values: Sequence[float]) -> list[float]:
    """The mean of a window centred on each point, narrower at both ends, so that the line does not lag behind."""
    sums = [0.0, *itertools.accumulate(values)]
    half = max(1, len(values) // 24)
    smooth = []
    for place in range(len(values)):
        reach = min(half, place, len(values) - 1 - place)
        smooth.append((sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1))
    return smooth


def _short(value: float, _position: Any = None) -> str:
    """0.00012 -> 1.2e-04, 12500 -> 12.5k, 3.0 -> 3"""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value / 1000:.4g}k"
    return f"{value:.3g}" if size >= 0.001 else f"{value:.1e}"
