"""Test the statistics of a window: throughput, percentiles, their confidence intervals, and the warm-up."""

import math

import numpy as np
import pytest

from analyzer.statistics.window import effective_requests, find_warmup, p99_half_width_s, percentile, summarize


def test_percentile_takes_the_nearest_rank() -> None:
    """The p-th percentile is the smallest value with at least p of all values at or below it."""
    ordered = np.arange(1.0, 201.0)  # 1 … 200: 99 % of 200 is 198 values
    assert percentile(ordered, 0.99) == 198.0
    assert percentile(ordered, 0.50) == 100.0
    assert percentile(np.array([7.0]), 0.99) == 7.0


def test_summarize_divides_requests_by_the_time_between_completions() -> None:
    """Throughput is the number of completions after the first, divided by the time from the first to the last."""
    ends = np.arange(1001) * 0.01  # one every 10 ms
    window = summarize(ends, np.full(1001, 0.01))
    assert window is not None
    assert window.requests_per_s == pytest.approx(100.0)
    assert window.throughput_ci == pytest.approx(0.0, abs=1e-9)
    assert window.latency_p99_ci == pytest.approx(0.0, abs=1e-9)


def test_summarize_needs_two_requests() -> None:
    """One completion has no rate."""
    assert summarize(np.array([1.0]), np.array([0.1])) is None
    assert summarize(np.array([]), np.array([])) is None


def test_warmup_is_found_where_requests_become_fast() -> None:
    """A slow start is cut off at the block that holds its end, or one block later."""
    # 100 slow requests of 1001: blocks of 25, of which the first four are slow; noise of 2 %
    gaps = np.concatenate([np.full(100, 0.05), np.full(901, 0.01)]) * np.random.default_rng(5).normal(1, 0.02, 1001)
    cut = find_warmup(np.cumsum(gaps))
    assert 100 <= cut <= 150


def test_warmup_is_empty_where_requests_are_alike() -> None:
    """A run that is steady from the start loses at most a quarter of its requests."""
    rng = np.random.default_rng(1)
    gaps = rng.normal(0.01, 0.0005, size=2000)
    assert find_warmup(np.cumsum(gaps)) <= 500


@pytest.mark.parametrize("scale", [0.05, 0.3])
def test_throughput_interval_holds_the_truth_in_nineteen_of_twenty_runs(scale: float) -> None:
    """A 95 % interval covers the true rate in about 95 % of independent runs."""
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        ends = np.cumsum(rng.normal(1.0, scale, size=400))
        window = summarize(ends, np.full(400, 1.0))
        assert window is not None
        covered += abs(1.0 / window.requests_per_s - 1.0) <= window.throughput_ci
    assert covered >= 0.92 * 300


@pytest.mark.parametrize("count", [200, 320, 321, 2000])
def test_p99_interval_holds_the_truth(count: int) -> None:
    """The p99 of an exponential with mean 1 is ln 100 = 4.605; the interval covers it in about 95 % of the runs."""
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        ordered = np.sort(rng.exponential(size=count))
        covered += abs(percentile(ordered, 0.99) - math.log(100)) <= p99_half_width_s(ordered)
    assert covered >= 0.90 * 300


def test_p99_interval_is_unknown_below_a_hundred_requests() -> None:
    """With fewer than 100 requests the sample does not bound the 99th percentile."""
    assert p99_half_width_s(np.arange(99.0)) == math.inf


def test_p99_interval_takes_the_ranks_of_the_binomial() -> None:
    """With a probability of 95 %, 5 to 18 of 1000 requests lie above the true p99 (binomial, n = 1000, p = 0.01)."""
    # P(K <= 4) = 0.0287 <= 0.04 < P(K <= 5) = 0.0661 ; P(K <= 17) = 0.9861 < 0.99 <= P(K <= 18) = 0.9932
    # so the ranks are 1000 - 18 = 982 and 1000 - 5 + 1 = 996; the p99 is 990, and the farther of them is 982
    assert p99_half_width_s(np.arange(1.0, 1001.0)) == 8.0


def test_p99_interval_is_that_of_fewer_requests_where_they_are_correlated() -> None:
    """4000 requests that are worth 1000 have the ranks of 1000, at four times the distance."""
    assert p99_half_width_s(np.arange(1.0, 4001.0), effective=1000.0) == 32.0


def test_requests_that_are_slow_together_count_as_few() -> None:
    """Requests that are slow in groups of ten are worth about a tenth of independent ones."""
    rng = np.random.default_rng(4)
    groups = rng.exponential(size=2000)
    together = np.repeat(groups, 10) * rng.normal(1, 0.001, size=20_000)
    assert 1000 <= effective_requests(together) <= 4000
    assert effective_requests(rng.exponential(size=20_000)) >= 8000


def test_steady_run_loses_nothing_to_a_warmup() -> None:
    """Where requests are alike, the quietest part of a run is not chosen: nine of ten runs are kept whole."""
    rng = np.random.default_rng(6)
    whole = sum(find_warmup(np.cumsum(rng.normal(0.01, 0.002, size=500))) == 0 for _ in range(100))
    assert whole >= 90


@pytest.mark.parametrize("rounds", [24, 50, 58, 79, 200])
def test_requests_that_complete_together_do_not_make_a_steady_throughput_unsure(rounds: int) -> None:
    """Four requests end together every 250 ms, as a model's streams do: blocks that cut a round in two said ±7 %."""
    end_s = np.repeat(np.arange(1, rounds + 1) * 0.25, 4) + np.tile([0.0, 1e-4, 2e-4, 3e-4], rounds)
    window = summarize(end_s, np.full(4 * rounds, 0.25), concurrency=4)
    assert window is not None
    assert window.throughput_ci < 0.01
