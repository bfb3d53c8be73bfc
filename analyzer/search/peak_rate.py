"""Find the highest request rate that a model keeps within a latency budget: bracket, then bisect.           [pure]"""

from __future__ import annotations

import math
from dataclasses import replace

from analyzer.measurements.record import Measurement, Status, Trial
from analyzer.search import SearchResult, TrialSearch, at_rate
from analyzer.search.knee import within_budget

TOLERANCE = 1.05  # the peak lies between a rate that is kept and one that is not, 5 % apart
COMPLETED = 0.97  # share of the requests due that must have been completed
# Length of the window in latency budgets: a rate 5 % too high then builds up a queue of one budget, which p99 shows.
BUDGETS_IN_WINDOW = 20
REQUESTS_IN_WINDOW = 368  # fewer give no bound of a p99 by order statistics (see statistics/window.py)
_RAISE = 1.5  # factor to the next rate after one that is kept
_LOWER = 0.5  # factor to the next rate after one that is not
_MOST_STEPS = 12  # to bracket the peak: from 1/4096 of the closed loop's rate to 100 times it


def find_peak(first: Trial, batch: int, closed_loop_per_s: float, latency_p99_s: float) -> TrialSearch:
    """Try the closed loop's rate, then higher or lower ones until one is kept and one is not; then bisect to 5 %.

    Parameters
    ----------
    first : Trial
        The model, its variant and the kind of arrivals.
    closed_loop_per_s : float
        The highest rate of requests in a closed loop, with which the search starts.
    latency_p99_s : float
        The p99 budget; latency counts from when each request was due.

    Returns
    -------
    tuple of SearchResult
        One: the highest rate tried that is kept (see `is_kept`).
    """
    about = replace(first, batch=batch, concurrency=0)
    kept: Measurement | None = None
    low, high, rate = 0.0, math.inf, _rounded(closed_loop_per_s)
    for _ in range(_MOST_STEPS):
        measurement = yield at_rate(first, batch, rate)
        if measurement.status is Status.LOAD_FAILED:
            break
        if is_kept(measurement, latency_p99_s):
            kept, low = measurement, rate
        else:
            high = rate
        if kept is not None and high < math.inf:
            break
        rate = _rounded(rate * (_LOWER if kept is None else _RAISE))
    if kept is None:
        why = f"even {high:g} requests/s were not kept" if high < math.inf else "no rate could be tried"
        return (SearchResult(sought="peak", about=about, found=None, why=why),)
    while high < math.inf and high > TOLERANCE * low:
        rate = _rounded(math.sqrt(low * high))
        if not low < rate < high:
            break
        measurement = yield at_rate(first, batch, rate)
        if is_kept(measurement, latency_p99_s):
            kept, low = measurement, rate
        else:
            high = rate
    why = f"{high:g} requests/s were not kept" if high < math.inf else "no rate tried was too high"
    return (SearchResult(sought="peak", about=about, found=kept, why=why),)


def min_window_s(rate_per_s: float, latency_p99_s: float) -> float:
    """Return the shortest window in which a rate that is kept differs from one that is not."""
    return max(BUDGETS_IN_WINDOW * latency_p99_s, REQUESTS_IN_WINDOW / rate_per_s)


def is_kept(measurement: Measurement, latency_p99_s: float) -> bool:
    """Whether an open-loop trial kept up with its request rate, and its p99 stayed within the budget.

    97 % of the requests that fell due must have been completed in the window. With Poisson arrivals the number that
    fell due has a standard deviation of its square root; two standard deviations are allowed for.
    """
    rate, window_s = measurement.trial.request_rate_per_s, measurement.window_s
    if not within_budget(measurement, latency_p99_s) or rate is None or not window_s:
        return False
    due = rate * window_s
    noise = 2 * math.sqrt(due) if measurement.trial.arrivals == "poisson" else 1.0
    return (measurement.requests or 0) >= COMPLETED * due - noise


def _rounded(rate: float) -> float:
    """Keep three digits: steps of 5 % need no more, and rates stay readable."""
    return float(f"{rate:.3g}")
