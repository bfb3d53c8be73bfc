"""Simulate whole trials: how often the intervals of a trial that settled hold the true throughput and p99."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from analyzer.statistics.verdict import StoppingRule, given_up, growth, settled
from analyzer.statistics.window import Floats, Window, summarize

Z99 = 2.3263478740408408  # 99 % quantile of the normal distribution
RULE = StoppingRule()
RUNS = 60
Latencies = Callable[[np.random.Generator, int], Floats]


def lognormal(rng: np.random.Generator, count: int) -> Floats:
    """Latencies around one value."""
    return np.exp(0.15 * rng.standard_normal(count))


def exponential(rng: np.random.Generator, count: int) -> Floats:
    """A fixed time and an exponential one of the same mean."""
    return 0.5 + 0.5 * rng.exponential(size=count)


def pareto(rng: np.random.Generator, count: int) -> Floats:
    """A heavy tail: a fixed time, and a Pareto-distributed one of index 3."""
    return np.asarray(0.5 + 0.5 * rng.random(count) ** (-1 / 3))


def bimodal(slow_share: float) -> Latencies:
    """Latencies around two values, one three times the other."""

    def draw(rng: np.random.Generator, count: int) -> Floats:
        fast = np.exp(0.05 * rng.standard_normal(count))
        return np.where(rng.random(count) < slow_share, 3 * fast, fast)

    return draw


def correlated(rng: np.random.Generator, count: int) -> Floats:
    """Lognormal latencies whose logarithms have a correlation of 0.9 between neighbours."""
    logarithms = np.empty(count)
    logarithms[0] = last = rng.standard_normal()
    for i, noise in enumerate(math.sqrt(1 - 0.9**2) * rng.standard_normal(count - 1), start=1):
        logarithms[i] = last = 0.9 * last + noise
    return np.asarray(np.exp(0.15 * logarithms))


def run_trial(latency_s: Floats) -> tuple[Window, bool]:
    """Run a closed loop of concurrency 1 until the rule ends it; return its window and whether it settled."""
    end_s, look_s = np.cumsum(latency_s), RULE.min_window_s
    while True:
        look_s = min(look_s, RULE.max_trial_s)
        count = int(np.searchsorted(end_s, look_s))
        window = summarize(end_s[:count], latency_s[:count])
        assert window is not None
        if settled(window, RULE) or given_up(window, RULE) or look_s >= RULE.max_trial_s:
            return window, settled(window, RULE)
        look_s *= growth(window, RULE)


@pytest.mark.parametrize(
    ("draw", "p99", "least"),
    [
        pytest.param(lognormal, math.exp(0.15 * Z99), 0.9, id="unimodal"),
        pytest.param(exponential, 0.5 + 0.5 * math.log(100), 0.9, id="exponential"),
        # 0.01 of all is 0.2 or 0.5 of the slow ones, whose quantiles are 3 exp(0.05 z): z(0.8) = 0.8416, z(0.5) = 0
        pytest.param(bimodal(0.05), 3 * math.exp(0.05 * 0.8416), 0.9, id="5 % slow"),
        pytest.param(bimodal(0.02), 3.0, 0.9, id="2 % slow"),
        pytest.param(pareto, 0.5 + 0.5 * 100 ** (1 / 3), 0.9, id="heavy tail"),
        # 85 % of 300 runs: as many requests as this needs show their correlation only roughly
        pytest.param(correlated, math.exp(0.15 * Z99), 0.75, id="autocorrelated"),
    ],
)
def test_intervals_hold_the_truth_where_a_trial_settles(draw: Latencies, p99: float, least: float) -> None:
    """At 1000 requests/s, both intervals of a settled trial hold the truth, though it ends when they are narrow."""
    rng = np.random.default_rng(8)
    mean = float(draw(rng, 500_000).mean())
    throughput_held = p99_held = trials = 0
    for _ in range(RUNS):
        window, has_settled = run_trial(draw(rng, 20_000) / mean * 1e-3)
        if has_settled:
            trials += 1
            throughput_held += abs(1000 / window.requests_per_s - 1) <= window.throughput_ci
            p99_held += abs(p99 / mean * 1e-3 / window.latency_p99_s - 1) <= window.latency_p99_ci
    assert trials >= 0.9 * RUNS
    assert throughput_held >= 0.88 * trials
    assert p99_held >= least * trials
