"""Test the figures of verifications: what their axes show."""

from __future__ import annotations

from itertools import combinations

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from analyzer.formats.figure_style import png
from planner.verification.document import Verdict, VerifiedModel
from reports.prediction_figures import COMPARISONS, limits, points_of, shifts
from reports.verification_figures import MOST_ROWS, verification_figures
from tests.builders.verifications import verification, verified_content, verified_model

SLOW_DOWN, P99 = COMPARISONS


def lines(axes: Axes, gid: str) -> list[Line2D]:
    """Collect the lines with this `gid`."""
    return [line for line in axes.lines if line.get_gid() == gid]


def bars(axes: Axes, gid: str) -> list[tuple[int, float]]:
    """Collect row and length of the bars with this `gid`."""
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_gid() == gid]
    return [(round(bar.get_y() + bar.get_height() / 2), bar.get_width()) for bar in found]


def legend(figure: Figure) -> set[str]:
    """Return the words of the legend."""
    return {text.get_text() for text in figure.legends[0].texts}


def without_figures(name: str) -> VerifiedModel:
    """Make a model that could not be measured."""
    return verified_model(name, None, verdict=Verdict.NOT_MEASURED, predicted_p99_s=None, most_p99_s=None)


def test_each_model_is_a_point_with_its_interval_and_range() -> None:
    """A model is measured over predicted, with the 95 % interval along y and the predicted range along x."""
    late = verified_model("late", 1.6, verdict=Verdict.MISSES)
    figure, _ = verification_figures("t", verification(verified_content(0, verified_model("fine"), late)))
    slow_down, p99 = figure.axes
    (point,) = lines(slow_down, "point-MISSES")
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([1.1], [1.6])
    (spread,) = (bar.get_segments()[0] for bar in slow_down.collections if bar.get_segments()[0][0][1] > 1.4)
    assert spread[:, 1] == pytest.approx([1.55, 1.65])
    assert [list(bar.get_xdata()) for bar in lines(slow_down, "range")] == [[1.1, 1.3]] * 2
    (point,) = lines(p99, "point-HOLDS")
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([11.0], [12.0])  # in ms
    assert {"Misses", "Holds", "As predicted"} <= legend(figure)
    assert "Within noise" not in legend(figure)


def test_diagonal_goes_from_corner_to_corner() -> None:
    """Both axes have the same limits, so that the diagonal is where measured is predicted."""
    figure, _ = verification_figures("t", verification(verified_content(0, verified_model("a"))))
    for axes in figure.axes:
        assert axes.get_xlim() == axes.get_ylim()
        (diagonal,) = lines(axes, "diagonal")
        assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == list(axes.get_xlim())


def test_axes_are_logarithmic_over_more_than_a_decade() -> None:
    """p99 from 12 to 600 ms is drawn on logarithmic axes, with every figure inside; slow-downs near 1 are not."""
    slow = verified_model("slow", latency_p99_s=0.6, predicted_p99_s=0.5, most_p99_s=0.7)
    figure, _ = verification_figures("t", verification(verified_content(0, verified_model("fast"), slow)))
    slow_down, p99 = figure.axes
    assert (slow_down.get_xscale(), p99.get_xscale(), p99.get_yscale()) == ("linear", "log", "log")
    low, high = p99.get_xlim()
    assert low < 11
    assert high > 700


def test_interval_below_zero_does_not_stretch_logarithmic_axes() -> None:
    """An interval that is wider than its figure is cut off, where a logarithmic axis could not show its end."""
    wide = verified_model("wide", latency_p99_s=0.012, latency_p99_half_width_s=0.02)
    slow = verified_model("slow", latency_p99_s=0.6)
    low, _, logarithmic = limits(points_of(P99, [wide, slow]))
    assert logarithmic
    assert 5 / 1.15 < low < 11  # at least half of the lowest figure, 11 ms, less a margin


def test_interval_below_zero_does_not_stretch_linear_axes() -> None:
    """A p99 of 90 ± 186 ms has axes from 0 ms: nothing is below."""
    wide = verified_model("wide", latency_p99_s=0.090, latency_p99_half_width_s=0.186, predicted_p99_s=0.054)
    low, high, logarithmic = limits(points_of(P99, [wide]))
    assert (low, logarithmic) == (0, False)
    assert high > 276


def test_points_of_equal_prediction_are_side_by_side() -> None:
    """Three models predicted at 1.1 are drawn 7 points apart, in the order of their names; one at 2.0 is not moved."""
    models = [verified_model(name) for name in ("c", "a", "b")]
    far = verified_model("far", predicted_slow_down=2.0, most_slow_down=2.0)
    points = points_of(SLOW_DOWN, [*models, far])
    found = {point.name: shift for point, shift in zip(points, shifts(points), strict=True)}
    assert found == {"a": -7, "b": 0, "c": 7, "far": 0}
    figure, _ = verification_figures("t", verification(verified_content(0, *models, far)))
    drawn = sorted(line.get_transform().transform((1.1, 1.2))[0] for line in lines(figure.axes[0], "point-HOLDS")[:3])
    assert drawn[2] - drawn[0] == pytest.approx(14 / 72 * figure.dpi)
    assert "side by side" in "".join(text.get_text() for text in figure.texts)


def test_range_without_bound_is_an_arrow() -> None:
    """A p99 that grows without bound has an arrow to the axis' end in place of a range, and the legend says so."""
    figure, _ = verification_figures("t", verification(verified_content(0, verified_model("a", most_p99_s=None))))
    slow_down, p99 = figure.axes
    assert not lines(p99, "range")
    (arrow,) = (text for text in p99.texts if text.get_gid() == "without-bound")
    assert arrow.xy[0] == p99.get_xlim()[1]
    assert not [text for text in slow_down.texts if text.get_gid() == "without-bound"]
    assert "Range goes on" in legend(figure)


def test_models_without_figures_are_counted() -> None:
    """A model without a figure is no point at 0; its panel says how many there are."""
    found = verification(verified_content(0, verified_model("a"), without_figures("b")))
    figure, _ = verification_figures("t", found)
    for axes in figure.axes:
        assert "1 of 2 models without both figures" in [text.get_text() for text in axes.texts]
        assert not lines(axes, "point-NOT_MEASURED")


def test_panel_without_any_point_is_left_out() -> None:
    """Without a predicted p99 there is one panel; where nothing was measured there is no figure."""
    no_p99 = verified_model("a", predicted_p99_s=None, most_p99_s=None)
    figure, _ = verification_figures("t", verification(verified_content(0, no_p99)))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Slow-down"]
    nothing = verified_content(0, without_figures("a"), memory_mib=(9000, None, 14746))
    assert verification_figures("t", verification(nothing)) == []
    assert verification_figures("t", verification()) == []


def test_memory_is_planned_over_measured_against_the_threshold() -> None:
    """Each content is a row with both bars and the threshold; a bar above the threshold has a colour of its own."""
    found = verification(
        verified_content(0, verified_model("a")),
        verified_content(1, verified_model("b"), memory_mib=(14000, 15000, 14746), gpus=("gpu-1", "gpu-2")),
        verified_content(3, verified_model("c"), memory_mib=(None, 700, None)),
        verified_content(4, verified_model("d"), memory_mib=(800, None, 14746)),
    )
    _, figure = verification_figures("t", found)
    (axes,) = figure.axes
    assert bars(axes, "planned") == [(0, 9000), (1, 14000)]
    assert bars(axes, "measured") == [(0, 9100), (1, 15000), (2, 700)]
    assert len([limit for limit in axes.collections if limit.get_gid() == "threshold"]) == 2
    assert [name.get_text() for name in axes.get_yticklabels()] == ["gpu-0  T4", "gpu-1 and 1 like it  T4", "gpu-3  T4"]
    assert "Measured, above the threshold" in legend(figure)
    colors = {patch.get_facecolor() for patch in axes.patches if patch.get_gid() == "measured"}
    assert len(colors) == 2
    assert "not measured on 1 content" in "\n".join(text.get_text() for text in figure.texts)


def test_far_threshold_is_written_and_leaves_room_for_the_bars() -> None:
    """A threshold above three times the longest bar is written beside the bars, which fill most of the axis."""
    found = verification(
        verified_content(0, verified_model("a"), memory_mib=(151, 144, 16384)),
        verified_content(1, verified_model("b"), memory_mib=(100, 120, 400)),  # 400 is below 3 x 151
    )
    _, figure = verification_figures("t", found)
    (axes,) = figure.axes
    assert len([limit for limit in axes.collections if limit.get_gid() == "threshold"]) == 1
    assert axes.get_xlim()[1] == pytest.approx(1.2 * 400)
    assert [text.get_text() for text in axes.texts] == [
        "151 planned,\n144 measured,\nthreshold 16384 →",
        "100 planned,\n120 measured",
    ]
    _, far_only = verification_figures(
        "t", verification(verified_content(0, verified_model("a"), memory_mib=(151, 144, 16384)))
    )
    assert far_only.axes[0].get_xlim()[1] == pytest.approx(1.2 * 151)
    assert "Threshold of the plan" not in legend(far_only)


def test_many_contents_are_divided_into_figures() -> None:
    """Contents that do not fit in one figure continue in the next; none is left out."""
    found = verification(*(verified_content(n, verified_model(f"m{n}")) for n in range(MOST_ROWS + 1)))
    _, *figures = verification_figures("t", found)
    rows = [name.get_text() for figure in figures for name in figure.axes[0].get_yticklabels()]
    assert rows == [f"gpu-{n}  T4" for n in range(MOST_ROWS + 1)]
    titles = [figure.get_suptitle().strip() for figure in figures]
    assert titles == ["t, memory, part 1 of 2", "t, memory, part 2 of 2"]


def test_names_do_not_cover_each_other() -> None:
    """Of models that lie close together those are named that have room; a model that misses is named first."""
    crowd = [verified_model(f"model-number-{n}", 1.2 + n / 1000) for n in range(60)]
    alone = verified_model("far-away", 2.0, verdict=Verdict.MISSES)
    figure, _ = verification_figures("t", verification(verified_content(0, *crowd, alone)))
    slow_down = figure.axes[0]
    names = [text for text in slow_down.texts if "-" in text.get_text()]
    assert "far-away" in [name.get_text() for name in names]
    assert 1 < len(names) < 61
    boxes = [name.get_window_extent() for name in names]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_hostile_names_are_drawn_as_they_are() -> None:
    """A $ is not read as TeX, markup is text, and a long name is shortened."""
    names = ["a$\\frac{$b", "_hidden", "x" * 100, "<b>", "two\nlines"]
    models = [verified_model(name, 1 + n) for n, name in enumerate(names)]
    figures = verification_figures("t$\\x{", verification(verified_content(0, *models, gpus=("$\\y{",), type="<i>")))
    written = "\n".join(text.get_text() for text in figures[0].axes[0].texts)
    assert all(name in written for name in ("a$\\frac{$b", "_hidden", "<b>", "xx…xx", "two lines"))
    assert all(png(figure)[:8] == b"\x89PNG\r\n\x1a\n" for figure in figures)
