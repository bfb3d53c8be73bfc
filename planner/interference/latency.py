"""What a slow-down does to a model's p99 latency, and the largest slow-down that its budget allows.          [pure]"""

from __future__ import annotations

import math


def co_located_p99_s(alone_p99_s: float, *, rate: float, capacity: float, slow_down: float) -> float:
    """Return the p99 latency of a model that is slower by a factor; infinite where it cannot keep up.

    L y (1 - rho) / (1 - rho y) with the utilization alone rho = rate / capacity: service takes y times as long, and the
    queue of the server, whose utilization becomes rho y, grows by (1 - rho) / (1 - rho y). docs/verification.md says
    how far that is from a simulated queue.

    Parameters
    ----------
    alone_p99_s : float
        p99 latency alone at this rate.
    rate, capacity : float
        Planned rate, and the rate that the model can serve alone, in inferences/s.
    slow_down : float
        Execution time beside the others over execution time alone.
    """
    utilization = rate / capacity
    if utilization >= 1 or utilization * slow_down >= 1:
        return math.inf
    return alone_p99_s * slow_down * (1 - utilization) / (1 - utilization * slow_down)


def tolerated(
    *, rate: float, capacity: float, alone_p99_s: float | None = None, budget_p99_s: float | None = None
) -> float:
    """Return the largest slow-down with which a model serves its rate within its budget of p99 latency.

    min(C/λ, D / (L (1 - rho) + rho D)); without a budget C/λ. Below 1 the model does not even hold alone.

    Parameters
    ----------
    rate, capacity : float
        Planned rate, and the rate that the model can serve alone, in inferences/s.
    alone_p99_s, budget_p99_s : float, optional
        p99 latency alone at this rate, and its limit; both or neither.
    """
    if (alone_p99_s is None) != (budget_p99_s is None):
        raise ValueError("a budget of p99 latency needs the p99 latency alone, and the other way round")
    if rate <= 0:
        raise ValueError(f"the rate is {rate}; without one, tolerated_without_rate gives the limit")
    keeps_up = capacity / rate
    if alone_p99_s is None or budget_p99_s is None:
        return keeps_up
    utilization = rate / capacity
    if utilization >= 1:
        return keeps_up
    return min(keeps_up, budget_p99_s / (alone_p99_s * (1 - utilization) + utilization * budget_p99_s))


def tolerated_without_rate(keep: float) -> float:
    """Return the largest slow-down with which a model keeps this share of its throughput alone, above 0 to 1."""
    if not 0 < keep <= 1:
        raise ValueError(f"the share of throughput to keep is {keep}; it is above 0 and at most 1")
    return 1 / keep
