"""The common style of all figures (colours, fonts, titles), and their rendering as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from analyzer.formats.units import printable, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#1b1f24"
DIM = "#57606a"
FAINT = "#8b949e"
SERVER_GREY = "#9aa4ae"
# Okabe and Ito's colours, which colour-blind readers can distinguish too: https://jfly.uni-koeln.de/color/ (without
# black; yellow last, since yellow lines are hard to see on white).
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
DOTS_PER_INCH = 144
TITLE_LENGTH = 80  # characters that fit across a figure

_RC: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so figures are the same everywhere
    "font.size": 9.0,
    "text.parse_math": False,  # a $ in a name is a dollar sign
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e3e7eb",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.wspace": 0.04,
    "figure.constrained_layout.hspace": 0.04,
    "figure.facecolor": "white",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the common style inside the ``with`` block, and restore matplotlib's settings after it."""
    import warnings

    import matplotlib as mpl

    with mpl.rc_context(_RC), warnings.catch_warnings():
        # A character that the font lacks is drawn as a box; the tables beside the figures have the whole name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def png(figure: Figure) -> bytes:
    """Render a figure as a PNG picture."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def label(text: str, length: int = TITLE_LENGTH) -> str:
    """Shorten a name for a figure: one line, at most `length` characters, its middle cut out if it is longer."""
    return shortened(printable(text), length)


def head(figure: Figure, title: str, subtitle: str) -> None:
    """Write a title over the whole figure and a smaller line below it."""
    left, inch = 0.12 / figure.get_figwidth(), 1 / figure.get_figheight()
    # The empty second line makes the layout leave room for the smaller one; suptitle has one size only.
    figure.suptitle(f"{label(title)}\n ", x=left, ha="left", fontsize=13, fontweight="bold")
    figure.text(left, 1 - 0.36 * inch, label(subtitle, 2 * TITLE_LENGTH), ha="left", va="top", color=DIM)
