"""Test that several servers behind one address are told from one server, whatever others do there."""

from __future__ import annotations

import random

import pytest

from analyzer.servers.single_server import falling_model


def test_counts_of_one_server_that_is_in_use_only_rise() -> None:
    """Requests of others between two readings are no sign of a second server."""
    assert falling_model([{"m": (i, 10 * i)} for i in range(16)]) is None


@pytest.mark.parametrize("own", [(100, 90), (100, 101)])
def test_two_servers_that_take_turns_fall_again_and_again(own: tuple[int, int]) -> None:
    """Counts that are nearly equal differ in the nanoseconds that the requests took."""
    readings = [{"m": (own[i % 2] + i // 2, (5_000_000, 4_000_000)[i % 2] + i)} for i in range(16)]
    assert falling_model(readings) == "m"


def test_two_servers_at_random_are_seen_in_32_readings() -> None:
    """Of 1,000 series in which each reading is of either server, none is taken for one server."""
    draw = random.Random(0)
    series = [[{"m": (draw.choice((5, 9)),)} for _ in range(32)] for _ in range(1000)]
    assert all(falling_model(readings) == "m" for readings in series)


def test_a_model_that_its_owner_loads_anew_is_no_second_server() -> None:
    """Its counts begin at zero once, and it may be gone for a while."""
    of_reloaded = ({"m": (100,)}, {"m": (100,)}, {}, {"m": (0,)}, {"m": (3,)})
    assert falling_model([{**each, "other": (7 + i,)} for i, each in enumerate(of_reloaded)]) is None


def test_a_model_that_only_one_of_two_servers_has_is_gone_again_and_again() -> None:
    """A model that comes and goes is loaded on one of several servers."""
    assert falling_model([{"m": ()} if i % 2 else {} for i in range(16)]) == "m"
