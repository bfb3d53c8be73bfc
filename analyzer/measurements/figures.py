"""Draw measurements with matplotlib: one figure for each model and configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.formats.figure_style import DIM, FAINT, INK, PALETTE, SERVER_GREY, head, house_style, png
from analyzer.formats.files import file_stem, free_stem, write_whole
from analyzer.formats.units import MIB, mib, number
from analyzer.measurements.record import Measurement, Status
from analyzer.measurements.stream_columns import stream_panels
from analyzer.measurements.text import Series, Subject, by_subject, device, load, memory_title, processor, series

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP*"
CROSS = 0.055  # height of a cross and its margin, as a fraction of a panel


def write_measurement_figures(measurements: Sequence[Measurement], folder: Path) -> list[Path]:
    """Write one PNG for each model and configuration into `folder`; return the paths in order.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for about, group in by_subject(measurements).items():
        stem = free_stem(f"model-{file_stem(about.title)}", {path.stem for path in paths})
        path = folder / f"{stem}.png"
        write_whole(path, png(measurement_figure(about, group)))
        paths.append(path)
    return paths


def measurement_figure(about: Subject, measurements: Sequence[Measurement]) -> Figure:
    """Draw the throughput, latency, utilization and memory of one configuration of a model; of streams, theirs too.

    All but the memory are drawn over the load, with one line for each batch size and lengths; the memory is drawn over
    the batch size, with the server's share below. Every trial is shown: one that failed is a cross on the axis, and
    those without the value are counted above the panel.
    """
    from matplotlib.figure import Figure

    streams = stream_panels(measurements)
    with house_style():
        figure = Figure(figsize=(10, 10 if streams else 7))
        rows = figure.add_gridspec(3 if streams else 2, 6)
        throughput, latency, memory, utilization = (
            figure.add_subplot(rows[row, columns]) for row in (0, 1) for columns in (slice(0, 3), slice(3, 6))
        )
        for place, panel in enumerate(streams):
            axes = figure.add_subplot(rows[2, 2 * place : 2 * place + 2])
            _over_load(axes, about, measurements, panel.value, panel.half_width)
            _label_axes(axes, panel.title, panel.unit)
        _over_load(throughput, about, measurements, lambda m: m.throughput_infer_per_s, lambda m: m.throughput_ci)
        _label_axes(throughput, "Throughput", "inferences/s")
        _over_load(latency, about, measurements, lambda m: _ms(m.latency_p99_s), lambda m: m.latency_p99_ci)
        _label_axes(latency, "p99 latency, seen by the client", "ms")
        unit = processor(about.provenance)
        utilization.set_ylim(0, 105)
        _over_load(utilization, about, measurements, lambda m: _pct(m.max_utilization))
        _label_axes(utilization, f"{unit}{'utilization' if unit else 'Utilization'}, highest", "%")
        memory_handles = _memory_over_batch(memory, measurements)
        _label_axes(memory, memory_title(about, measurements), "MiB")
        head(figure, about.title, device(about.provenance))
        figure.legend(
            handles=[*_series_handles(measurements), *memory_handles, *_mark_handles(measurements)],
            loc="outside lower center",
            ncols=4 if any(one.input_length or one.output_length for one in _series(measurements)) else 6,
        )
    return figure


def _over_load(
    axes: Axes,
    about: Subject,
    measurements: Sequence[Measurement],
    value_of: Callable[[Measurement], float | None],
    half_width_of: Callable[[Measurement], float | None] = lambda _: None,
) -> None:
    """Draw a value of each trial over its load; `half_width_of` is its interval's half width, as a fraction of it."""
    crosses: dict[float, int] = {}
    for index, one in enumerate(_series(measurements)):
        style = _line_style(index)
        trials = [m for m in measurements if series(m) == one]
        known = [(load(m), value, half_width_of(m), m.status) for m in trials if (value := value_of(m)) is not None]
        # A trial without the value breaks its line: nothing is interpolated over it.
        values = [math.nan if (value := value_of(m)) is None else value for m in trials]
        axes.plot([load(m) for m in trials], values, gid=one.name.lower().replace(", ", "-").replace(" ", "-"), **style)
        for x, y, half_width, status in known:
            if half_width is not None:
                axes.errorbar(x, y, yerr=y * half_width, fmt="none", ecolor=style["color"], alpha=0.6, capsize=2.5)
            if status is Status.UNSETTLED:
                axes.plot(x, y, **{**style, "markerfacecolor": "white"}, gid="unsettled")
        for trial in trials:
            if not trial.status.measured:
                height = crosses.get(load(trial), 0)
                crosses[load(trial)] = height + 1
                _cross(axes, load(trial), height, style["color"])
    _make_room_for_crosses(axes, max(crosses.values(), default=0))
    _note_missing_values(axes, measurements, value_of)
    _load_axis(axes, about, measurements)


def _memory_over_batch(axes: Axes, measurements: Sequence[Measurement]) -> list[Artist]:
    """Draw the highest memory of each batch size as a bar, the server's share below, and every trial as a dot."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    batches = _batches(measurements)
    shown: dict[str, Artist] = {}
    for position, batch in enumerate(batches):
        trials = [m for m in measurements if m.trial.batch == batch]
        known = [m for m in trials if m.max_memory_bytes is not None]
        if known:
            peak = max(known, key=lambda m: m.max_memory_bytes or 0)
            total, server = (peak.max_memory_bytes or 0) / MIB, peak.server_memory_bytes
            share = "With the server, its share unknown" if server is None else "Model's own"
            below = min(total, (server or 0) / MIB)
            if server is not None:
                axes.bar(position, below, width=0.6, color=SERVER_GREY, gid=f"server-{batch}")
                shown["Idle server"] = Patch(color=SERVER_GREY)
            axes.bar(position, total - below, bottom=below, width=0.6, color="#a6cbe3", gid=f"model-{batch}")
            shown[share] = Patch(color="#a6cbe3")
            axes.annotate(
                mib(peak.max_memory_bytes), (position, total), (0, 5), textcoords="offset points", ha="center"
            )
            spread = [position + 0.4 * ((n + 0.5) / len(known) - 0.5) for n in range(len(known))]
            axes.plot(
                spread, [(m.max_memory_bytes or 0) / MIB for m in known], ".", color=INK, ms=4, gid=f"trials-{batch}"
            )
            shown["One trial's peak"] = Line2D([], [], ls="", marker=".", ms=4, color=INK)
        if any(not m.status.measured for m in trials):
            failed_at = position + 0.4 if known else position
            _cross(axes, failed_at, 0, _line_style(position)["color"])
    axes.margins(y=0.12)
    _make_room_for_crosses(axes, int(any(not m.status.measured for m in measurements)))
    _note_missing_values(axes, measurements, lambda m: m.max_memory_bytes)
    middle, half = (len(batches) - 1) / 2, max(len(batches), 4) / 2
    axes.set_xlim(middle - half, middle + half)
    axes.set_xticks(range(len(batches)), [str(batch) for batch in batches])
    axes.set_xlabel("Batch size (inferences a request)")
    for name, artist in shown.items():
        artist.set_label(name)
    return list(shown.values())


def _note_missing_values(
    axes: Axes, measurements: Sequence[Measurement], value_of: Callable[[Measurement], float | None]
) -> None:
    """Write how many measured trials lack the value, so that none is silently left out."""
    measured = [m for m in measurements if m.status.measured]
    missing = sum(value_of(m) is None for m in measured)
    if missing == len(measured):
        words = "not measured" if measured else "no trial could be measured"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=DIM)
        axes.set_yticks([])
    elif missing:
        words = f"{missing} of {len(measured)} measured trials without this figure"
        axes.text(0.99, 1.02, words, transform=axes.transAxes, ha="right", va="bottom", color=FAINT, fontsize=8)


def _load_axis(axes: Axes, about: Subject, measurements: Sequence[Measurement]) -> None:
    """Mark the loads that were tried; the axis is logarithmic if they span a factor of 8 or more."""
    loads = sorted({load(m) for m in measurements})
    if loads[0] > 0 and loads[-1] / loads[0] >= 8:
        axes.set_xscale("log", base=2)
    every = math.ceil(len(loads) / 10)
    marked = loads[::every]
    axes.set_xticks(marked, [f"{value:.0f}" if value == round(value) else number(value) for value in marked])
    axes.set_xticks([], minor=True)
    if axes.get_xscale() == "log":
        room = (loads[-1] / loads[0]) ** 0.06
        axes.set_xlim(loads[0] / room, loads[-1] * room)
    else:
        margin = 0.06 * (loads[-1] - loads[0]) or 1.0
        axes.set_xlim(loads[0] - margin, loads[-1] + margin)
    axes.set_xlabel("Request rate (requests/s)" if about.open_loop else "Concurrency (requests in flight)")


def _label_axes(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title)
    axes.set_ylabel(unit)


def _make_room_for_crosses(axes: Axes, height: int) -> None:
    """Begin the y axis at 0, with a strip below it for `height` crosses one above another, so they hide no point."""
    top = max(axes.get_ylim()[1], 1.05 * axes.dataLim.y1)  # figures that are nearly equal get hardly any margin
    strip = CROSS * height + CROSS / 3 if height else 0.0  # as a fraction of the panel
    axes.set_ylim(0, top)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= top])
    axes.set_ylim(-top * strip / (1 - strip), top)
    if height:
        axes.axhline(0, color=FAINT, lw=0.8, zorder=1)


def _cross(axes: Axes, x: float, height: int, color: str) -> None:
    """Mark a failed trial by a cross at the bottom of the panel; `height` is the number of crosses below it."""
    y = CROSS * (height + 0.6)
    axes.plot(
        [x], [y], transform=axes.get_xaxis_transform(), marker="x", ms=6, mew=2, color=color, ls="", gid="failed",
        zorder=4, clip_on=False,
    )  # fmt: skip


def _batches(measurements: Sequence[Measurement]) -> list[int]:
    return sorted({m.trial.batch for m in measurements})


def _line_style(index: int) -> dict[str, Any]:
    """Return the style of the line of the `index`-th batch size; the dashes differ when the colours repeat."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "ls": ("-", "--", ":", "-.")[index // len(PALETTE) % 4],
        "lw": 1.6,
        "ms": 5,
    }


def _series(measurements: Sequence[Measurement]) -> list[Series]:
    return sorted({series(m) for m in measurements})


def _series_handles(measurements: Sequence[Measurement]) -> list[Artist]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], label=one.name, **_line_style(n)) for n, one in enumerate(_series(measurements))]


def _mark_handles(measurements: Sequence[Measurement]) -> list[Artist]:
    """Return the legend's entries for the marks that occur: crosses and hollow points."""
    from matplotlib.lines import Line2D

    statuses = {m.status for m in measurements}
    handles: list[Artist] = []
    if any(not status.measured for status in statuses):
        handles.append(Line2D([], [], ls="", marker="x", mew=2, color=INK, label="Failed, in its batch's colour"))
    if Status.UNSETTLED in statuses:
        handles.append(Line2D([], [], ls="", marker="o", mfc="white", color=INK, label="Hollow: did not settle"))
    return handles


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else value_s * 1e3


def _pct(fraction: float | None) -> float | None:
    return None if fraction is None else fraction * 100
