"""Test the figures of measurements: what their axes show."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyzer.formats.figure_style import label
from analyzer.measurements.figures import measurement_figure, write_measurement_figures
from analyzer.measurements.record import Measurement, Status
from analyzer.measurements.text import by_subject
from tests.builders.measurements import HOST, failed, measured, streamed


def figure_of(measurements: list[Measurement]) -> Figure:
    """Draw measurements of one subject."""
    ((about, group),) = by_subject(measurements).items()
    return measurement_figure(about, group)


def points(axes: Axes, gid: str) -> list[tuple[float, float]]:
    """Collect the points of the lines with this `gid`."""
    lines = [line for line in axes.lines if line.get_gid() == gid]
    return [(float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True)]


def test_every_measured_point_is_drawn_in_the_unit_of_its_axis() -> None:
    """Each batch size is a line through all its trials: inferences/s, ms and % over the concurrency."""
    figure = figure_of([measured(batch=b, concurrency=c) for b in (1, 2) for c in (1, 2, 4)])
    throughput, latency, memory, utilization = figure.axes
    for batch in (1, 2):
        # 100 infer/s and 10 ms for each request in flight, 23 %
        assert points(throughput, f"batch-{batch}") == [(1, 100), (2, 200), (4, 400)]
        assert points(latency, f"batch-{batch}") == [(1, 10), (2, 20), (4, 40)]
        assert points(utilization, f"batch-{batch}") == [(1, 23), (2, 23), (4, 23)]
        assert [y for _, y in points(memory, f"trials-{batch}")] == [1461] * 3
    assert [axes.get_ylabel() for axes in figure.axes] == ["inferences/s", "ms", "MiB", "%"]
    assert all(axes.get_xlabel() for axes in figure.axes)
    assert throughput.get_xlim()[0] < 1 < 4 < throughput.get_xlim()[1]


def test_server_share_is_the_foot_of_the_memory_bar() -> None:
    """A bar shows the batch's trial with the most memory: the idle server's share below, the model's own above."""
    memory = figure_of([measured(memory_mib=1000), measured(concurrency=2, memory_mib=1461)]).axes[2]
    bars = {bar.get_gid(): (bar.get_y(), bar.get_height()) for bar in memory.patches}
    # 1461 MiB, of which the idle server holds 309
    assert bars == {"server-1": (0, 309), "model-1": (309, 1152)}


def test_failed_trials_are_crosses_below_zero_and_break_the_line() -> None:
    """A failed trial is a cross below 0, where it hides no point; the line has a gap at its concurrency."""
    throughput = figure_of([measured(), failed(batch=1, concurrency=2), measured(concurrency=4)]).axes[0]
    crosses = points(throughput, "failed")
    assert [x for x, _ in crosses] == [2]
    bottom, top = throughput.get_ylim()
    assert bottom + crosses[0][1] * (top - bottom) < 0  # its height is a fraction of the panel
    ys = [y for _, y in points(throughput, "batch-1")]
    assert np.array_equal(ys, [100, np.nan, 400], equal_nan=True)


def test_crosses_of_several_batches_do_not_cover_each_other() -> None:
    """Trials of several batch sizes that failed at the same concurrency are drawn one above another."""
    crosses = points(figure_of([failed(batch=b) for b in (1, 2, 4)]).axes[0], "failed")
    assert len(set(crosses)) == 3


def test_figure_that_a_device_refuses_is_said_not_drawn_as_zero() -> None:
    """Without any utilization the panel says "not measured"; with some it counts the trials without."""
    known = measured(provenance=HOST)
    unknown = replace(measured(provenance=HOST, concurrency=2), max_utilization=None)
    texts = [text.get_text() for text in figure_of([unknown]).axes[3].texts]
    assert texts == ["not measured"]
    texts = [text.get_text() for text in figure_of([known, unknown]).axes[3].texts]
    assert texts == ["1 of 2 measured trials without this figure"]


def test_unsettled_point_is_hollow() -> None:
    """An unsettled trial is drawn with a mark of its own."""
    throughput = figure_of([measured(), measured(concurrency=2, status=Status.UNSETTLED)]).axes[0]
    assert points(throughput, "unsettled") == [(2, 200)]


def test_each_subject_is_a_file_inside_the_folder(tmp_path: Path) -> None:
    """Model names with paths, TeX, or equal but for case each give a file of their own in the folder."""
    names = ["../../etc/x", "a$\\frac$b$", "A b", "a_b", "<script>", "_"]
    paths = write_measurement_figures([measured(model=name) for name in names], tmp_path / "new")
    assert [path.parent for path in paths] == [tmp_path / "new"] * len(names)
    assert len({path.name.lower() for path in paths}) == len(names)
    for path in paths:
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", content[16:24]) == (1440, 1008)  # 10 x 7 inches at 144 dots an inch


def test_same_records_make_the_same_bytes(tmp_path: Path) -> None:
    """A picture holds no time stamp."""
    first, second = (write_measurement_figures([measured()], tmp_path / n)[0].read_bytes() for n in "ab")
    assert first == second


def test_label_is_one_line() -> None:
    """A label has no line break and at most 80 characters."""
    assert label("a\nb") == "a b"
    assert len(label("x" * 200)) == 80


def test_streams_have_panels_of_their_own() -> None:
    """Tokens/s, TTFT and ITL over the load, a line for each length; without tokens, they are of responses."""
    tokens = figure_of([streamed(c, input_length=n) for n in (8, 64) for c in (1, 2)])
    assert [axes.get_title(loc="left") for axes in tokens.axes[4:]] == [
        "Output tokens",
        "p99 time to first token (TTFT)",
        "p99 inter-token latency (ITL)",
    ]
    for length in (8, 64):
        assert points(tokens.axes[4], f"batch-1-input-{length}-output-16") == [(1, 64), (2, 128)]
        assert points(tokens.axes[5], f"batch-1-input-{length}-output-16") == [(1, 110), (2, 220)]
    assert tokens.axes[2].get_title(loc="left") == "GPU memory, highest; the backend reserves it"
    responses = figure_of([streamed(tokens=False)])
    assert [axes.get_ylabel() for axes in responses.axes[4:]] == ["responses/s", "ms", "ms"]
    assert len(figure_of([measured()]).axes) == 4


def test_nearly_equal_figures_stay_below_the_top() -> None:
    """A line at 100.1 and 100.2 ms once lay on the upper edge of its panel, which begins at 0."""
    trials = [replace(measured(concurrency=c), latency_p99_s=0.1 + c / 1e4) for c in (1, 2)]
    latency = figure_of(trials).axes[1]
    assert latency.get_ylim()[1] == pytest.approx(1.05 * 100.2)
