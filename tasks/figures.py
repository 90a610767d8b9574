"""The look of every figure that is drawn here: one palette, one font, few lines.

A page's figure is drawn once in the light palette; in its SVG each colour of the palette becomes a variable of the page,
so that it follows the page into the dark.
"""

import io
import re
from pathlib import Path
from typing import Any

INK, MUTED, RULE, PAPER = "#1f2522", "#6d726c", "#dedad0", "#fdfcf9"
ACCENT, FAINT, OTHER = "#2c6e4f", "#b9cfc3", "#a9ada3"
OCHRE, BLUE, MAUVE, RUST, LEAF, SLATE = "#c78f35", "#4a7ca8", "#9a86b0", "#c4642d", "#7aa95c", "#8f9aa0"

LIGHT = {"ink": INK, "muted": MUTED, "rule": RULE, "faint": FAINT, "accent": ACCENT, "other": OTHER, "paper": PAPER}

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # shipped with matplotlib: no search of the machine's fonts
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "text.color": INK,
    "legend.frameon": False,
}
PAGE_STYLE = {**STYLE, "font.size": 8.5, "svg.fonttype": "none", "axes.grid": True, "axes.grid.axis": "y"}


def drawn(figure: Any, png: Path | None = None) -> str:
    """The SVG of a matplotlib figure as it stands inside a page; `png` is written beside it."""
    if png is not None:
        figure.savefig(png, format="png", dpi=150, facecolor=PAPER, metadata={"Software": None})
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue())


def on_page(colour: str) -> str:
    """A colour beside a figure, in a key: the page's variable where the figure's own becomes one."""
    return next((f"var(--{name})" for name, known in LIGHT.items() if known == colour), colour)


def _inline(svg: str) -> str:
    """What stands inside a page: no XML head, no ids that would meet another figure's, the page's colours and size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    svg = svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    for colour in LIGHT.values():
        svg = svg.replace(colour, on_page(colour))
    return svg.replace("'DejaVu Sans'", "inherit")
