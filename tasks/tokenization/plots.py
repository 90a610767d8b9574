"""Tokenizers to choose by, as a PNG: bytes per token and tokens per word, a row for each text, a mark for each tokenizer.

The palette is that of a run's report (tasks/release/plots.py), which this stage cannot see.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tasks import figures
from tasks.figures import ACCENT, BLUE, INK, LEAF, MAUVE, OCHRE, PAPER, RUST, SLATE
from tasks.tokenization.compare import Row

COLOURS = (ACCENT, OCHRE, BLUE, MAUVE, RUST, LEAF, SLATE, INK)
MARKS = "osD^vPX*"
STYLE = {
    **figures.STYLE,
    "font.size": 8.5,
    "axes.spines.left": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.grid": True,
    "ytick.color": INK,
}
MOST_TEXTS, MOST_TOKENIZERS = 80, len(COLOURS)
MOST_UNKNOWN = 0.1  # of the tokens: beyond it the figures say nothing, and no mark is drawn
LAST_IN_FONT = "\u052f"  # Latin, Greek and Cyrillic; of scripts beyond the font a name shows no letter
PANELS = (
    ("bytes_per_token", "bytes per token", "more is better within one text; hollow: some of it is unknown"),
    ("fertility", "tokens per word", "fewer is better; none where a script has no spaces"),
)


def check(texts: int, tokenizers: int) -> None:
    """ValueError for more than one figure can show; before anything is measured."""
    if texts > MOST_TEXTS or tokenizers > MOST_TOKENIZERS:
        raise ValueError(
            f"--plot shows at most {MOST_TEXTS} texts and {MOST_TOKENIZERS} tokenizers, "
            f"and these are {texts} and {tokenizers}; name fewer, for example with --only"
        )


def draw(rows: Sequence[Row], png: Path) -> None:
    """Write the figure. Hollow marks are of tokenizers that do not know all of the text."""
    texts = list(dict.fromkeys(row.text for row in rows))
    tokenizers = list(dict.fromkeys(row.tokenizer for row in rows))
    check(len(texts), len(tokenizers))
    with rc_context(STYLE):
        height = 1.35 + 0.26 * len(texts) + 0.2 * ((len(tokenizers) + 3) // 4)
        figure = Figure(figsize=(8.4, height), layout="constrained")
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (field, title, note) in zip(panels, PANELS, strict=True):
            axes.set_title(title)
            axes.set_xlabel(note, fontsize=7.5)
            _marks(axes, rows, field, texts, tokenizers)
        panels[0].set_yticks(range(len(texts)), [_shown(text, place) for place, text in enumerate(texts, 1)])
        panels[0].set_ylim(len(texts) - 0.4, -0.6)
        _legend(figure, tokenizers)
        figure.savefig(png, format="png", dpi=150, facecolor=PAPER, metadata={"Software": None})


def _marks(axes: Any, rows: Sequence[Row], field: str, texts: Sequence[str], tokenizers: Sequence[str]) -> None:
    for row in rows:
        if getattr(row, field) is None or row.unknown_share > MOST_UNKNOWN:
            continue
        number = tokenizers.index(row.tokenizer)
        axes.plot(
            getattr(row, field), texts.index(row.text), MARKS[number], markersize=5.5, color=COLOURS[number],
            markerfacecolor=PAPER if row.unknown_share else COLOURS[number], markeredgewidth=1.0,
        )  # fmt: skip
    axes.set_xlim(left=0)
    axes.margins(x=0.08)


def _legend(figure: Any, tokenizers: Sequence[str]) -> None:
    marks = [
        Line2D([], [], linestyle="", marker=MARKS[number], color=COLOURS[number], label=_shown(name, number + 1))
        for number, name in enumerate(tokenizers)
    ]
    figure.legend(handles=marks, loc="outside lower left", ncols=min(4, len(marks)))


def _shown(name: str, place: int) -> str:
    """A name as far as the font has its letters, else its number."""
    kept = "".join(letter for letter in name if letter.isprintable() and letter <= LAST_IN_FONT).strip()
    return kept.replace("$", r"\$")[:32] or f"no. {place}"
