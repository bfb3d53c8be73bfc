"""What was offered in a window of an open loop, and how sure it is that it was served.                        [pure]"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analyzer.statistics.window import BLOCKS, STUDENT_T, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """The requests that were due in a window.

    Parameters
    ----------
    requests : int
        Number that were due.
    backlog_half_width : float
        Half width of the 95 % interval of how much the backlog grew over the window, in requests.
    """

    requests: int
    backlog_half_width: float


def offered_between(due_s: Floats, end_s: Floats, start_s: float, until_s: float) -> Offered:
    """Count the requests that were due after `start_s`, up to and including `until_s`.

    Of these, the server has left as many unserved as its backlog, the requests waiting or in flight, has grown. The
    backlog of a server that keeps up varies as well, and the window begins and ends at any point of that. So the
    growth is as uncertain as the difference of two draws from the backlog's spread around its trend, a straight line
    through `BLOCKS` + 1 points of the window. Unlike a throughput's interval, this one does not widen with the spread
    of the arrivals.

    Parameters
    ----------
    due_s, end_s : ndarray of float
        When requests were due and when they completed, each in ascending order.
    """
    times = np.linspace(start_s, until_s, BLOCKS + 1)
    due = np.searchsorted(due_s, times, side="right")
    backlog = due - np.searchsorted(end_s, times, side="right")  # less what there was before the first of `end_s`
    places = np.arange(BLOCKS + 1)
    residuals = backlog - np.polyval(np.polyfit(places, backlog, 1), places)
    spread = math.sqrt(float((residuals**2).sum()) / (BLOCKS - 1))  # a line has two parameters
    return Offered(requests=int(due[-1] - due[0]), backlog_half_width=STUDENT_T * math.sqrt(2) * spread)
