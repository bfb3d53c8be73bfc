"""Find the times in which a hypervisor disturbed a trial, and leave them out of its clock.                  [pure]

A hypervisor sometimes gives the processors of a virtual machine to other machines on the same hardware; the kernel
counts that as steal time. Figures from such times depend on the other machines. They are therefore left out, as the
warm-up is, with every request that was in flight in them, fast or slow. Without steal time nothing is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.devices.processors import ProcessorTimes

Floats = NDArray[np.floating[Any]]

SLICE_S = 0.5  # length of the slices that are judged; the kernel counts steal in hundredths of a second
# Share of the time of the processors in use (at least one) that may be stolen: throughput is as without steal below
# it, and lower by 5 % or more above it.
MOST_STOLEN = 0.02
BACKLOG = 3  # a server at 75 % of its capacity works off the backlog of a stall in three times the stall


class Gaps:
    """The times that are left out of a trial, and a clock that stands still in them.

    A gap begins at the last completion before a disturbed time, and ends when the last request that was in flight in
    that time completes. So the times between the completions that are kept are as without the disturbance.

    Parameters
    ----------
    disturbed : sequence of tuple of float
        Begin and end of each disturbed time, in order and without overlap.
    end_s, latency_s : ndarray of float, shape (n_requests,)
        When each request completed, and its latency, in order of completion.
    backlog : bool
        True for an open loop, which sends requests whether or not earlier ones are done: requests that wait behind a
        disturbed one are left out too, for at most `BACKLOG` times as long as the disturbed time.
    """

    def __init__(
        self, disturbed: Sequence[tuple[float, float]], end_s: Floats, latency_s: Floats, *, backlog: bool = False
    ) -> None:
        start_s = end_s - latency_s
        widened: list[tuple[float, float]] = []
        for begin_s, until_s in disturbed:
            latest_s = until_s + BACKLOG * (until_s - begin_s)
            if (earlier := int(np.searchsorted(end_s, begin_s, side="right"))) > 0:
                begin_s = float(end_s[earlier - 1])
            end = _last_touched(begin_s, until_s, start_s, end_s)
            while backlog and until_s < end < latest_s:
                until_s, end = end, _last_touched(begin_s, end, start_s, end_s)
            if widened and begin_s <= widened[-1][1]:
                begin_s, end = widened[-1][0], max(widened.pop()[1], end)
            widened.append((begin_s, end))
        self._begins = np.array([begin for begin, _ in widened])
        self._ends = np.array([end for _, end in widened])
        self._removed = np.concatenate(([0.0], np.cumsum(self._ends - self._begins)))

    @property
    def total_s(self) -> float:
        """Total time left out."""
        return float(self._removed[-1])

    def contain(self, time_s: Floats) -> NDArray[np.bool_]:
        """Return which times lie in a gap; a gap includes its end, but not its begin."""
        before = np.searchsorted(self._begins, time_s, side="left")
        return (before > 0) & (time_s <= np.concatenate(([-np.inf], self._ends))[before])

    def remove_from(self, time_s: Floats) -> Floats:
        """Convert times outside the gaps to the clock that stands still in the gaps."""
        converted: Floats = time_s - self._removed[np.searchsorted(self._begins, time_s, side="left")]
        return converted


def _last_touched(begin_s: float, until_s: float, start_s: Floats, end_s: Floats) -> float:
    """Return when the last request that was in flight between two times completed, at least `until_s`."""
    return float(end_s[(end_s > begin_s) & (start_s < until_s)].max(initial=until_s))


def find_disturbed_times(samples: Sequence[ProcessorTimes]) -> list[tuple[float, float]]:
    """Return begin and end of the times in which more than `MOST_STOLEN` was stolen.

    Time is judged in slices of half a second; a shorter rest at the end is judged by the last half second.
    """
    if not samples:
        return []
    bounds, last = [samples[0]], samples[-1]
    for sample in samples:
        if sample.time_s - bounds[-1].time_s >= SLICE_S:
            bounds.append(sample)
    found = [(a.time_s, b.time_s) for a, b in pairwise(bounds) if stolen_share(a, b) > MOST_STOLEN]
    half_before = next((s for s in reversed(samples) if last.time_s - s.time_s >= SLICE_S), samples[0])
    if last is not bounds[-1] and stolen_share(half_before, last) > MOST_STOLEN:
        found.append((bounds[-1].time_s, last.time_s))
    return found


def stolen_share(before: ProcessorTimes, after: ProcessorTimes) -> float:
    """Return the time stolen between two readings, as a share of the time of the processors in use."""
    passed_s = after.time_s - before.time_s
    if passed_s <= 0:
        return 0.0
    return (after.stolen_s - before.stolen_s) / max(passed_s, after.busy_s - before.busy_s)
