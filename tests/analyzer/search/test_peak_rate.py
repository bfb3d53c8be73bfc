"""Test the search for the peak rate on simulated models whose peak is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from analyzer.measurements.record import Measurement, Status, Trial
from analyzer.search import Axes, SearchMethod
from analyzer.search.peak_rate import find_peak, is_kept, min_window_s
from analyzer.search.strategy import Strategy, search
from tests.builders.searches import made, play

OPEN = Trial(model="m", concurrency=0, request_rate_per_s=100.0, arrivals="constant")


def queue(peak_per_s: float) -> Callable[[Trial], Measurement]:
    """Make a model that answers in 10 ms up to `peak_per_s` requests/s, and in 1 s above it."""

    def answer(trial: Trial) -> Measurement:
        rate = trial.request_rate_per_s
        assert rate is not None
        return made(trial, min(rate, peak_per_s) * trial.batch, 0.010 if rate <= peak_per_s else 1.0)

    return answer


@pytest.mark.parametrize("peak", [3.0, 70.0, 99.0, 101.0, 730.0])
def test_peak_is_found_to_five_per_cent(peak: float) -> None:
    """The rate found is at most 5 % below the peak; from a start at 100/s at most 12 trials are needed."""
    tried, (answer,) = play(find_peak(OPEN, 1, 100.0, 0.050), queue(peak))
    assert answer.found is not None
    found = answer.found.trial.request_rate_per_s
    assert found is not None
    assert found <= peak < found * 1.05 * 1.001
    assert len(tried) <= 12
    assert all(trial.concurrency == 0 for trial in tried)


def test_peak_starts_at_the_closed_loops_rate_and_halves() -> None:
    """100 and 50 fail, 25 is kept; geometric means with three digits follow until the bounds are 5 % apart."""
    tried, _ = play(find_peak(OPEN, 1, 100.0, 0.050), queue(30.0))
    # √(25 x 50) = 35.4 fails; √(25 x 35.4) = 29.7 is kept; √(29.7 x 35.4) = 32.4, √(29.7 x 32.4) = 31.0 fail: 4 %
    assert [trial.request_rate_per_s for trial in tried] == [100.0, 50.0, 25.0, 35.4, 29.7, 32.4, 31.0]


def test_peak_that_no_rate_keeps_is_none() -> None:
    """After twelve trials, each at half the rate, there is no peak; the lowest rate is 100 / 2^11 = 0.0488."""
    tried, (answer,) = play(find_peak(OPEN, 1, 100.0, 0.050), queue(0.0))
    assert len(tried) == 12
    assert answer.found is None
    assert "0.04" in answer.why


def test_rate_that_is_not_completed_is_not_kept() -> None:
    """Of 1000 requests due, 97 % must be completed: 980 are enough, 960 only with Poisson arrivals, which vary."""
    assert not is_kept(made(OPEN, 96.0, 0.010), 0.050)
    assert is_kept(made(OPEN, 98.0, 0.010), 0.050)
    chance = Trial(model="m", concurrency=0, request_rate_per_s=100.0)
    assert is_kept(made(chance, 96.0, 0.010), 0.050)  # at least 970 - 2 x √1000 = 907 are enough
    assert not is_kept(made(chance, 90.0, 0.010), 0.050)
    assert not is_kept(made(OPEN, 100.0, 0.051), 0.050)
    assert not is_kept(made(OPEN, status=Status.TIMED_OUT), 0.050)


def test_window_is_long_enough_for_a_queue_to_show() -> None:
    """The window is at least 20 x the budget of 50 ms = 1 s, and long enough for 368 requests: 36.8 s at 10/s."""
    assert min_window_s(1000.0, 0.050) == pytest.approx(1.0)
    assert min_window_s(10.0, 0.050) == pytest.approx(36.8)


def test_peak_search_starts_at_the_closed_loops_throughput() -> None:
    """The closed loop completes 40 requests/s at every batch, so the open loop starts at 40 requests/s."""

    def model(trial: Trial) -> Measurement:
        return queue(1000.0)(trial) if trial.request_rate_per_s else made(trial, 40.0 * trial.batch, 0.025)

    strategy = Strategy(axes=Axes(batches=(1, 2), concurrencies=(1,)), find_peak=True, latency_p99_s=0.050)
    tried, answers = play(search(Trial(model="m"), strategy, 8), model)
    assert [(trial.batch, trial.concurrency) for trial in tried[:2]] == [(1, 1), (2, 1)]
    assert next(trial.request_rate_per_s for trial in tried if trial.request_rate_per_s) == 40.0
    assert [(answer.sought, answer.about.batch) for answer in answers] == [("peak", 1), ("peak", 2)]


def test_search_gives_knees_before_peaks() -> None:
    """With a climb there is a knee and a peak; if no trial succeeds, both are None."""
    strategy = Strategy(axes=Axes(batches=(1,)), method=SearchMethod.CLIMB, find_peak=True, latency_p99_s=0.050)
    _, answers = play(search(Trial(model="m"), strategy, 8), lambda t: made(t, status=Status.INFERENCE_ERROR))
    assert [(answer.sought, answer.found) for answer in answers] == [("knee", None), ("peak", None)]
