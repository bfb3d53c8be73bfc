"""Test the table of the fleet benchmark."""

from __future__ import annotations

from analyzer.sweep.turns import TurnCount
from benchmarks.fleet import Times, table_of, turns_per_hour


def test_turns_per_hour_count_from_the_first_turn_of_each_actor() -> None:
    """Two actors that start in 5 s and take 4 s a turn, in step, do 2 turns in 4 s: 1,800 an hour, twice one's."""
    alone = [0.0, *(5.0 + 4.0 * turn for turn in range(1, 5))]
    two = [0.0, *(5.0 + 4.0 * turn for turn in range(1, 5) for _ in range(2))]
    assert turns_per_hour(alone, 1) == 900.0
    assert turns_per_hour(two, 2) == 1800.0
    table = table_of({1: Times(alone), 2: Times(two)}, 3.0)
    assert table.rows == [["1", "4", "21.0", "9.0", "900", "1.00"], ["2", "8", "21.0", "9.0", "1,800", "2.00"]]


def test_time_of_each_turn_is_noted_once() -> None:
    """Two turns that are told at once get two times, and a count that stands still none."""
    times = Times()
    for done in (0, 1, 1, 3):
        times.follow(TurnCount(done=done, total=3, workers=1, gpus=0, nodes=1))
    assert len(times.done_s) == 4
