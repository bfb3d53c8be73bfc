"""Draw what a demand needs as its rates grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analyzer.formats.figure_style import DIM, PALETTE, head, house_style
from planner.explanation.growth import GrowthPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def growth_figure(points: Sequence[GrowthPoint], unit: str) -> Figure:
    """Draw GPUs over the rate factor beside first-fit decreasing and, for another objective than GPUs, its value.

    Parameters
    ----------
    points : sequence of GrowthPoint
        A factor without a plan is a cross on the axis.
    unit : str
        Unit of the objective's value.
    """
    from matplotlib.figure import Figure

    with house_style():
        costs = unit != "GPUs"
        figure = Figure(figsize=(10 if costs else 6.5, 4.2))
        panels = figure.subplots(1, 2 if costs else 1, squeeze=False)[0]
        lines = [("plan", "gpus", PALETTE[0], "-"), ("first-fit decreasing", "first_fit_gpus", PALETTE[1], ":")]
        _panel(panels[0], points, lines, "GPUs needed", "GPUs")
        if costs:
            money = [("plan", "value", PALETTE[0], "-"), ("at least", "lower_bound", DIM, "--")]
            _panel(panels[1], points, money, str(points[0].objective).capitalize(), unit)
        proven = sum(point.status == "optimal" for point in points)
        head(figure, "Growth", f"{proven} of {len(points)} plans proven to be the least")
    return figure


def _panel(
    axes: Axes, points: Sequence[GrowthPoint], lines: Sequence[tuple[str, str, str, str]], title: str, unit: str
) -> None:
    for name, key, color, style in lines:
        known = [(point.rate_factor, value) for point in points if (value := getattr(point, key)) is not None]
        axes.plot([x for x, _ in known], [y for _, y in known], style, color=color, marker="o", label=name)
    missing = [point.rate_factor for point in points if point.gpus is None]
    if missing:
        axes.plot(missing, [0] * len(missing), "x", color=PALETTE[5], label="no plan", clip_on=False)
    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.set_xlabel("factor on every rate")
    axes.set_ylim(bottom=0)
    if unit == "GPUs":
        axes.locator_params(axis="y", integer=True)
    axes.legend(loc="upper left")
