"""Test that the times in which a hypervisor took processors away are left out of a window, and no others."""

import numpy as np
import pytest

from analyzer.devices.processors import ProcessorTimes
from analyzer.statistics.cpu_steal import Gaps, find_disturbed_times, stolen_share
from analyzer.statistics.window import summarize


def samples(stolen_s: list[float], *, period_s: float = 0.1, busy: float = 0.5) -> list[ProcessorTimes]:
    """Make a sample every `period_s`; `stolen_s` holds the time stolen since the sample before."""
    totals = np.concatenate(([0.0], np.cumsum(stolen_s)))
    return [
        ProcessorTimes(time_s=i * period_s, busy_s=i * period_s * busy, stolen_s=float(total))
        for i, total in enumerate(totals)
    ]


def test_slices_of_half_a_second_with_more_than_2_percent_stolen_are_disturbed() -> None:
    """Of 0.5 s, 0.01 s stolen may be the rounding of the kernel's clock; 0.02 s are disturbed."""
    stolen = [0.01, 0, 0, 0, 0] + [0.01, 0, 0.01, 0, 0] + [0] * 5
    ((begin, end),) = find_disturbed_times(samples(stolen))
    assert (begin, end) == pytest.approx((0.5, 1.0))
    assert find_disturbed_times(samples([0.0] * 15)) == []
    assert find_disturbed_times([]) == []


def test_stolen_share_is_relative_to_the_processors_in_use() -> None:
    """0.02 s stolen in 0.5 s are 4 % of one processor, which is disturbed, and 1 % of four, which is not."""
    stolen = [0.02, 0, 0, 0, 0]
    assert find_disturbed_times(samples(stolen, busy=1.0))
    assert not find_disturbed_times(samples(stolen, busy=4.0))
    before, after = samples([0.02] * 5)[0], samples([0.02] * 5)[-1]
    assert stolen_share(before, after) == pytest.approx(0.2)


def test_last_incomplete_half_second_is_judged_too() -> None:
    """In a remainder of 0.2 s, 0.02 s stolen are disturbed, and 0.01 s are not."""
    ((begin, end),) = find_disturbed_times(samples([0] * 5 + [0, 0.02]))
    assert (begin, end) == pytest.approx((0.5, 0.7))
    assert find_disturbed_times(samples([0] * 5 + [0, 0.01])) == []


def test_gap_lasts_until_requests_in_flight_have_completed() -> None:
    """With a request every 0.1 s that takes 0.25 s, those in flight from 1.05 s to 1.5 s are completed by 1.7 s."""
    end_s = np.arange(0.3, 3.05, 0.1)
    gaps = Gaps([(1.05, 1.5)], end_s, np.full(len(end_s), 0.25))
    inside = gaps.contain(end_s)
    assert end_s[inside] == pytest.approx([1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7])
    assert gaps.total_s == pytest.approx(0.7)  # from the completion at 1.0
    assert gaps.remove_from(np.array([0.5, 1.0, 1.8, 2.8])) == pytest.approx([0.5, 1.0, 1.1, 2.1])


def test_removing_gaps_keeps_the_rate() -> None:
    """At 10 requests/s in sequence, 6 gaps that begin and end between completions leave exactly 10/s."""
    end_s = np.cumsum(np.full(150, 0.1))
    gaps = Gaps([(b, b + 0.5) for b in (1.03, 3.27, 5.55, 7.71, 9.98, 12.34)], end_s, np.full(150, 0.1))
    kept = gaps.remove_from(end_s[~gaps.contain(end_s)])
    assert np.diff(kept) == pytest.approx(0.1)
    assert gaps.total_s == pytest.approx(6 * 0.6, abs=0.2)


def test_open_loop_leaves_out_requests_that_queued_behind_a_gap() -> None:
    """Requests are due every 0.1 s and take 0.05 s; none is started from 1.0 s to 1.5 s, so that a queue builds up.

    At 1.5 s six requests wait; at one per 0.05 s the queue is empty when the request due at 2.0 s ends at 2.05 s.
    """
    due_s = np.arange(0.0, 4.0, 0.1)
    end_s, free_s = np.empty(len(due_s)), 0.0
    for i, due in enumerate(due_s):
        begin_s = max(due, free_s)
        begin_s = 1.5 if 0.98 < begin_s < 1.5 else begin_s
        end_s[i] = free_s = begin_s + 0.05
    latency_s = end_s - due_s
    closed = Gaps([(0.98, 1.5)], end_s, latency_s)
    assert latency_s[~closed.contain(end_s)].max() > 0.1  # a closed loop is not expected to have a queue
    opened = Gaps([(0.98, 1.5)], end_s, latency_s, backlog=True)
    assert latency_s[~opened.contain(end_s)] == pytest.approx(0.05)
    assert opened.total_s < 0.52 * 4 + 0.2


def test_gap_with_an_endless_queue_is_cut_off() -> None:
    """With two requests in flight at all times the queue never ends, so the gap ends at four times its length."""
    end_s = np.arange(0.1, 9.0, 0.1)
    gaps = Gaps([(2.0, 2.5)], end_s, np.full(len(end_s), 0.2), backlog=True)
    assert 1.9 < gaps.total_s < 2.4


def test_gaps_that_overlap_are_joined() -> None:
    """A slow request of the first gap ends in the second, so both are one gap."""
    end_s, latency_s = np.array([0.1, 1.2, 3.0]), np.array([0.05, 1.0, 0.1])
    gaps = Gaps([(0.5, 1.0), (1.1, 1.6)], end_s, latency_s)
    assert gaps.total_s == pytest.approx(1.5)  # from 0.1 to 1.6
    assert gaps.contain(end_s).tolist() == [False, True, False]


def test_no_gaps_change_nothing() -> None:
    """Without gaps no time and no request is removed."""
    end_s = np.array([1.0, 2.0])
    gaps = Gaps([], end_s, np.array([0.5, 0.5]))
    assert gaps.total_s == 0.0
    assert not gaps.contain(end_s).any()
    assert gaps.remove_from(end_s).tolist() == [1.0, 2.0]


def test_figures_without_the_gaps_are_those_of_an_undisturbed_machine() -> None:
    """100 requests/s of 10 ms take 40 ms for 2 s in the middle; without that gap the window is 100/s and 10 ms."""
    gaps_s = np.concatenate((np.full(300, 0.01), np.full(50, 0.04), np.full(300, 0.01)))
    end_s = np.cumsum(gaps_s)
    gaps = Gaps([(3.0, 5.0)], end_s, gaps_s)
    kept = ~gaps.contain(end_s)
    window = summarize(gaps.remove_from(end_s[kept]), gaps_s[kept])
    assert window is not None
    assert window.requests_per_s == pytest.approx(100, rel=0.01)
    assert window.latency_p99_s == pytest.approx(0.01)
    assert gaps.total_s == pytest.approx(2.0, abs=0.05)
