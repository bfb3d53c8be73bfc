"""What a hypervisor disturbed is left out, all of it and nothing else."""

import numpy as np
import pytest

from analyzer.devices.processors import ProcessorTimes
from analyzer.statistics.cpu_steal import Gaps, find_disturbed_times, stolen_share
from analyzer.statistics.window import summarize


def samples(stolen_s: list[float], *, period_s: float = 0.1, busy: float = 0.5) -> list[ProcessorTimes]:
    """Look every `period_s`; `stolen_s` is what was stolen since the look before."""
    totals = np.concatenate(([0.0], np.cumsum(stolen_s)))
    return [
        ProcessorTimes(time_s=i * period_s, busy_s=i * period_s * busy, stolen_s=float(total))
        for i, total in enumerate(totals)
    ]


def test_slices_of_half_a_second_with_more_than_2_percent_stolen_are_disturbed() -> None:
    """0.01 s of 0.5 is what the kernel's clock may round to; 0.02 s is too much."""
    stolen = [0.01, 0, 0, 0, 0] + [0.01, 0, 0.01, 0, 0] + [0] * 5
    ((begin, end),) = find_disturbed_times(samples(stolen))
    assert (begin, end) == pytest.approx((0.5, 1.0))
    assert find_disturbed_times(samples([0.0] * 15)) == []
    assert find_disturbed_times([]) == []


def test_more_processors_in_use_bear_more() -> None:
    """0.02 s of 0.5 are 4 % of one processor and 1 % of four."""
    stolen = [0.02, 0, 0, 0, 0]
    assert find_disturbed_times(samples(stolen, busy=1.0))
    assert not find_disturbed_times(samples(stolen, busy=4.0))
    before, after = samples([0.02] * 5)[0], samples([0.02] * 5)[-1]
    assert stolen_share(before, after) == pytest.approx(0.2)


def test_the_rest_counts_with_the_half_second_that_it_ends() -> None:
    """Of 0.2 s left over, 0.02 s stolen are told at once, and 0.01 s are not."""
    ((begin, end),) = find_disturbed_times(samples([0] * 5 + [0, 0.02]))
    assert (begin, end) == pytest.approx((0.5, 0.7))
    assert find_disturbed_times(samples([0] * 5 + [0, 0.01])) == []


def test_a_gap_lasts_until_what_was_in_flight_has_completed() -> None:
    """A request each 0.1 s that takes 0.25 s: what is in flight from 1.05 to 1.5 completes by 1.7."""
    end_s = np.arange(0.3, 3.05, 0.1)
    gaps = Gaps([(1.05, 1.5)], end_s, np.full(len(end_s), 0.25))
    inside = gaps.contain(end_s)
    assert end_s[inside] == pytest.approx([1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7])
    assert gaps.total_s == pytest.approx(0.7)  # from the completion at 1.0
    assert gaps.remove_from(np.array([0.5, 1.0, 1.8, 2.8])) == pytest.approx([0.5, 1.0, 1.1, 2.1])


def test_leaving_out_changes_no_rate() -> None:
    """10 requests/s one after the other, and 6 gaps that begin and end between completions: still exactly 10/s."""
    end_s = np.cumsum(np.full(150, 0.1))
    gaps = Gaps([(b, b + 0.5) for b in (1.03, 3.27, 5.55, 7.71, 9.98, 12.34)], end_s, np.full(150, 0.1))
    kept = gaps.remove_from(end_s[~gaps.contain(end_s)])
    assert np.diff(kept) == pytest.approx(0.1)
    assert gaps.total_s == pytest.approx(6 * 0.6, abs=0.2)


def test_in_an_open_loop_what_waits_behind_a_gap_is_left_out_too() -> None:
    """Due each 0.1 s and taking 0.05 s; nothing is done from 1.0 to 1.5, and what waits is done every 0.05 s then.

    Six wait at 1.5; with those that come meanwhile the last of them is done at 2.05, which was due at 2.0.
    """
    due_s = np.arange(0.0, 4.0, 0.1)
    end_s, free_s = np.empty(len(due_s)), 0.0
    for i, due in enumerate(due_s):
        begin_s = max(due, free_s)
        begin_s = 1.5 if 0.98 < begin_s < 1.5 else begin_s
        end_s[i] = free_s = begin_s + 0.05
    latency_s = end_s - due_s
    closed = Gaps([(0.98, 1.5)], end_s, latency_s)
    assert latency_s[~closed.contain(end_s)].max() > 0.1  # in a closed loop nothing would wait
    opened = Gaps([(0.98, 1.5)], end_s, latency_s, backlog=True)
    assert latency_s[~opened.contain(end_s)] == pytest.approx(0.05)
    assert opened.total_s < 0.52 * 4 + 0.2


def test_a_backlog_without_an_end_is_cut_off() -> None:
    """Two in flight at any time: one always overlaps the next, and the gap ends at four times its stretch."""
    end_s = np.arange(0.1, 9.0, 0.1)
    gaps = Gaps([(2.0, 2.5)], end_s, np.full(len(end_s), 0.2), backlog=True)
    assert 1.9 < gaps.total_s < 2.4


def test_gaps_that_meet_are_one() -> None:
    """A slow request of the first reaches into the second."""
    end_s, latency_s = np.array([0.1, 1.2, 3.0]), np.array([0.05, 1.0, 0.1])
    gaps = Gaps([(0.5, 1.0), (1.1, 1.6)], end_s, latency_s)
    assert gaps.total_s == pytest.approx(1.5)  # from 0.1 to 1.6
    assert gaps.contain(end_s).tolist() == [False, True, False]


def test_no_gaps_change_nothing() -> None:
    """Every machine of one's own."""
    end_s = np.array([1.0, 2.0])
    gaps = Gaps([], end_s, np.array([0.5, 0.5]))
    assert gaps.total_s == 0.0
    assert not gaps.contain(end_s).any()
    assert gaps.remove_from(end_s).tolist() == [1.0, 2.0]


def test_figures_without_the_gaps_are_those_of_an_undisturbed_machine() -> None:
    """100 requests/s of 10 ms; for 2 s in the middle they take 40 ms. What is left is 100/s and 10 ms again."""
    gaps_s = np.concatenate((np.full(300, 0.01), np.full(50, 0.04), np.full(300, 0.01)))
    end_s = np.cumsum(gaps_s)
    gaps = Gaps([(3.0, 5.0)], end_s, gaps_s)
    kept = ~gaps.contain(end_s)
    window = summarize(gaps.remove_from(end_s[kept]), gaps_s[kept])
    assert window is not None
    assert window.requests_per_s == pytest.approx(100, rel=0.01)
    assert window.latency_p99_s == pytest.approx(0.01)
    assert gaps.total_s == pytest.approx(2.0, abs=0.05)
