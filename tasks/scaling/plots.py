"""The figures people know of scaling laws, as PNG: iso-FLOP valleys, the envelope of curves, predicted against measured.

They have the palette of the run's report (tasks/release/plots.py), which this stage cannot see.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator

from tasks import figures
from tasks.figures import ACCENT, BLUE, MUTED, PAPER, RULE, RUST
from tasks.scaling.envelope import EnvelopeFit
from tasks.scaling.fit import Fitted
from tasks.scaling.isoflop import IsoFlopFit
from tasks.scaling.parametric import ParametricFit
from tasks.scaling.runs import Runs

STYLE = {
    **figures.STYLE,
    "font.size": 9,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.grid": True,
    "legend.fontsize": 8,
}
OUTLYING_NAMED = 5
MOST_LABELS = 12
LOSSES_BELOW = 100.0  # an axis beyond it is of sizes or FLOPs


def draw(fitted: Fitted, folder: Path) -> list[Path]:
    """One file for each figure that the fits allow."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for fit in fitted.fits.values():
        if isinstance(fit, IsoFlopFit):
            drawn += [iso_flop(fit, fitted.points, folder / "iso-flop.png")]
        elif isinstance(fit, EnvelopeFit):
            drawn += [envelope(fit, fitted.all_rows, folder / "envelope.png")]
        elif isinstance(fit, ParametricFit):
            drawn += [predicted(fit, fitted.points, folder / "predicted.png")]
    optima = {
        name: fit for name, fit in fitted.fits.items() if hasattr(fit, "optimum") or isinstance(fit, ParametricFit)
    }
    if optima:
        drawn += [optimal_sizes(optima, fitted.points, folder / "optimal-sizes.png")]
    return drawn


def iso_flop(fit: IsoFlopFit, runs: Runs, png: Path) -> Path:
    """Loss over size, one colour a budget, its parabola and the parabola's lowest point."""
    with _figure(png, "Loss over size, by budget") as axes:
        for valley, colour in zip(fit.valleys, _shades(len(fit.valleys)), strict=True):
            same = np.abs(np.log(runs.flops / valley.flops)) < 0.05
            near = np.isin(np.arange(len(runs)), valley.places)
            axes.plot(
                runs.parameters[same & ~near], runs.loss[same & ~near], "o", color=colour, markersize=3, mfc="none"
            )
            sizes = runs.parameters[valley.places]
            axes.plot(sizes, runs.loss[valley.places], "o", color=colour, markersize=4)
            between = np.geomspace(sizes.min(), sizes.max(), 60)
            axes.plot(between, valley.at(between), color=colour, linewidth=1.3, label=f"{valley.flops:.2g} FLOPs")
            axes.plot(valley.parameters, valley.loss, "D", color=RUST, markersize=5, zorder=5)
        axes.plot([], [], "D", color=RUST, label="lowest point of a parabola")
        if any(len(valley.places) < len(runs) for valley in fit.valleys):
            axes.plot([], [], "o", color=MUTED, mfc="none", markersize=3, label="not in its parabola")
        axes.set_xscale("log")
        axes.set_xlabel("parameters")
        axes.set_ylabel("loss, nats a token")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return png


def envelope(fit: EnvelopeFit, runs: Runs, png: Path) -> Path:
    """Loss over FLOPs, one line a size, and the points at which a size is the best one."""
    with _figure(png, "Training curves and their lower envelope") as axes:
        sizes = np.unique(np.round(np.log(runs.parameters), 3))
        for number, (size, colour) in enumerate(zip(sizes, _shades(len(sizes)), strict=True)):
            rows = np.flatnonzero(np.round(np.log(runs.parameters), 3) == size)
            shown = len(sizes) <= MOST_LABELS or number % (len(sizes) // MOST_LABELS + 1) == 0
            label = f"{_short(float(np.exp(size)))} parameters" if shown else None
            for run in np.unique(runs.run[rows]) if len(np.unique(runs.run[rows])) < len(rows) else [None]:
                chosen = rows if run is None else rows[runs.run[rows] == run]
                chosen = chosen[np.argsort(runs.flops[chosen])]
                axes.plot(
                    runs.flops[chosen], runs.loss[chosen], "o-", color=colour, markersize=2, linewidth=1.0, label=label
                )
                label = None
        axes.plot(fit.flops, fit.loss, ".", color=RUST, markersize=2.5, label="the best size lies inside")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:.3g}")
        axes.set_xlabel("training FLOPs")
        axes.set_ylabel("loss, nats a token")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return png


def predicted(fit: ParametricFit, runs: Runs, png: Path) -> Path:
    """Predicted over measured loss with the rows furthest from the law named by their number in the file."""
    law = fit.law
    said = f"L = {law.E:.3f} + {law.A:.4g} / N^{law.alpha:.3f} + {law.B:.4g} / D^{law.beta:.3f}"
    with _figure(png, f"Predicted against measured\n{said}") as axes:
        foretold = runs.loss * np.exp(fit.residuals)
        points = axes.scatter(runs.loss, foretold, c=np.log10(runs.flops), cmap=_map(), s=14, zorder=3)
        ends = [min(runs.loss.min(), foretold.min()), max(runs.loss.max(), foretold.max())]
        axes.plot(ends, ends, color=MUTED, linewidth=1.0)
        for place in np.argsort(-np.abs(fit.residuals))[:OUTLYING_NAMED]:
            axes.annotate(
                f"row {runs.row[place]}", (runs.loss[place], foretold[place]), xytext=(6, -2),
                textcoords="offset points", color=RUST, fontsize=7.5,
            )  # fmt: skip
        axes.set_xlabel("measured loss, nats a token")
        axes.set_ylabel("predicted")
        axes.figure.colorbar(points, ax=axes, label="log10 of training FLOPs", pad=0.02).outline.set_visible(False)
    return png


def optimal_sizes(fits: dict[str, Any], runs: Runs, png: Path) -> Path:
    """The best size over FLOPs by each approach, with what each found at single budgets."""
    with _figure(png, "The best size for a budget") as axes:
        flops = np.geomspace(runs.flops.min(), runs.flops.max() * 10, 50)
        colours = {"1": BLUE, "2": ACCENT, "3": RUST}
        for name, fit in fits.items():
            if isinstance(fit, ParametricFit):
                exponent, sizes = fit.law.exponents[0], [fit.law.optimum(each)[0] for each in flops]
            else:
                exponent, sizes = fit.exponent_n, [fit.optimum(each)[0] for each in flops]
            axes.plot(flops, sizes, color=colours[name], linewidth=1.5, label=f"approach {name}: C^{exponent:.3f}")
            if isinstance(fit, IsoFlopFit):
                found = [(valley.flops, valley.parameters) for valley in fit.valleys]
                axes.plot(*zip(*found, strict=True), "D", color=colours[name], markersize=4)
            elif isinstance(fit, EnvelopeFit):
                axes.plot(fit.flops, fit.parameters, ".", color=colours[name], markersize=2)
        axes.axvline(runs.flops.max(), color=RULE, linewidth=1.2)
        axes.annotate(
            "beyond the table", (runs.flops.max(), 0.02), xycoords=("data", "axes fraction"), xytext=(4, 0),
            textcoords="offset points", color=MUTED, fontsize=7.5,
        )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("training FLOPs")
        axes.set_ylabel("parameters")
        axes.legend(loc="upper left")
    return png


@contextmanager
def _figure(png: Path, title: str) -> Iterator[Any]:
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 4.4), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        yield axes
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log" and axis.get_view_interval()[1] > LOSSES_BELOW:
                axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))  # nearer ones write over each other
                axis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(np.inf, np.inf)))
        figure.savefig(png, format="png", dpi=150, facecolor=PAPER, metadata={"Software": None})


def _map() -> Any:
    return colormaps["viridis_r"]


def _shades(count: int) -> list[Any]:
    return [_map()(0.08 + 0.9 * place / max(1, count - 1)) for place in range(count)]


def _short(size: float) -> str:
    """124000000 -> 124M"""
    for unit, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g}{unit}"
    return f"{size:.3g}"
