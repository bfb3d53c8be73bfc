"""Which stretches of a trial a hypervisor disturbed, and the trial's clock without them.                    [pure]

A virtual machine's processors are taken from it at times, for others on the same hardware; the kernel counts that as
steal time. What is measured meanwhile tells of the others, so such stretches are left out as the warm-up is: all that
was in flight in them, fast or slow. Where nothing is stolen, nothing is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.devices.processors import ProcessorTimes

Floats = NDArray[np.floating[Any]]

SLICE_S = 0.5  # stretches that are judged; the kernel counts steal in hundredths of a second
MOST_STOLEN = 0.02  # of the processors in use, one at least: below it rates are as without, above 5 % lower and more
BACKLOG = 3  # a server at 75 % of its capacity works off what a stall has left in three times the stall


class Gaps:
    """Stretches that are left out, and the clock that stands still in them.

    A gap begins with the last completion before its stretch and ends with the last one of what was in flight in it, so
    that the time between completions that are kept is what it would have been.

    Parameters
    ----------
    stretches : sequence of tuple of float
        Begin and end of each, in order and apart.
    end_s, latency_s : ndarray of float, shape (n_requests,)
        Requests, in order of completion.
    backlog : bool
        Whether requests come whether or not earlier ones are done (open loop): those that wait behind a disturbed one
        are left out too, for at most `BACKLOG` times as long as the stretch.
    """

    def __init__(
        self, stretches: Sequence[tuple[float, float]], end_s: Floats, latency_s: Floats, *, backlog: bool = False
    ) -> None:
        start_s = end_s - latency_s
        widened: list[tuple[float, float]] = []
        for begin_s, until_s in stretches:
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
        """Time left out."""
        return float(self._removed[-1])

    def contain(self, time_s: Floats) -> NDArray[np.bool_]:
        """Tell which moments lie in a gap, its begin not among them."""
        before = np.searchsorted(self._begins, time_s, side="left")
        return (before > 0) & (time_s <= np.concatenate(([-np.inf], self._ends))[before])

    def close(self, time_s: Floats) -> Floats:
        """Put moments that lie in no gap on the clock that stands still in them."""
        closed: Floats = time_s - self._removed[np.searchsorted(self._begins, time_s, side="left")]
        return closed


def _last_touched(begin_s: float, until_s: float, start_s: Floats, end_s: Floats) -> float:
    """When the last request that was in flight between two moments completed; `until_s` where there is none later."""
    return float(end_s[(end_s > begin_s) & (start_s < until_s)].max(initial=until_s))


def disturbed(samples: Sequence[ProcessorTimes]) -> list[tuple[float, float]]:
    """Find the stretches in which too much was stolen.

    Slices of half a second are judged; a shorter rest counts with the half second that it ends.
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
    """Return what was stolen between two readings, as a share of the time of the processors in use."""
    passed_s = after.time_s - before.time_s
    if passed_s <= 0:
        return 0.0
    return (after.stolen_s - before.stolen_s) / max(passed_s, after.busy_s - before.busy_s)
