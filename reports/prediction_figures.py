"""Draw predicted against measured slow-down and p99 latency of a verification, with a point for each model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

from analyzer.formats.figure_style import DIM, FAINT, INK, head, house_style, label
from analyzer.formats.units import counted
from planner.verification.document import Verdict, Verification, VerifiedModel

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, and a marker of its own for each, so that the verdicts differ without colour too.
STYLES = {
    Verdict.MISSES: ("#d55e00", "X"),
    Verdict.DRIFTED: ("#e69f00", "D"),
    Verdict.NOT_MEASURED: (FAINT, "v"),
    Verdict.WITHIN_NOISE: ("#0072b2", "s"),
    Verdict.HOLDS: ("#009e73", "o"),
}
DECADE = 10  # a larger spread gets logarithmic axes
FURTHEST = 3.0  # an end of a range is drawn up to this multiple of the largest figure; further ones are arrows
MOST_NAMED = 300  # points that names are tried for; more leave no room anyway
NAME_POINTS = 7.5
NAME_LENGTH = 28
NEAR = 0.015  # points that are nearer than this share of the axis are drawn side by side, else their intervals coincide
BESIDE_POINTS, WIDEST_POINTS = 7.0, 42.0  # from one to the next, and all of them

Box = tuple[float, float, float, float]  # left, bottom, right and top, in pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One panel: which figure of a model is compared, and its unit."""

    title: str
    unit: str
    predicted: Callable[[VerifiedModel], float | None]
    most: Callable[[VerifiedModel], float | None]
    measured: Callable[[VerifiedModel], float | None]
    half_width: Callable[[VerifiedModel], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One model in a panel.

    Parameters
    ----------
    most : float or None
        The predicted figure with its margin; None where it grows without bound.
    half_width : float or None
        Of the measured figure's 95 % interval; None where it is not known.
    """

    name: str
    verdict: Verdict
    predicted: float
    most: float | None
    measured: float
    half_width: float | None


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else value_s * 1e3


COMPARISONS = (
    Comparison(
        title="Slow-down",
        unit="",
        predicted=lambda model: model.predicted_slow_down,
        most=lambda model: model.predicted_slow_down if model.most_slow_down is None else model.most_slow_down,
        measured=lambda model: model.slow_down,
        half_width=lambda model: model.slow_down_half_width,
    ),
    Comparison(
        title="p99 latency",
        unit="ms",
        predicted=lambda model: _ms(model.predicted_p99_s),
        most=lambda model: _ms(model.most_p99_s),
        measured=lambda model: _ms(model.latency_p99_s),
        half_width=lambda model: _ms(model.latency_p99_half_width_s),
    ),
)


def points_of(comparison: Comparison, models: Sequence[VerifiedModel]) -> list[Point]:
    """Return a point for each model that has both figures, the worst verdicts last, so that they are drawn on top."""
    order = list(Verdict)
    points = []
    for model in sorted(models, key=lambda model: -order.index(model.verdict)):
        predicted, measured = comparison.predicted(model), comparison.measured(model)
        if predicted is not None and measured is not None:
            points.append(
                Point(
                    name=model.name,
                    verdict=model.verdict,
                    predicted=predicted,
                    most=comparison.most(model),
                    measured=measured,
                    half_width=comparison.half_width(model),
                )
            )
    return points


def prediction_figure(title: str, found: Verification) -> Figure | None:
    """Draw what was measured of each model over what was predicted; None where no model has both figures."""
    from matplotlib.figure import Figure

    models = [model for content in found.contents for model in content.models]
    panels = [(comparison, points) for comparison in COMPARISONS if (points := points_of(comparison, models))]
    if not panels:
        return None
    with house_style():
        figure = Figure(figsize=(12, 7.0))
        axes_of = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (comparison, points) in zip(axes_of, panels, strict=True):
            _panel(axes, comparison, points, len(models))
        subtitle = f"{counted(len(models), 'model')}; above the diagonal is slower than predicted"
        if any(any(shifts(points)) for _, points in panels):
            subtitle += "; equal predictions are drawn side by side"
        head(figure, title, subtitle)
        figure.legend(handles=_legend(panels), loc="outside lower left", ncols=4, fontsize=8)
        figure.draw_without_rendering()  # computes where the points are, which names have to fit between
        figure.set_layout_engine("none")
        for axes, (_, points) in zip(axes_of, panels, strict=True):
            _name_points(axes, points, shifts(points))
    return figure


def limits(points: Sequence[Point]) -> tuple[float, float, bool]:
    """Return the lowest and the highest value of both axes, and whether they are logarithmic."""
    figures = [value for point in points for value in (point.predicted, point.measured)]
    low, high = min(figures), max(figures)
    ends = [point.most for point in points if point.most is not None and point.most <= FURTHEST * high]
    for point in points:
        if point.half_width is not None:
            ends += [point.measured - point.half_width, point.measured + point.half_width]
    highest = max([high, *ends])
    if low > 0 and highest / low > DECADE:
        return max(min([low, *ends]), low / 2) / 1.15, highest * 1.15, True
    lowest = max(min([low, *ends]), min(low, 0.0))
    margin = 0.06 * (highest - lowest) or 0.1 * abs(highest) or 1.0
    return max(lowest - margin, min(low, 0.0)), highest + margin, False


def shifts(points: Sequence[Point]) -> list[float]:
    """Return how far to the right each point is drawn, in typographic points: not at all if no other is near."""
    low, high, logarithmic = limits(points)
    scale: Callable[[float], float] = log if logarithmic else float
    places = [(scale(point.predicted) - scale(low)) / (scale(high) - scale(low)) for point in points]
    found = [0.0] * len(points)
    group: list[int] = []
    for n in [*sorted(range(len(points)), key=places.__getitem__), None]:
        if group and (n is None or places[n] - places[group[0]] > NEAR):
            step = min(BESIDE_POINTS, WIDEST_POINTS / len(group))
            for k, each in enumerate(sorted(group, key=lambda i: points[i].name)):
                found[each] = step * (k - (len(group) - 1) / 2)
            group = []
        if n is not None:
            group.append(n)
    return found


def _panel(axes: Axes, comparison: Comparison, points: Sequence[Point], models: int) -> None:
    low, high, logarithmic = limits(points)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        _plain_ticks(axes)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_box_aspect(1)
    axes.plot([low, high], [low, high], color=FAINT, lw=1.0, ls="--", gid="diagonal", zorder=1)
    for point, shift in zip(points, shifts(points), strict=True):
        _point(axes, point, high, shift)
    unit = f" ({comparison.unit})" if comparison.unit else ""
    axes.set_title(comparison.title)
    axes.set_xlabel(f"predicted{unit}")
    axes.set_ylabel(f"measured{unit}")
    axes.grid(visible=True, axis="both", which="major")
    if len(points) < models:
        words = f"{models - len(points)} of {counted(models, 'model')} without both figures"
        axes.text(1, 1.015, words, transform=axes.transAxes, ha="right", va="bottom", color=DIM, fontsize=8)


def _plain_ticks(axes: Axes) -> None:
    """Write the ticks of logarithmic axes as plain numbers: 20, 50, 100."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _point(axes: Axes, point: Point, high: float, shift: float) -> None:
    from matplotlib.transforms import ScaledTranslation

    color, marker = STYLES[point.verdict]
    x, y = point.predicted, point.measured
    beside = axes.transData + ScaledTranslation(shift / 72, 0, axes.figure.dpi_scale_trans)
    if point.half_width is not None:
        axes.errorbar(
            x, y, yerr=point.half_width, fmt="none", ecolor=color, elinewidth=1.2, capsize=3, transform=beside,
            gid="interval", zorder=3,
        )  # fmt: skip
    if point.most is None or point.most > high:
        axes.annotate(
            "", (high, y), (x, y), textcoords=beside,
            arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.2, "alpha": 0.6}, gid="without-bound", zorder=2,
        )  # fmt: skip
    elif point.most > x:
        axes.plot([x, point.most], [y, y], color=color, lw=5, alpha=0.3, solid_capstyle="butt", gid="range", zorder=2)
    axes.plot(
        [x], [y], ls="", marker=marker, ms=7, color=color, mec="white", mew=0.7, transform=beside,
        gid=f"point-{point.verdict.name}", zorder=4,
    )  # fmt: skip


def _legend(panels: Sequence[tuple[Comparison, Sequence[Point]]]) -> list[Artist]:
    """Return the legend: the verdicts that occur, the interval, the range and the diagonal."""
    from matplotlib.lines import Line2D

    points = [point for _, points in panels for point in points]
    handles: list[Artist] = []
    for verdict, (color, marker) in STYLES.items():
        if any(point.verdict is verdict for point in points):
            word = verdict.value.capitalize()
            handles.append(Line2D([], [], ls="", marker=marker, ms=7, color=color, mec="white", label=word))
    if any(point.half_width is not None for point in points):
        handles.append(Line2D([], [], ls="", marker="|", ms=12, mew=1.2, color=INK, label="95 % interval, measured"))
    if any(point.most is not None and point.most > point.predicted for point in points):
        handles.append(Line2D([], [], color=INK, lw=5, alpha=0.3, label="Predicted range, up to the margin"))
    if any(_goes_on(point, points) for _, points in panels for point in points):
        handles.append(Line2D([], [], ls="-", lw=1.2, marker=">", color=INK, alpha=0.6, label="Range goes on"))
    handles.append(Line2D([], [], color=FAINT, lw=1.0, ls="--", label="As predicted"))
    return handles


def _goes_on(point: Point, points: Sequence[Point]) -> bool:
    return point.most is None or point.most > limits(points)[1]


def _name_points(axes: Axes, points: Sequence[Point], shifted: Sequence[float]) -> None:
    """Write each model's name beside its point where it covers no mark and no other name; the worst come first."""
    from matplotlib.patheffects import withStroke

    pixels = axes.figure.dpi / 72  # of a typographic point
    inside = axes.get_window_extent()
    marks = [_marks(axes, point, shift, pixels) for point, shift in zip(points, shifted, strict=True)]
    taken = [box for boxes in marks for box in boxes]
    for point, shift, (_, interval, _) in list(zip(points, shifted, marks, strict=True))[: -MOST_NAMED - 1 : -1]:
        text = axes.annotate(
            label(point.name, NAME_LENGTH), (point.predicted, point.measured), (0, 0), textcoords="offset points",
            fontsize=NAME_POINTS, color=INK, zorder=5, path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip
        x, y = axes.transData.transform((point.predicted, point.measured))
        extent = text.get_window_extent()
        ends = ((interval[1] - y) / pixels, (interval[3] - y) / pixels)
        for dx, dy in _offsets(extent.width / pixels, extent.height / pixels, *ends):
            left, bottom = x + (dx + shift) * pixels, y + dy * pixels
            box = (left, bottom, left + extent.width, bottom + extent.height)
            within = inside.x0 <= box[0] and box[2] <= inside.x1 and inside.y0 <= box[1] and box[3] <= inside.y1
            if within and not any(_overlap(box, other) for other in taken):
                text.set_position((dx + shift, dy))
                taken.append(box)
                break
        else:
            text.remove()


def _marks(axes: Axes, point: Point, shift: float, pixels: float) -> tuple[Box, Box, Box]:
    """Return the boxes, in pixels, of a point, its interval and its range."""
    low, high = axes.get_xlim()
    half, furthest = point.half_width or 0.0, high if point.most is None else min(point.most, high)
    x, y = axes.transData.transform((point.predicted, point.measured))
    x += shift * pixels
    bottom = axes.transData.transform((point.predicted, max(low, point.measured - half)))[1]
    top = axes.transData.transform((point.predicted, min(high, point.measured + half)))[1]
    right = axes.transData.transform((furthest, point.measured))[0]
    return (
        (x - 5 * pixels, y - 5 * pixels, x + 5 * pixels, y + 5 * pixels),
        (x - 3 * pixels, bottom, x + 3 * pixels, top),
        (x, y - 2.5 * pixels, right, y + 2.5 * pixels),
    )


def _offsets(width: float, height: float, bottom: float, top: float) -> list[tuple[float, float]]:
    """Return where the lower left corner of a name may be, from its point, in typographic points.

    `bottom` and `top` are the ends of the point's interval.
    """
    right, left, middle, above, below = 7.0, -7.0 - width, -width / 2, 3.0, -3.0 - height
    over, under = max(7.0, top + 2), min(-7.0, bottom - 2) - height
    return [
        *((right, above), (left, above), (right, below), (left, below), (left, -height / 2), (right, -height / 2)),
        *((middle, over), (middle, under)),
    ]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
