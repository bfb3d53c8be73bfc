"""Test the figures of streams against values worked out by hand, and their intervals on simulated streams."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from analyzer.measurements.stream_figures import StreamFigures
from analyzer.statistics.streams import Streams, effective_gaps, stream_figures
from analyzer.statistics.window import Floats, rate_half_width, summarize


def streams_of(*gaps_s: list[float], first_s: float = 0.1, tokens: int = 1) -> Streams:
    """Make streams with these gaps, each `first_s` after its request and with `tokens` in every response."""
    counts = np.array([len(gaps) + 1 for gaps in gaps_s])
    first = np.full(len(gaps_s), first_s)
    return Streams(
        responses=counts.astype(float),
        first_s=first,
        last_s=first + [sum(gaps) for gaps in gaps_s],
        input_tokens=np.full(len(gaps_s), 7.0),
        output_tokens=counts * float(tokens),
        first_tokens=np.full(len(gaps_s), float(tokens)),
        gaps_s=np.array([gap for gaps in gaps_s for gap in gaps]),
        stream_of_gap=np.repeat(np.arange(len(gaps_s)), counts - 1),
    )


def test_figures_are_those_of_the_definitions() -> None:
    """Two streams over 2 s, of 3 and 2 responses of 2 tokens each, worked out in the comments."""
    found = stream_figures(streams_of([0.01, 0.03], [0.08], tokens=2), np.array([5.0, 6.0, 7.0]))
    assert found.responses_per_s == pytest.approx(2.5)  # 5 / 2 s
    assert found.output_tokens_per_s == pytest.approx(5.0)
    assert (found.input_tokens_avg, found.output_tokens_avg) == (7.0, 5.0)  # (6 + 4) / 2
    assert (found.first_response_avg_s, found.first_response_p99_s) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.response_gap_avg_s == pytest.approx(0.04)  # (10 + 30 + 80) / 3 ms
    assert found.response_gap_p50_s == pytest.approx(0.03)
    assert found.response_gap_p99_s == pytest.approx(0.08)
    # 40 ms over the 4 tokens after the first response, and 80 ms over 2
    assert found.itl_avg_s == pytest.approx((0.010 + 0.040) / 2)
    assert (found.responses_ci, found.itl_p99_ci) == (None, None)  # two streams say nothing of either


def test_without_reported_tokens_there_are_responses_only() -> None:
    """A model that reports no tokens has no figure in tokens, and neither has one whose reports are missing once."""
    for tokens in (np.full(2, math.nan), np.array([3.0, math.nan])):
        found = stream_figures(
            replace(streams_of([0.01], [0.01]), output_tokens=tokens, input_tokens=tokens), np.array([0.0, 1.0, 2.0])
        )
        assert found.responses_per_s == 2.0
        assert (found.input_tokens_avg, found.output_tokens_per_s, found.itl_avg_s) == (None, None, None)


def test_a_stream_without_a_response_has_no_times_and_no_tokens() -> None:
    """It counts as a request with 0 responses and 0 tokens, and the others' times are not touched."""
    some = streams_of([0.01], [])
    empty = replace(
        some,
        responses=np.array([2.0, 0.0]),
        first_s=np.array([0.1, math.nan]),
        last_s=np.array([0.11, math.nan]),
        output_tokens=np.array([2.0, math.nan]),
        first_tokens=np.array([1.0, math.nan]),
    )
    found = stream_figures(empty, np.array([0.0, 1.0, 2.0]))
    assert (found.responses_per_s, found.output_tokens_per_s) == (1.0, 1.0)
    assert found.first_response_avg_s == pytest.approx(0.1)
    assert found.itl_avg_s == pytest.approx(0.01)


def test_one_response_to_each_request_has_no_gaps() -> None:
    """A model that answers once has times to the first response, and none between responses."""
    found = stream_figures(streams_of([], []), np.array([0.0, 1.0, 2.0]))
    assert found.first_response_p50_s == pytest.approx(0.1)
    assert (found.response_gap_avg_s, found.itl_avg_s) == (None, None)
    nothing = stream_figures(replace(streams_of([]), first_s=np.array([math.nan])), np.array([0.0, 1.0]))
    assert nothing.first_response_avg_s is None


def test_streams_are_taken_with_their_gaps_in_another_order() -> None:
    """Of three streams the last and the first are taken, in this order."""
    taken = streams_of([1.0, 2.0], [3.0], [4.0, 5.0]).take(np.array([2, 0]))
    assert taken.gaps_s.tolist() == [4.0, 5.0, 1.0, 2.0]
    assert taken.stream_of_gap.tolist() == [0, 0, 1, 1]
    assert taken.responses.tolist() == [3.0, 3.0]


def test_a_rate_of_equal_streams_is_as_sure_as_the_throughput() -> None:
    """With 5 responses in each stream, responses/s has the interval of requests/s."""
    rng = np.random.default_rng(3)
    latency_s = rng.exponential(size=400)
    window = summarize(np.cumsum(latency_s), latency_s)
    assert window is not None
    ends = np.cumsum(latency_s)[-window.requests - 1 :]
    assert rate_half_width(np.full(window.requests, 5.0), ends) == pytest.approx(window.throughput_ci)


def simulated(rng: np.random.Generator, count: int) -> tuple[Streams, Floats]:
    """Draw streams one after the other, each with 1 to 40 responses at a pace of its own."""
    responses = rng.integers(1, 41, size=count)
    pace_s = 0.01 * np.exp(0.3 * rng.standard_normal(count))
    gaps = np.repeat(pace_s, responses - 1) * rng.exponential(size=int((responses - 1).sum()))
    of = np.repeat(np.arange(count), responses - 1)
    first = 0.05 + 0.01 * rng.exponential(size=count)
    last = first + np.bincount(of, weights=gaps, minlength=count)
    made = Streams(
        responses=responses.astype(float),
        first_s=first,
        last_s=last,
        input_tokens=np.ones(count),
        output_tokens=responses.astype(float),
        first_tokens=np.ones(count),
        gaps_s=gaps,
        stream_of_gap=of,
    )
    return made, np.concatenate(([0.0], np.cumsum(last)))


def test_intervals_hold_the_truth_though_the_gaps_of_a_stream_are_alike() -> None:
    """In at least 88 of 100 trials of 300 streams the intervals hold what 200,000 streams give."""
    rng = np.random.default_rng(11)
    truth = stream_figures(*simulated(rng, 200_000))
    held = dict.fromkeys(("responses", "output_tokens", "first_response", "response_gap", "itl"), 0)

    def holds(found: StreamFigures, figure: str, interval: str) -> bool:
        value, half = getattr(found, figure), getattr(found, interval)
        return bool(abs(getattr(truth, figure) / value - 1) <= half)

    for _ in range(100):
        found = stream_figures(*simulated(rng, 300))
        for name in held:
            if name in ("responses", "output_tokens"):
                held[name] += holds(found, f"{name}_per_s", f"{name}_ci")
            else:
                held[name] += holds(found, f"{name}_p99_s", f"{name}_p99_ci")
    assert min(held.values()) >= 88, held


def test_gaps_of_few_streams_tell_no_more_than_the_streams() -> None:
    """Ten streams of 200 gaps are worth ten independent ones: nothing shows how streams differ."""
    assert effective_gaps(streams_of(*[[0.01 + i / 1e6 for i in range(200)]] * 10)) == 10.0
