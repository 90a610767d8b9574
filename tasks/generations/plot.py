"""The history of language models on one text as a picture: how well each predicts, beside what counting reaches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from tasks import figures
from tasks.figures import ACCENT, INK, MUTED, OTHER, PAPER
from tasks.generations.rows import COUNTING, PERPLEXITY

STYLE = {**figures.STYLE, "font.size": 9, "axes.spines.left": False, "ytick.color": INK}


def bars(rows: Sequence[Mapping[str, Any]], png: Path, *, title: str) -> Path | None:
    """Test perplexities, or bits per byte where there are any; only of models that give the text a probability."""
    scored = [row for row in rows if row["measure"] == PERPLEXITY and row["test_perplexity"] is not None]
    if not scored:
        return None
    name = "bits_per_byte" if all(row["bits_per_byte"] is not None for row in scored) else "test_perplexity"
    floor = next((row[name] for row in scored if row["model"] == COUNTING), None)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.9 + 0.36 * len(scored)), layout="constrained")
        axes = figure.add_subplot()
        labels = [f"{row['model']}  {row['year']}" for row in scored]
        colours = [OTHER if floor is not None and row[name] >= floor else ACCENT for row in scored]
        drawn = axes.barh(labels, [row[name] for row in scored], color=colours, height=0.62)
        shown = "%.3f" if name == "bits_per_byte" else "%.1f"
        axes.bar_label(drawn, fmt=shown, padding=4, zorder=3, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1})
        axes.invert_yaxis()
        axes.margins(x=0.12)
        if floor is not None:
            axes.axvline(floor, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        unit = "bits per byte" if name == "bits_per_byte" else "perplexity per piece"
        axes.set_xlabel(f"{unit} of the test text, lower is better; the dashed line is counting")
        axes.set_title(title, loc="left", fontsize=10)
        figure.savefig(png, dpi=160)
    return png
