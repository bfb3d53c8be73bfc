"""Test a trial's window and its device readings, without the time that a hypervisor disturbed."""

from array import array
from collections.abc import Sequence

import numpy as np
import pytest

from analyzer.devices import Reading
from analyzer.devices.processors import ProcessorTimes
from analyzer.load.load import Report
from analyzer.load.response_stream import StreamTimings
from analyzer.sweep.timings import Timings


def report(end_s: Sequence[float], latency_s: Sequence[float], **changes: object) -> Report:
    """Make a report of requests that succeeded."""
    fields = {"errors": 0, "first_error": "", "late": 0, "cpu_s": 0.01, "wall_s": 0.05, "lost": False, **changes}
    return Report(end_s=array("d", end_s), latency_s=array("d", latency_s), **fields)  # type: ignore[arg-type]


def disturbed_from_4_to_6() -> Timings:
    """Make a trial of 8 s in which 100 requests/s of 10 ms become 25/s of 40 ms from second 4 to second 6."""
    latency_s = np.concatenate((np.full(400, 0.01), np.full(50, 0.04), np.full(200, 0.01)))
    timings = Timings()
    timings.processors = [
        ProcessorTimes(time_s=t, busy_s=t, stolen_s=0.3 * (min(max(t, 4.0), 6.0) - 4.0))
        for t in np.arange(0, 8.05, 0.1)
    ]
    timings.add([report(np.cumsum(latency_s).tolist(), latency_s.tolist())])
    del timings.processors[81:]  # a sample of this machine's own processors
    return timings


def test_the_window_is_of_undisturbed_time() -> None:
    """Without the disturbed time the window has 100/s and 10 ms; with it p99 is 40 ms."""
    seen = disturbed_from_4_to_6().summarize(1)
    assert seen.window is not None
    assert seen.window.requests_per_s == pytest.approx(100, rel=1e-3)
    assert seen.window.latency_p99_s == pytest.approx(0.01)
    assert seen.gaps.total_s == pytest.approx(2.0, abs=0.15)
    assert not seen.includes_disturbed
    whole = disturbed_from_4_to_6().summarize(1, whole=True)
    assert whole.window is not None
    assert whole.window.latency_p99_s == pytest.approx(0.04)
    assert whole.gaps.total_s == 0.0
    assert whole.includes_disturbed


def test_offered_are_the_requests_that_were_due_in_the_window() -> None:
    """100/s are due and 80/s complete: over 4 s the backlog grows by 80, and a closed loop offers nothing."""
    timings = Timings()
    due, ends = np.arange(0.0, 4.0, 0.01), np.arange(0.0, 4.0, 0.0125) + 0.0125
    timings.add([report(ends.tolist(), (ends - due[: len(ends)]).tolist(), due_s=array("d", due))])
    seen = timings.summarize(1, open_loop=True)
    assert seen.window is not None
    assert seen.offered is not None
    assert seen.offered.requests / seen.window.duration_s == pytest.approx(100, rel=0.02)
    assert seen.offered.requests - seen.window.requests == pytest.approx(0.2 * 100 * seen.window.duration_s, abs=2)
    assert timings.summarize(1).offered is None


def test_readings_are_those_of_the_window() -> None:
    """Readings in disturbed time are left out, and those so early that they may show the time before the window."""
    seen = disturbed_from_4_to_6().summarize(1)
    assert seen.window is not None
    readings = [Reading(time_s=t) for t in (-1.0, 3.5, 5.0, 7.0, 9.0)]
    begin_s = seen.window.start_s
    inside = [r.time_s for r in seen.within(readings, lag_s=0.0)]
    assert inside == [t for t in (3.5, 7.0) if t >= begin_s]
    assert 7.0 in inside
    assert [r.time_s for r in seen.within([Reading(time_s=begin_s + 1.0)], lag_s=1.5)] == []


def test_too_few_requests_make_no_window() -> None:
    """With too few requests there is no window and every reading counts, so that a failed row has device figures."""
    timings = Timings()
    timings.add([report([1.0], [0.1])])
    seen = timings.summarize(1)
    assert seen.window is None
    readings = [Reading(time_s=1.0)]
    assert seen.within(readings, lag_s=0.0) == readings


def test_errors_late_requests_and_the_busiest_client_add_up() -> None:
    """Counts are added, the first error is kept, and a client's processor share is smoothed over the reports."""
    timings = Timings()
    for text in ("first", "second"):
        timings.add([report([], [], errors=2, first_error=text, late=1, cpu_s=0.05)])
    assert (timings.errors, timings.first_error, timings.late) == (4, "first", 2)
    assert timings.busiest_client == pytest.approx(1 - 0.8**2)


def streams_of(first_s: float, responses: int, count: int) -> StreamTimings:
    """Make the timings of streams with responses 10 ms apart, of one token each."""
    gaps_s = array("d", [0.01] * (responses - 1) * count)
    tokens = array("d", [float(responses)] * count)
    last_s = array("d", [first_s + 0.01 * (responses - 1)] * count)
    return StreamTimings(
        responses=array("L", [responses] * count),
        first_s=array("d", [first_s] * count),
        last_s=last_s,
        gaps_s=gaps_s,
        input_tokens=array("d", [3.0] * count),
        output_tokens=tokens,
        first_tokens=array("d", [1.0] * count),
    )


def test_streams_count_from_the_window_on_whichever_loop_reported_them() -> None:
    """Of two event loops, streams of 4 responses after second 7 count, and the slow ones before it do not."""
    timings = Timings()
    ends = np.arange(0.1, 20.05, 0.1)
    for shift in (0.0, 0.05):
        slow, fast = streams_of(1.0, 2, 60), streams_of(0.02, 4, len(ends) - 60)
        slow.extend(fast)
        timings.add([report((ends + shift).tolist(), [1.0] * 60 + [0.05] * (len(ends) - 60), streams=slow)])
    seen = timings.summarize(2, since_s=7.0)
    assert seen.window is not None
    found = seen.window.streams
    assert found is not None
    assert found.first_response_avg_s == pytest.approx(0.02)
    assert found.responses_per_s == pytest.approx(4 * seen.window.requests_per_s)
    assert found.itl_avg_s == pytest.approx(0.01)
    assert disturbed_from_4_to_6().summarize(1).window.streams is None  # type: ignore[union-attr]
