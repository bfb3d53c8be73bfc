"""Test series on a grid of times: the grid, quantiles, sums, hours."""

from __future__ import annotations

import pytest

from planner.inputs.prometheus.series import Grid, Series, at, in_hours, nearest_rank, ratio, total


def test_grid_ends_at_a_whole_step_before_the_end() -> None:
    """A window of 17 s until 1009, in steps of 5 s: three whole steps fit, and end at 995, 1000 and 1005."""
    assert list(Grid.until(1009, window_s=17, step_s=5).times) == [995, 1000, 1005]


def test_chunks_hold_every_time_once() -> None:
    """Seven times in chunks of three are runs of 3, 3 and 1."""
    grid = Grid(start_s=0, end_s=70, step_s=10)
    assert [list(chunk) for chunk in grid.chunks(3)] == [[10, 20, 30], [40, 50, 60], [70]]


@pytest.mark.parametrize(
    ("quantile", "expected"),
    [(0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100), (0.001, 1)],
)
def test_quantile_is_the_nearest_rank(quantile: float, expected: float) -> None:
    """Of 1 to 100, quantile q is the number at rank 100 q, rounded up."""
    assert nearest_rank([float(x) for x in range(100, 0, -1)], quantile) == expected
    assert nearest_rank([], quantile) is None


def test_sum_takes_what_is_there_at_each_time() -> None:
    """Two versions that overlap at 20: 1, 1 + 5, 5; at a time without samples there is no sum."""
    both = total(
        [Series(labels={}, samples={10: 1, 20: 1}), Series(labels={}, samples={20: 5, 30: 5})],
    )
    assert both == {10: 1, 20: 6, 30: 5}
    assert at(both, (0, 10, 30)) == [1, 5]


def test_ratio_uses_times_that_both_have() -> None:
    """(8 + 4) inferences in (2 + 1) executions are batches of 4; without executions there is no batch."""
    assert ratio({1: 8, 2: 4, 3: 100}, {1: 2, 2: 1, 4: 7}, (1, 2, 3, 4)) == 4
    assert ratio({1: 8}, {1: 0}, (1,)) is None


def test_hour_is_that_of_the_step_and_of_the_zone() -> None:
    """1 July 1970, 08:00 UTC: the step of 5 min that ends then is of hour 7; 3 in New York in summer time."""
    eight = 181 * 86400 + 8 * 3600
    grid = Grid(start_s=eight - 600, end_s=eight + 300, step_s=300)
    assert grid.hours("UTC") == {eight - 300: 7, eight: 7, eight + 300: 8}
    assert grid.hours("America/New_York")[eight] == 3


def test_hours_may_pass_midnight() -> None:
    """22-6 holds 22, 23 and 0 to 5; 8-18 holds 8 to 17."""
    assert [hour for hour in range(24) if in_hours(hour, 22, 6)] == [0, 1, 2, 3, 4, 5, 22, 23]
    assert [hour for hour in range(24) if in_hours(hour, 8, 18)] == list(range(8, 18))
