"""Charts of a verification: measured over predicted figures of its models, and the memory of its GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from analyzer.formats.figure_style import PALETTE, SERVER_GREY
from analyzer.formats.units import MIB, counted, mib
from planner.verification.document import Verdict, Verification
from planner.verification.verdict import judge_share
from reports.charts import LIMIT_RED, NEUTRAL_GREY, Chart, Trace, figure, figures, log_axis, text
from reports.prediction_figures import COMPARISONS, STYLES, Comparison, limits, points_of

SYMBOLS = {"X": "x", "D": "diamond", "v": "triangle-down", "s": "square", "o": "circle"}  # of matplotlib's markers
MOST_LYING = 40  # contents that lie below each other; more stand side by side
ROW_PX = 44


def verification_charts(found: Verification) -> list[Chart]:
    """Return the charts of predictions and of memory; none where nothing was measured."""
    charts = [_prediction(comparison, found) for comparison in COMPARISONS]
    return [chart for chart in [*charts, _memory(found)] if chart is not None]


def _prediction(comparison: Comparison, found: Verification) -> Chart | None:
    """Return what was measured of each model over what was predicted; None where no model has both figures."""
    models = [model for content in found.contents for model in content.models]
    points = points_of(comparison, models)
    if not points:
        return None
    low, high, logarithmic = limits(points)
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "As predicted",
            "x": figures([low, high]),
            "y": figures([low, high]),
            "line": {"color": NEUTRAL_GREY, "dash": "dash", "width": 1},
            "hoverinfo": "skip",
        }
    ]
    for verdict, (color, marker) in STYLES.items():
        # points_of leaves out models without both figures, and has the worst last
        rows = [n for n, model in enumerate(models) if model.verdict is verdict and points_of(comparison, [model])]
        own = [points_of(comparison, [models[n]])[0] for n in rows]
        if not own:
            continue
        ends = [high if point.most is None else min(point.most, high) for point in own]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": verdict.value.capitalize(),
                "x": figures(point.predicted for point in own),
                "y": figures(point.measured for point in own),
                "marker": {"symbol": SYMBOLS[marker], "size": 10, "color": color},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": figures(max(0.0, end - point.predicted) for end, point in zip(ends, own, strict=True)),
                    "arrayminus": [0] * len(own),
                    "thickness": 4,
                    "width": 0,
                    "color": _transparent(color),
                },
                "error_y": {
                    "type": "data",
                    "array": [figure(point.half_width) or 0 for point in own],
                    "thickness": 1.2,
                    "width": 4,
                    "color": color,
                },
                "rows": rows,
            }
        )
    unit = f" ({comparison.unit})" if comparison.unit else ""
    note = (
        "Above the diagonal is slower than predicted. Upright: 95 % interval; to the right: margin of the prediction."
    )
    if len(points) < len(models):
        note += f" {len(models) - len(points)} of {counted(len(models), 'model')} without both figures."
    axis = log_axis(low, high) if logarithmic else {"range": figures([low, high])}
    return Chart(
        title=f"{comparison.title}, measured over predicted",
        note=note,
        table="models",
        traces=tuple(traces),
        layout={
            "hovermode": "closest",
            "xaxis": {"title": {"text": f"predicted{unit}"}, **axis},
            "yaxis": {"title": {"text": f"measured{unit}"}, **axis},
        },
        height_px=440,
    )


def _memory(found: Verification) -> Chart | None:
    """Return planned and measured memory of each content with its threshold; None where none was measured."""
    rows = [n for n, content in enumerate(found.contents) if content.memory.measured is not None]
    if not rows:
        return None
    lying = len(rows) <= MOST_LYING
    layout: dict[str, Any] = {"barmode": "group", "bargap": 0.3}
    every = 1 if lying else -(-len(rows) // 25)
    places = {
        "tickvals": list(range(0, len(rows), every)),
        "ticktext": [text(found.contents[n].name, 26) for n in rows[::every]],
        "showgrid": False,
        "zeroline": False,
    }
    values = {"title": {"text": "MiB"}, "rangemode": "tozero"}
    if lying:
        layout |= {"yaxis": {**places, "range": [len(rows) - 0.4, -0.6]}, "xaxis": values}
    else:
        layout |= {"xaxis": {**places, "range": [-1, len(rows)]}, "yaxis": values}
    left_out = len(found.contents) - len(rows)
    note = "The highest memory of the device, Triton included."
    return Chart(
        title="Memory of the GPUs, planned and measured",
        note=f"{note} Not measured on {counted(left_out, 'content')}." if left_out else note,
        table="contents",
        traces=tuple(_turned(trace, lying) for trace in _memory_traces(found, rows)),
        layout=layout,
        height_px=160 + ROW_PX * len(rows) if lying else 440,
        wide=True,
    )


def _memory_traces(found: Verification, rows: Sequence[int]) -> Iterator[Trace]:
    memory = [found.contents[n].memory for n in rows]
    misses = [judge_share(each) is Verdict.MISSES for each in memory]
    colors = [STYLES[Verdict.MISSES][0] if missed else PALETTE[0] for missed in misses]
    measured = "Measured, above the threshold in orange" if any(misses) else "Measured"
    for name, values, color in (
        ("Planned", [each.planned for each in memory], SERVER_GREY),
        (measured, [each.measured for each in memory], colors),
    ):
        yield {
            "type": "bar",
            "name": name,
            "place": list(range(len(rows))),
            "value": figures(None if value is None else value / MIB for value in values),
            "marker": {"color": color},
            "rows": list(rows),
        }
    # one far beyond all bars would leave no room for them; the table has it
    longest = max(max(each.planned or 0.0, each.measured or 0.0) for each in memory)
    most = [None if each.most is None or each.most > 3 * longest else each.most / MIB for each in memory]
    if any(value is not None for value in most):
        yield {
            "type": "scatter",
            "mode": "markers",
            "name": "Threshold of the plan",
            "place": list(range(len(rows))),
            "value": figures(most),
            "marker": {"size": 26, "line": {"color": LIMIT_RED, "width": 2}},
            "hovertext": ["" if value is None else f"Threshold {mib(value * MIB)} MiB" for value in most],
            "hoverinfo": "text",
        }


def _turned(trace: Trace, lying: bool) -> Trace:
    """Give a trace its places and values: values along x where the bars lie, along y where they stand."""
    place, value = trace.pop("place"), trace.pop("value")
    turned = {**trace, "x": value, "y": place} if lying else {**trace, "x": place, "y": value}
    if trace["type"] == "bar":
        return {**turned, "orientation": "h"} if lying else turned
    return {**turned, "marker": {**trace["marker"], "symbol": "line-ns" if lying else "line-ew"}}


def _transparent(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},.3)"
