"""Charts of one configuration of a model: p99 latency over throughput, both over the load, utilization and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from analyzer.formats.figure_style import SERVER_GREY
from analyzer.formats.units import MIB, counted, number, times, whole
from analyzer.measurements.record import Measurement, Status
from analyzer.measurements.stream_columns import Panel, stream_panels
from analyzer.measurements.text import Series, Subject, load, memory_title, processor, series
from reports.charts import LIMIT_RED, NEUTRAL_GREY, Chart, Trace, figures, line_across, text
from reports.operating_points import Planned

MEMORY_BLUE = "#56a3d9"
MOST_LABELLED = 40  # points whose load is written beside them
LOG_FROM = 8  # loads that span this factor have a logarithmic axis

Figure = Callable[[Measurement], float | None]


def model_charts(about: Subject, group: Sequence[Measurement], plans: Planned) -> list[Chart]:
    """Return the charts of one configuration; `group` is in the order of the rows of its table."""
    unit = processor(about.provenance)
    load_words = "Request rate (requests/s)" if about.open_loop else "Concurrency (requests in flight)"
    charts = [
        _latency_over_throughput(about, group, plans),
        _over_load("Throughput", "inferences/s", load_words, group, _throughput, _throughput_half),
        _over_load("p99 latency, seen by the client", "ms", load_words, group, _p99_ms, _p99_half_ms, plans),
        _memory_over_batch(memory_title(about, group), group),
        _over_load(
            f"{unit}{'utilization' if unit else 'Utilization'}, highest",
            "%", load_words, group, lambda m: times(m.max_utilization, 100),
        ),
        *(
            _over_load(panel.title, panel.unit, load_words, group, panel.value, _half_width(panel))
            for panel in stream_panels(group)
        ),
    ]  # fmt: skip
    head = f"{about.title}, {counted(about.instances, 'instance')}"
    return [replace(chart, head=head) for chart in charts if chart is not None]


def _latency_over_throughput(about: Subject, group: Sequence[Measurement], plans: Planned) -> Chart | None:
    """Return the chart that operating points are picked from; None where no trial has both figures."""
    known = [n for n, m in enumerate(group) if m.throughput_infer_per_s is not None and m.latency_p99_s is not None]
    if not known:
        return None
    traces = []
    for place, one in enumerate(_series(group)):
        rows = [n for n in known if series(group[n]) == one]
        if not rows:
            continue
        trace = _points(one, place, group, rows, _throughput, _p99_ms)
        trace["error_x"] = _interval(group, rows, _throughput, _throughput_half)
        trace["error_y"] = _interval(group, rows, _p99_ms, _p99_half_ms)
        if len(known) <= MOST_LABELLED:
            trace["text"] = [_load_text(about, group[n]) for n in rows]
        traces.append(trace)
    highest = max(_p99_ms(group[n]) or 0.0 for n in known)
    ends = (0.0, 1.05 * max(group[n].throughput_infer_per_s or 0.0 for n in known))
    traces += [*_unsettled(group, known, _throughput, _p99_ms), *_budgets(plans, highest, ends)]
    for point, names in plans.points.items():
        rows = [n for n in known if (series(group[n]), group[n].trial.concurrency) == point]
        if rows:
            name = text(f"Chosen in {', '.join(names)}", 60)
            traces.append(_rings(name, group, rows, _throughput, _p99_ms, LIMIT_RED, 20, 3))
    of_load = "requests sent per second" if about.open_loop else "requests in flight"
    note = f"Lower right is better. A line for each batch size{' and lengths' if _has_lengths(group) else ''}"
    note += f"; beside a point, its {of_load}." if len(known) <= MOST_LABELLED else "."
    unknown = sum(m.status.measured for m in group) - len(known)
    if unknown:
        note += f" {counted(unknown, 'measured trial')} without both figures."
    return Chart(
        title="p99 latency over throughput",
        note=note,
        table="trials",
        traces=tuple(traces),
        layout={
            "xaxis": {"title": {"text": "Throughput (inferences/s)"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "p99 latency (ms)"}, "rangemode": "tozero"},
        },
        height_px=440,
        wide=True,
    )


def _over_load(
    title: str,
    unit: str,
    load_words: str,
    group: Sequence[Measurement],
    value_of: Figure,
    half_of: Figure | None = None,
    plans: Planned | None = None,
) -> Chart | None:
    """Return a chart of a figure over the load, with crosses for failed trials; None where no trial has the figure."""
    if all(value_of(m) is None for m in group):
        return None
    traces = []
    for place, one in enumerate(_series(group)):
        rows = [n for n, m in enumerate(group) if series(m) == one and m.status.measured]
        if rows:
            trace = _points(one, place, group, rows, load, value_of)  # one without the figure breaks the line
            if half_of is not None:
                trace["error_y"] = _interval(group, rows, value_of, half_of)
            traces.append(trace)
    traces += _unsettled(group, [n for n, m in enumerate(group) if value_of(m) is not None], load, value_of)
    loads = sorted({load(m) for m in group})
    if plans is not None:
        highest = max(value_of(m) or 0.0 for m in group)
        traces += _budgets(plans, highest, (loads[0], loads[-1]))
    failed = [n for n, m in enumerate(group) if not m.status.measured]
    if failed:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "Failed",
                "x": figures(load(group[n]) for n in failed),
                "y": [0] * len(failed),
                "marker": {"symbol": "x-thin", "size": 9, "color": LIMIT_RED, "line": {"width": 2, "color": LIMIT_RED}},
                "cliponaxis": False,
                "rows": failed,
            }
        )
    every = -(-len(loads) // 10)
    marked = loads[::every]
    xaxis = {
        "title": {"text": load_words},
        "tickvals": figures(marked),
        "ticktext": [f"{value:.0f}" if value == round(value) else number(value) for value in marked],
    }
    if loads[0] > 0 and loads[-1] / loads[0] >= LOG_FROM:
        xaxis["type"] = "log"
    return Chart(
        title=title,
        table="trials",
        traces=tuple(traces),
        layout={"xaxis": xaxis, "yaxis": {"title": {"text": unit}, "rangemode": "tozero"}},
    )


def _memory_over_batch(title: str, group: Sequence[Measurement]) -> Chart | None:
    """Return bars of each batch size's highest memory, the server's share below, and a dot for each trial."""
    known = [n for n, m in enumerate(group) if m.max_memory_bytes is not None]
    if not known:
        return None
    batches = [batch for batch in _batches(group) if any(group[n].trial.batch == batch for n in known)]
    peaks, dots_x, dots = [], [], []
    for position, batch in enumerate(batches):
        rows = [n for n in known if group[n].trial.batch == batch]
        peaks.append(max(rows, key=lambda n: group[n].max_memory_bytes or 0))
        dots += rows
        dots_x += [position + 0.4 * ((n + 0.5) / len(rows) - 0.5) for n in range(len(rows))]
    totals = [(group[n].max_memory_bytes or 0) / MIB for n in peaks]
    servers = [min(total, (group[n].server_memory_bytes or 0) / MIB) for n, total in zip(peaks, totals, strict=True)]
    own = [total - server for total, server in zip(totals, servers, strict=True)]
    unknown = all(group[n].server_memory_bytes is None for n in peaks)
    bars = [("With the server, its share unknown" if unknown else "Model's own", own, MEMORY_BLUE)]
    if not unknown:
        bars.insert(0, ("Idle server", servers, SERVER_GREY))
    traces: list[Trace] = [
        {
            "type": "bar",
            "name": name,
            "x": list(range(len(batches))),
            "y": figures(heights),
            "width": 0.6,
            "marker": {"color": color},
            "rows": peaks,
        }
        for name, heights, color in bars
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "One trial's peak",
            "x": figures(dots_x),
            "y": figures((group[n].max_memory_bytes or 0) / MIB for n in dots),
            "marker": {"symbol": "circle", "size": 6, "color": "#24292f", "line": {"width": 1, "color": "#ffffff"}},
            "rows": dots,
        }
    )
    half = max(len(batches), 4) / 2
    middle = (len(batches) - 1) / 2
    return Chart(
        title=title,
        table="trials",
        traces=tuple(traces),
        layout={
            "barmode": "stack",
            "xaxis": {
                "title": {"text": "Batch size (inferences a request)"},
                "tickvals": list(range(len(batches))),
                "ticktext": [str(batch) for batch in batches],
                "range": [middle - half, middle + half],
                "showgrid": False,
            },
            "yaxis": {"title": {"text": "MiB"}, "rangemode": "tozero"},
        },
    )


def _points(
    one: Series, place: int, group: Sequence[Measurement], rows: Sequence[int], x_of: Figure, y_of: Figure
) -> Trace:
    """Return the line of a series; `place` is its place among all of them, which chooses its style."""
    return {
        "name": one.name,
        "x": figures(x_of(group[n]) for n in rows),
        "y": figures(y_of(group[n]) for n in rows),
        "rows": list(rows),
        "style": place,
    }


def _unsettled(group: Sequence[Measurement], rows: Sequence[int], x_of: Figure, y_of: Figure) -> list[Trace]:
    """Return rings around the trials of `rows` that did not settle."""
    found = [n for n in rows if group[n].status is Status.UNSETTLED]
    return [_rings("Did not settle", group, found, x_of, y_of, NEUTRAL_GREY, 14, 1.5)] if found else []


def _rings(
    name: str,
    group: Sequence[Measurement],
    rows: Sequence[int],
    x_of: Figure,
    y_of: Figure,
    color: str,
    size_px: int,
    width_px: float,
) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": figures(x_of(group[n]) for n in rows),
        "y": figures(y_of(group[n]) for n in rows),
        "marker": {"symbol": "circle-open", "size": size_px, "color": color, "line": {"width": width_px}},
        "rows": list(rows),
    }


def _budgets(plans: Planned, highest: float, ends: tuple[float, float]) -> list[Trace]:
    several = len(plans.budgets_s) > 1
    return [
        line_across(
            f"p99 budget {budget_s * 1e3:g} ms{' of ' + ', '.join(names) if several else ''}",
            budget_s * 1e3,
            highest,
            ends,
        )
        for budget_s, names in plans.budgets_s.items()
    ]


def _interval(group: Sequence[Measurement], rows: Sequence[int], value_of: Figure, half_of: Figure) -> Trace:
    """Return the 95 % intervals of points, down to 0 at most; one that is not known has no length."""
    halves = [half_of(group[n]) or 0.0 for n in rows]
    below = [min(half, value_of(group[n]) or 0.0) for half, n in zip(halves, rows, strict=True)]
    uneven = {} if below == halves else {"symmetric": False, "arrayminus": figures(below)}
    return {"array": figures(halves), **uneven}


def _load_text(about: Subject, measurement: Measurement) -> str:
    return number(load(measurement)) if about.open_loop else whole(load(measurement))


def _batches(group: Sequence[Measurement]) -> list[int]:
    return sorted({m.trial.batch for m in group})


def _series(group: Sequence[Measurement]) -> list[Series]:
    return sorted({series(m) for m in group})


def _has_lengths(group: Sequence[Measurement]) -> bool:
    return any(one.input_length or one.output_length for one in _series(group))


def _half_width(panel: Panel) -> Figure:
    return lambda m: times(panel.value(m), panel.half_width(m))


def _throughput(measurement: Measurement) -> float | None:
    return measurement.throughput_infer_per_s


def _p99_ms(measurement: Measurement) -> float | None:
    return times(measurement.latency_p99_s, 1e3)


def _throughput_half(measurement: Measurement) -> float | None:
    return times(measurement.throughput_infer_per_s, measurement.throughput_ci)


def _p99_half_ms(measurement: Measurement) -> float | None:
    return times(_p99_ms(measurement), measurement.latency_p99_ci)
