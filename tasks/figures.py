"""The look of every figure that is drawn here: one palette, one font, few lines."""

from typing import Any

INK, MUTED, RULE, PAPER = "#1f2522", "#6d726c", "#dedad0", "#fdfcf9"
ACCENT, FAINT, OTHER = "#2c6e4f", "#b9cfc3", "#a9ada3"
OCHRE, BLUE, MAUVE, RUST, LEAF, SLATE = "#c78f35", "#4a7ca8", "#9a86b0", "#c4642d", "#7aa95c", "#8f9aa0"

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
