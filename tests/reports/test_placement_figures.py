"""Test the figures of placements: what their axes show."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analyzer.formats.figure_style import png
from reports.placement_figures import RESOURCES, SERVER, TOTAL, placement_figures, segments, shown_gpus
from tests.builders.placements import gpu, model, placement

MEMORY, UTILIZATION, _ = RESOURCES


def bars(axes: Axes, gid: str) -> list[tuple[int, float, float]]:
    """Collect row, start and end of the bars with this `gid`."""
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_gid() == gid]
    return [(round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_x() + bar.get_width()) for bar in found]


def texts(figures: Sequence[Figure]) -> str:
    """Join all texts of the panels and legends."""
    words = [text.get_text() for f in figures for axes in f.axes for text in axes.texts]
    return "\n".join(words + [text.get_text() for f in figures for legend in f.legends for text in legend.texts])


def test_models_are_stacked_on_the_server_against_capacity_and_threshold() -> None:
    """Each GPU is a row: the server and then its models, in front of its capacity, with a line at its threshold."""
    (figure,) = placement_figures("t", placement(gpu(0, model("a", 1000), model("b", 2000))))
    memory, utilization, _ = figure.axes
    assert bars(memory, "segment") == [(0, 0, 309), (0, 309, 1309), (0, 1309, 3309)]
    assert bars(memory, "capacity") == [(0, 0, 16384)]
    (line,) = (lines for lines in memory.collections if lines.get_gid() == "threshold")
    assert line.get_segments()[0][0][0] == pytest.approx(0.9 * 16384)
    assert bars(utilization, "segment") == [(0, 0, 20), (0, 20, 40)]


@pytest.mark.parametrize("count", [1, 6, 60])
def test_every_gpu_is_a_row(count: int) -> None:
    """All GPUs are drawn with their names, the first at the top."""
    (figure,) = placement_figures("t", placement(*(gpu(n, model(f"m{n}", 9)) for n in range(count))))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"gpu-{n}  T4" for n in range(count)]
    assert {row for row, _, _ in bars(axes, "segment")} == set(range(count))
    bottom, top = axes.get_ylim()
    assert top < 0 < bottom


def test_many_gpus_are_divided_into_figures() -> None:
    """Rows that do not fit in one figure continue in the next; none is left out."""
    figures = placement_figures("t", placement(*(gpu(n, model("m", 100 + n)) for n in range(61))))
    labels = [label.get_text() for figure in figures for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"gpu-{n}  T4" for n in range(61)]
    assert [figure.get_suptitle().strip() for figure in figures] == ["t, part 1 of 2", "t, part 2 of 2"]


def test_replicas_are_drawn_one_by_one() -> None:
    """Three replicas that take 300 MiB together are three segments of 100."""
    (row,) = placement(gpu(0, model("a", 300, 30, replicas=3))).gpus
    assert segments(MEMORY, row) == [(0, 309, SERVER, None), (309, 100, "a", 0), (409, 100, "a", 0), (509, 100, "a", 0)]


def test_unknown_share_is_not_drawn() -> None:
    """If one model's utilization is unknown, the GPU's total is drawn as one part; an unknown total is not drawn."""
    unknown = gpu(0, model("a", 1, None), model("b", 1))
    (row,) = placement(unknown | {"utilization_pct": 50}).gpus
    assert segments(UTILIZATION, row) == [(0.0, 50, TOTAL, None)]
    (row,) = placement(unknown).gpus
    assert segments(UTILIZATION, row) == []
    figures = placement_figures("t", placement(unknown, gpu(1, model("c", 1))))
    assert "not known" in texts(figures)


def test_panel_without_any_figure_is_left_out() -> None:
    """A plan by memory of models without utilizations has no empty utilization panel."""
    (figure,) = placement_figures("t", placement(gpu(0, model("a", 1, None))))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Memory", "Memory utilization"]


def test_names_are_drawn_as_they_are() -> None:
    """A $ is not read as TeX, a leading underscore hides no entry, and a long name is shortened in the middle."""
    names = ["a$\\frac{$b", "_hidden", "x" * 100, "<b>"]
    figures = placement_figures("t", placement(gpu(0, *(model(name, 4000) for name in names))))
    written = texts(figures)
    assert all(name in written for name in ("a$\\frac{$b", "_hidden", "<b>", "xxx…xxx"))
    assert png(figures[0])[:8] == b"\x89PNG\r\n\x1a\n"


def test_plan_without_gpus_has_no_picture() -> None:
    """An infeasible plan places nothing, so nothing is drawn."""
    assert placement_figures("t", placement()) == []


def test_many_gpus_that_hold_the_same_share_a_row() -> None:
    """Up to 60 GPUs have a row each; with more, those that differ only in their id share a row with their count."""
    few = [gpu(n, model("a", 1)) for n in range(60)]
    assert len(shown_gpus(placement(*few))) == 60
    rows = shown_gpus(placement(*few, gpu(60, model("b", 1))))
    assert [(row.name, row.count) for row in rows] == [("gpu-0 and 59 like it", 60), ("gpu-60", 1)]


def test_threshold_is_that_of_the_type() -> None:
    """If GPU types have their own thresholds, a GPU's line is at its type's threshold."""
    own = {"memory_pct": 50, "utilization_pct": None, "memory_utilization_pct": None}
    plan = placement(gpu(0, model("a", 1)), gpu_types=[{"type": "T4", "memory_mib": 16384, "thresholds": own}])
    (figure,) = placement_figures("t", plan)
    memory, utilization, _ = figure.axes
    (line,) = (lines for lines in memory.collections if lines.get_gid() == "threshold")
    assert line.get_segments()[0][0][0] == pytest.approx(0.5 * 16384)
    assert not [lines for lines in utilization.collections if lines.get_gid() == "threshold"]
