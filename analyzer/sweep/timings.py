"""Collect the request timings of a trial with the host's processor times, and compute its window."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from analyzer.devices import Reading
from analyzer.devices.processors import ProcessorTimes, processor_times
from analyzer.load.load import Report
from analyzer.load.response_stream import StreamTimings
from analyzer.statistics.backlog import Offered, offered_between
from analyzer.statistics.cpu_steal import Gaps, find_disturbed_times
from analyzer.statistics.streams import Streams, stream_figures
from analyzer.statistics.window import Window, summarize

_LOOK_S = 0.1  # between readings of the processor times


@dataclass(frozen=True, slots=True)
class WindowSoFar:
    """The window of a trial that may still be running.

    Parameters
    ----------
    window : Window or None
        On a clock that stands still in the gaps; None while there are too few requests for one.
    gaps : Gaps
        The times that are left out.
    includes_disturbed : bool
        Whether nothing is left out, because too little would remain.
    began_s, ended_s : float
        When the window began and ended, by `time.perf_counter`; 0 without a window.
    offered : Offered or None
        What was due in the window of an open loop.
    """

    window: Window | None
    gaps: Gaps
    includes_disturbed: bool = False
    began_s: float = 0.0
    ended_s: float = 0.0
    offered: Offered | None = None

    def within(self, readings: Sequence[Reading], *, lag_s: float) -> list[Reading]:
        """Return the readings of the window; a reading may show the device as it was `lag_s` before."""
        if self.window is None:
            return list(readings)
        times = np.array([reading.time_s for reading in readings])
        clock = self.gaps.remove_from(times)
        inside = ~self.gaps.contain(times) & (self.window.start_s + lag_s <= clock) & (clock <= self.window.end_s)
        return [reading for reading, is_inside in zip(readings, inside, strict=True) if is_inside]


@dataclass(slots=True)
class Timings:
    """All request timings that were received so far."""

    processors: list[ProcessorTimes] = field(default_factory=lambda: [processor_times()])
    end_s: array[float] = field(default_factory=lambda: array("d"))
    latency_s: array[float] = field(default_factory=lambda: array("d"))
    due_s: array[float] = field(default_factory=lambda: array("d"))
    streams: StreamTimings = field(default_factory=StreamTimings)
    responses: int = 0  # of streams, also of those in flight
    errors: int = 0
    first_error: str = ""
    late: int = 0
    lost: bool = False
    busiest_client: float = 0.0  # share of a core that the busiest event loop uses

    def add(self, reports: Sequence[Report]) -> None:
        """Add reports of the load generator, and read the processor times if `_LOOK_S` has passed."""
        for report in reports:
            self.end_s.extend(report.end_s)
            self.latency_s.extend(report.latency_s)
            self.due_s.extend(report.due_s)
            if report.streams is not None:
                self.streams.extend(report.streams)
            self.responses += report.responses
            self.errors += report.errors
            self.first_error = self.first_error or report.first_error
            self.late += report.late
            self.lost = self.lost or report.lost
            if report.wall_s > 0:
                # smoothed over about five reports: a short or early one means little
                self.busiest_client += 0.2 * (report.cpu_s / report.wall_s - self.busiest_client)
        if time.perf_counter() - self.processors[-1].time_s >= _LOOK_S:
            self.processors.append(processor_times())

    def summarize(
        self, concurrency: int, *, open_loop: bool = False, whole: bool = False, since_s: float = 0.0
    ) -> WindowSoFar:
        """Compute the window without the times that a hypervisor disturbed, or of the `whole` trial.

        Parameters
        ----------
        since_s : float
            Requests that completed before do not count, by `time.perf_counter`.
        """
        ends, latencies = np.array(self.end_s), np.array(self.latency_s)
        order = np.argsort(ends, kind="stable")  # reports of several event loops alternate
        ends, latencies = ends[order], latencies[order]
        gaps = Gaps([] if whole else find_disturbed_times(self.processors), ends, latencies, backlog=open_loop)
        kept = ~gaps.contain(ends) & (ends >= since_s)
        clock = gaps.remove_from(ends[kept])
        window = summarize(clock, latencies[kept], concurrency=concurrency)
        if window is None:
            return WindowSoFar(None, gaps, includes_disturbed=whole)
        if len(self.streams.responses) == len(ends):
            inside = order[kept][-window.requests :]
            figures = stream_figures(
                _as_streams(self.streams).take(inside), clock[-window.requests - 1 :], concurrency=concurrency
            )
            window = replace(window, streams=figures)
        first = int(np.searchsorted(clock, window.start_s))
        began_s, ended_s = float(ends[kept][first]), float(ends[kept][-1])
        offered = None
        if open_loop:
            due = np.sort(np.array(self.due_s))
            due = gaps.remove_from(due[~gaps.contain(due)])
            offered = offered_between(due, clock, window.start_s, window.end_s)
        return WindowSoFar(window, gaps, includes_disturbed=whole, began_s=began_s, ended_s=ended_s, offered=offered)


def _as_streams(timings: StreamTimings) -> Streams:
    responses = np.array(timings.responses, dtype=float)
    gaps = np.maximum(responses - 1, 0).astype(int)
    return Streams(
        responses=responses,
        first_s=np.array(timings.first_s),
        last_s=np.array(timings.last_s),
        input_tokens=np.array(timings.input_tokens),
        output_tokens=np.array(timings.output_tokens),
        first_tokens=np.array(timings.first_tokens),
        gaps_s=np.array(timings.gaps_s),
        stream_of_gap=np.repeat(np.arange(len(responses)), gaps),
    )
