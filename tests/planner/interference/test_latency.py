"""Test the p99 latency under a slow-down against a simulated queue, and the slow-down that a budget allows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.interference.latency import co_located_p99_s, tolerated, tolerated_without_rate


def simulated_p99(utilization: float, variation: float, slow_down: float, requests: int = 400_000) -> float:
    """Return the p99 latency of a queue with one server, Poisson arrivals and a mean service time of `slow_down`.

    Service times are constant, or drawn from a gamma distribution with this coefficient of variation. The waiting time
    of each request follows from that of the one before (Lindley 1952): the sums of service minus gap since the last
    time that the queue was empty, so the sum's distance from its lowest value so far.
    """
    random = np.random.default_rng(1)
    gaps = random.exponential(1 / utilization, requests)
    service = np.full(requests, 1.0)
    if variation:
        service = random.gamma(1 / variation**2, variation**2, requests)
    service = service * slow_down
    walk = np.concatenate(([0.0], np.cumsum(service[:-1] - gaps[1:])))
    waiting = walk - np.minimum.accumulate(walk)
    return float(np.quantile(waiting + service, 0.99))


@pytest.mark.parametrize("variation", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("utilization", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("slow_down", [1.1, 1.3])
def test_p99_agrees_with_a_simulated_queue(variation: float, utilization: float, slow_down: float) -> None:
    """M/D/1 and M/G/1 with coefficients of variation up to 1: within 8 %, and 1 % for the noise of the simulation."""
    alone = simulated_p99(utilization, variation, 1.0)
    together = simulated_p99(utilization, variation, slow_down)
    predicted = co_located_p99_s(alone, rate=utilization, capacity=1, slow_down=slow_down)
    assert predicted == pytest.approx(together, rel=0.09)


def test_queue_without_end() -> None:
    """A model that is slower than its requests come has no p99 latency: 80 of 100 per s, at 1.25 times the time."""
    assert co_located_p99_s(0.01, rate=80, capacity=100, slow_down=1.25) == math.inf
    assert co_located_p99_s(0.01, rate=100, capacity=100, slow_down=1.0) == math.inf
    assert co_located_p99_s(0.01, rate=80, capacity=100, slow_down=1.0) == pytest.approx(0.01)


@given(rate=st.floats(1, 990), alone=st.floats(1e-3, 1), factor=st.floats(1, 50), slow_down=st.floats(1, 20))
def test_tolerated_slow_down_is_where_the_budget_ends(
    rate: float, alone: float, factor: float, slow_down: float
) -> None:
    """Just below the tolerated slow-down the p99 latency is within the budget, just above it is not."""
    budget = alone * factor
    most = tolerated(rate=rate, capacity=1000, alone_p99_s=alone, budget_p99_s=budget)
    assert most >= 1 - 1e-9
    below = co_located_p99_s(alone, rate=rate, capacity=1000, slow_down=min(slow_down, most * (1 - 1e-6)))
    assert below <= budget
    above = co_located_p99_s(alone, rate=rate, capacity=1000, slow_down=max(slow_down, most * (1 + 1e-6)))
    assert above > budget


def test_tolerated_slow_down_in_figures() -> None:
    """50 of 100 per s, 10 ms alone, 30 ms allowed: 30 / (10 x 0.5 + 0.5 x 30) = 1.5; without a budget 100 / 50 = 2."""
    assert tolerated(rate=50, capacity=100, alone_p99_s=0.01, budget_p99_s=0.03) == pytest.approx(1.5)
    assert tolerated(rate=50, capacity=100) == 2
    assert tolerated(rate=125, capacity=100, alone_p99_s=0.01, budget_p99_s=1) == 0.8
    assert tolerated_without_rate(0.8) == 1.25


def test_budget_and_latency_alone_come_together() -> None:
    """A budget cannot be judged without the latency alone, and a rate of 0 or a share of 0 has no limit."""
    with pytest.raises(ValueError, match="needs the p99 latency alone"):
        tolerated(rate=50, capacity=100, budget_p99_s=0.1)
    with pytest.raises(ValueError, match="the rate is 0"):
        tolerated(rate=0, capacity=100)
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        tolerated_without_rate(0)
