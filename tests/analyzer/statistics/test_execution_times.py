"""Test the slow-down of executions on the server: batch sizes, mixes of them, and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer.statistics.execution_times import ExecutionTimes, Snapshot, executions_between, slow_down


def test_each_batch_size_is_compared_with_itself() -> None:
    """Larger batches beside others are no slow-down: each batch size is 1.5 times as slow, and so is the whole."""
    alone = ExecutionTimes(by_batch={1: (90, 0.9), 4: (10, 0.3)})
    together = ExecutionTimes(by_batch={1: (10, 0.15), 4: (90, 90 * 0.045)})
    found = slow_down(together, alone)
    assert found == (pytest.approx(1.5), None)


def test_a_batch_size_between_two_is_interpolated_and_one_beyond_is_left_out() -> None:
    """Batch 2 alone is between batch 1 (10 ms) and 3 (20 ms); batch 8 was never executed alone."""
    alone = ExecutionTimes(by_batch={1: (50, 0.5), 3: (50, 1.0)})
    assert alone.mean_s(2) == pytest.approx(0.015)
    assert alone.mean_s(8) is None
    assert slow_down(ExecutionTimes(by_batch={2: (10, 0.3), 8: (5, 9.0)}), alone) == (pytest.approx(2.0), None)
    assert slow_down(ExecutionTimes(by_batch={8: (5, 9.0)}), alone) is None
    assert slow_down(ExecutionTimes(), alone) is None


def test_window_counts_what_grew_between_its_snapshots() -> None:
    """Executions before and after the window do not count, and counters that stand still have no executions."""
    snapshots = [Snapshot(time_s=t, by_batch={1: (10 * t, 0.1 * t), 2: (7, 3.0)}) for t in range(11)]
    times = executions_between(snapshots, 2, 8)
    assert times.by_batch == {1: (60, pytest.approx(0.6))}
    assert times.relative_error == pytest.approx(0, abs=1e-9)
    assert executions_between(snapshots, 2.5, 3.4).executions == 0


def test_interval_of_the_slow_down_covers_the_truth() -> None:
    """Of 300 pairs of windows with random execution times, 92 to 98 % of the 95 % intervals hold the true ratio."""
    rng = np.random.default_rng(1)

    def window(mean_s: float) -> ExecutionTimes:
        took = np.cumsum(rng.gamma(4, mean_s / 4, 2000).reshape(40, 50).sum(axis=1))
        counters = [Snapshot(time_s=0, by_batch={})]
        counters += [Snapshot(time_s=k + 1, by_batch={1: (50 * (k + 1), float(s))}) for k, s in enumerate(took)]
        return executions_between(counters, 0, 40)

    inside = 0
    for _ in range(300):
        ratio, half_width = slow_down(window(0.013), window(0.010)) or (0, 0)
        assert half_width is not None
        inside += abs(ratio - 1.3) <= half_width
    assert 0.92 <= inside / 300 <= 0.98
