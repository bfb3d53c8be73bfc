"""Test what an open loop offered, and how sure it is that a server keeps up."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer.statistics.backlog import offered_between
from analyzer.statistics.window import Floats


def queue(rate_per_s: float, *, service_s: float, duration_s: float, seed: int) -> tuple[Floats, Floats]:
    """Return due times and ends of Poisson arrivals at one server whose service time is constant."""
    random = np.random.default_rng(seed)
    due = np.cumsum(random.exponential(1 / rate_per_s, int(2 * rate_per_s * duration_s)))
    ends = np.empty_like(due)
    free_s = 0.0
    for i, due_s in enumerate(due):
        free_s = max(free_s, due_s) + service_s
        ends[i] = free_s
    return due[due < duration_s], ends[ends < duration_s]


def test_requests_due_in_the_window_are_offered() -> None:
    """Due at 1, 2, … 100 s: after 10 s and up to 90 s there are 80; each is served 0.5 s later, so nothing varies."""
    due = np.arange(1.0, 101.0)
    found = offered_between(due, due + 0.5, 10.0, 90.0)
    assert found.requests == 80
    assert found.backlog_half_width == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("load", "shows"), [(0.3, "keeps up"), (0.6, "keeps up"), (1.3, "falls behind")])
def test_backlog_tells_a_server_that_keeps_up(load: float, shows: str) -> None:
    """Of 200 windows of 5 s at 60 requests/s, at least 95 % show it, and none shows the opposite.

    The interval of the throughput is about ±16 % there, as arrivals are Poisson.
    """
    verdicts = []
    for seed in range(200):
        due, ends = queue(60.0, service_s=load / 60.0, duration_s=7.0, seed=seed)
        found = offered_between(due, ends, 2.0, 7.0)
        served = int(((ends > 2.0) & (ends <= 7.0)).sum())
        most, least = served + found.backlog_half_width, served - found.backlog_half_width
        limit = 0.95 * found.requests
        verdicts.append("keeps up" if least >= limit else "noise" if most >= limit else "falls behind")
    assert verdicts.count(shows) >= 190
    assert set(verdicts) <= {shows, "noise"}
