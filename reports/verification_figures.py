"""Draw a verification: predicted against measured figures of its models, and the memory of its GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analyzer.formats.figure_style import DIM, PALETTE, SERVER_GREY, head, house_style, label
from analyzer.formats.units import MIB, counted, mib
from planner.verification.document import Compared, Verdict, Verification, VerifiedContent
from planner.verification.verdict import judge_share
from reports.placement_figures import MOST_FIGURES, THRESHOLD_RED
from reports.prediction_figures import STYLES, prediction_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 40  # contents of one figure
ROW_INCHES = 0.46
FURTHEST = 3.0  # thresholds are drawn up to this multiple of the longest bar; further ones are written only
PLANNED, MEASURED, ABOVE = SERVER_GREY, PALETTE[0], STYLES[Verdict.MISSES][0]


def verification_figures(title: str, found: Verification) -> list[Figure]:
    """Draw a verification: one figure with a point for each model, then the memory with a row for each content.

    Returns
    -------
    list of Figure
        Empty where nothing was measured; at most 10 of memory, whose last one says how many contents are in the table
        only.
    """
    points = prediction_figure(title, found)
    rows = [content for content in found.contents if content.memory.measured is not None]
    pages = [rows[start : start + MOST_ROWS] for start in range(0, len(rows), MOST_ROWS)]
    drawn = pages[:MOST_FIGURES]
    left_out = sum(map(len, pages[MOST_FIGURES:]))
    figures = [] if points is None else [points]
    for n, page in enumerate(drawn, start=1):
        part = f", part {n} of {len(drawn)}" if len(drawn) > 1 else ""
        words = [counted(len(page), "content"), "the highest memory of the device, Triton included"]
        if len(rows) < len(found.contents):
            words.append(f"not measured on {counted(len(found.contents) - len(rows), 'content')}")
        if left_out and n == len(drawn):
            words.append(f"{counted(left_out, 'content')} more in the table")
        figures.append(_memory(f"{title}, memory{part}", "; ".join(words), page))
    return figures


def _memory(title: str, subtitle: str, rows: Sequence[VerifiedContent]) -> Figure:
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(12, 1.8 + ROW_INCHES * len(rows)))
        axes = figure.subplots()
        end = _axis_end([content.memory for content in rows])
        for position, content in enumerate(rows):
            _row(axes, position, content.memory, end)
        axes.set_yticks(range(len(rows)), [label(f"{content.name}  {content.type}", 44) for content in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("MiB")
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, end * 1.2)
        axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= end])
        head(figure, title, subtitle)
        figure.legend(handles=_legend(rows, end), loc="outside lower left", ncols=4, fontsize=8)
    return figure


def _row(axes: Axes, position: int, memory: Compared, axis_end: float) -> None:
    """Draw what was planned above what was measured, and the threshold over both; beyond the axis it is written."""
    color = ABOVE if judge_share(memory) is Verdict.MISSES else MEASURED
    bars = ((memory.planned, -0.18, PLANNED, "planned"), (memory.measured, 0.18, color, "measured"))
    for value, offset, bar_color, gid in bars:
        if value is not None:
            axes.barh(position + offset, value / MIB, height=0.32, color=bar_color, gid=gid)
    words = ["not planned" if memory.planned is None else f"{mib(memory.planned)} planned"]
    words.append(f"{mib(memory.measured)} measured")
    end = _longest_bar(memory)
    if memory.most is not None and memory.most / MIB <= axis_end:
        axes.vlines(memory.most / MIB, position - 0.42, position + 0.42, color=THRESHOLD_RED, lw=1.6, gid="threshold")
        end = max(end, memory.most / MIB)
    elif memory.most is not None:
        words.append(f"threshold {mib(memory.most)} →")
    axes.annotate(
        ",\n".join(words), (end, position), (5, 0), textcoords="offset points",
        va="center", fontsize=7.5, color=DIM, linespacing=1.15,
    )  # fmt: skip


def _longest_bar(memory: Compared) -> float:
    """Return the larger of what was planned and measured, in MiB."""
    return max(memory.planned or 0.0, memory.measured or 0.0) / MIB


def _axis_end(rows: Sequence[Compared]) -> float:
    """Return the furthest figure that is drawn, in MiB: thresholds far beyond all bars would leave no room for them."""
    longest = max(map(_longest_bar, rows)) or 1.0
    thresholds = (memory.most / MIB for memory in rows if memory.most is not None)
    return max([longest, *(most for most in thresholds if most <= FURTHEST * longest)])


def _legend(rows: Sequence[VerifiedContent], axis_end: float) -> list[Artist]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    above = [judge_share(content.memory) is Verdict.MISSES for content in rows]
    handles: list[Artist] = [Patch(color=PLANNED, label="Planned")]
    if not all(above):
        handles.append(Patch(color=MEASURED, label="Measured"))
    if any(above):
        handles.append(Patch(color=ABOVE, label="Measured, above the threshold"))
    if any(content.memory.most is not None and content.memory.most / MIB <= axis_end for content in rows):
        handles.append(Line2D([], [], color=THRESHOLD_RED, lw=1.6, label="Threshold of the plan"))
    return handles
