"""What the load generator reports of a trial, beside what the host's processors did meanwhile."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analyzer.devices import Reading
from analyzer.devices.processors import ProcessorTimes, processor_times
from analyzer.load.event_loop import Report
from analyzer.statistics.cpu_steal import Gaps, disturbed
from analyzer.statistics.window import Window, summarize

_LOOK_S = 0.1  # between looks at the processors


@dataclass(frozen=True, slots=True)
class Seen:
    """A trial's window so far.

    Parameters
    ----------
    window : Window or None
        On a clock that stands still in the gaps; None where there are too few requests for one.
    gaps : Gaps
        What is left out.
    spoiled : bool
        Whether nothing is left out because too little would remain.
    """

    window: Window | None
    gaps: Gaps
    spoiled: bool = False

    def within(self, readings: Sequence[Reading], *, lag_s: float) -> list[Reading]:
        """Pick the readings of the window, each of which may show what was `lag_s` before."""
        if self.window is None:
            return list(readings)
        times = np.array([reading.time_s for reading in readings])
        clock = self.gaps.close(times)
        inside = ~self.gaps.contain(times) & (self.window.start_s + lag_s <= clock) & (clock <= self.window.end_s)
        return [reading for reading, is_inside in zip(readings, inside, strict=True) if is_inside]


@dataclass(slots=True)
class Timings:
    """All that came back so far."""

    processors: list[ProcessorTimes] = field(default_factory=lambda: [processor_times()])
    end_s: array[float] = field(default_factory=lambda: array("d"))
    latency_s: array[float] = field(default_factory=lambda: array("d"))
    errors: int = 0
    first_error: str = ""
    late: int = 0
    lost: bool = False
    busiest_client: float = 0.0

    def add(self, reports: Sequence[Report]) -> None:
        """Take reports as they come, and look at the processors now and then."""
        for report in reports:
            self.end_s.extend(report.end_s)
            self.latency_s.extend(report.latency_s)
            self.errors += report.errors
            self.first_error = self.first_error or report.first_error
            self.late += report.late
            self.lost = self.lost or report.lost
            if report.wall_s > 0:
                # smoothed over about five reports: one that is short or early says little
                self.busiest_client += 0.2 * (report.cpu_s / report.wall_s - self.busiest_client)
        if time.perf_counter() - self.processors[-1].time_s >= _LOOK_S:
            self.processors.append(processor_times())

    def summarize(self, concurrency: int, *, open_loop: bool = False, whole: bool = False) -> Seen:
        """Judge what the hypervisor left undisturbed, or the `whole`."""
        ends, latencies = np.array(self.end_s), np.array(self.latency_s)
        order = np.argsort(ends, kind="stable")  # several event loops report in turn
        ends, latencies = ends[order], latencies[order]
        gaps = Gaps([] if whole else disturbed(self.processors), ends, latencies, backlog=open_loop)
        kept = ~gaps.contain(ends)
        window = summarize(gaps.close(ends[kept]), latencies[kept], concurrency=concurrency)
        return Seen(window, gaps, spoiled=whole)
