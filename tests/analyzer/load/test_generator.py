"""Test the load generator's processes: how they share a load, and how their number grows."""

import multiprocessing
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from analyzer.errors import ServerError
from analyzer.load.generator import LoadGenerator
from analyzer.load.load import Load, Report
from tests.builders.socket_server import OK, FakeServer, serving


def answer(_server: FakeServer, _number: int) -> bytes:
    """Answer after 10 ms."""
    time.sleep(0.01)
    return OK


def sent(generator: LoadGenerator, load: Load, seconds: float, *, least: int = 0) -> Sequence[Report]:
    """Send the load for `seconds`, and longer until `least` requests are done; return the reports that arrived."""
    reports: list[Report] = []
    with generator.sending(load) as stream:
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds or (
            sum(len(report.end_s) for report in reports) < least
            and passed < 20  # on a busy machine a process starts late
        ):
            reports += stream.receive(0.1)
    return reports


def test_processes_share_connections_scripts_and_rate() -> None:
    """Two processes share three connections, each with its own script; they also share the request rate."""
    with serving(answer) as server, LoadGenerator(2) as generator:
        scripts = [[f"{name}-{i}".encode() for i in (1, 2)] for name in "abc"]
        load = Load(host="127.0.0.1", port=server.port, scripts=scripts, concurrency=3)
        reports = sent(generator, load, 0.5, least=20)
        assert sum(len(report.end_s) for report in reports) > 10
        assert server.connections == 3
        seen = {number: {step[:1] for n, step in server.requests if n == number} for number in (1, 2, 3)}
        assert sorted(seen.values(), key=sorted) == [{b"a"}, {b"b"}, {b"c"}]
        load = Load(
            host="127.0.0.1", port=server.port, scripts=[[b"abc"]], concurrency=8, rate_per_s=40.0, poisson=False
        )
        reports = sent(generator, load, 1.0)
    assert 30 <= sum(len(report.end_s) for report in reports) <= 42  # 20 requests/s per process, for 1 s
    assert all(report.errors == 0 for report in reports)


def test_generator_serves_one_load_after_another() -> None:
    """A late report of one load does not count for the next load."""
    with serving(answer) as server, LoadGenerator(1) as generator:
        for concurrency in (1, 4):
            load = Load(host="127.0.0.1", port=server.port, scripts=[[b"abc"]], concurrency=concurrency)
            began = time.perf_counter()
            ends = [end for report in sent(generator, load, 0.2, least=1) for end in report.end_s]
            assert ends
            assert min(ends) > began


def test_processes_grow_to_half_of_the_processors_unless_their_number_is_given() -> None:
    """Processes are doubled from one, to at most one per connection; a number that the user gave is kept."""
    half = max(1, len(os.sched_getaffinity(0)) // 2)
    with LoadGenerator() as generator:
        assert generator.grow(1) is False
        assert generator.grow(64) is (half > 1)
    with LoadGenerator(2) as generator:
        assert generator.grow(64) is False


def test_killed_process_is_an_error_and_is_replaced() -> None:
    """The load during which a process was killed raises an error; the next load has a new process."""
    before = {child.pid for child in multiprocessing.active_children()}
    with serving(answer) as server, LoadGenerator(1) as generator:
        load = Load(host="127.0.0.1", port=server.port, scripts=[[b"abc"]], concurrency=1)
        (worker,) = [child for child in multiprocessing.active_children() if child.pid not in before]
        with pytest.raises(ServerError, match="process ended"), generator.sending(load) as stream:
            worker.kill()
            worker.join()
            while True:
                stream.receive(0.1)
        assert any(report.end_s for report in sent(generator, load, 0.5, least=1))


def test_loads_that_are_sent_together_are_reported_apart() -> None:
    """A closed loop and two open ones to three servers keep their own concurrency and rates at the same time."""
    with (
        serving(answer) as first,
        serving(answer) as second,
        serving(answer) as third,
        LoadGenerator(1) as generator,
    ):
        loads = [
            Load(host="127.0.0.1", port=first.port, scripts=[[b"abc"]], concurrency=2),
            Load(host="127.0.0.1", port=second.port, scripts=[[b"abc"]], concurrency=8, rate_per_s=40, poisson=False),
            Load(host="127.0.0.1", port=third.port, scripts=[[b"abc"]], concurrency=8, rate_per_s=20, poisson=False),
        ]
        done = together(generator, loads, 2.0)
    assert len(done[0]) > 100  # 2 in flight, 10 ms each
    assert 70 <= len(done[1]) <= 84
    assert 35 <= len(done[2]) <= 44
    assert (first.connections, second.connections <= 8, third.connections <= 8) == (2, True, True)


def test_loads_that_are_sent_together_arrive_independently() -> None:
    """Two loads at the same rate and seed are not sent at the same moments: else models would only meet at bursts."""
    with serving(answer) as first, serving(answer) as second, LoadGenerator(1) as generator:
        ports = (first.port, second.port)
        loads = [Load(host="127.0.0.1", port=p, scripts=[[b"abc"]], concurrency=8, rate_per_s=50) for p in ports]
        done = together(generator, loads, 1.5)
    gaps = [np.diff(done[number][:30]) for number in (0, 1)]
    assert len(gaps[0]) == len(gaps[1]) == 29
    assert abs(np.corrcoef(*gaps)[0, 1]) < 0.8


def test_a_load_that_loses_its_server_leaves_the_others() -> None:
    """Where nothing listens, that load is reported as lost, and the other one goes on; a later load works."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with serving(answer) as server, LoadGenerator(1) as generator:
        there = Load(host="127.0.0.1", port=server.port, scripts=[[b"abc"]], concurrency=1)
        gone = replace(there, port=port)
        lost: set[int] = set()
        done = together(generator, [gone, there], 0.5, lost=lost)
        assert lost == {0}
        assert len(done[1]) > 10
        assert together(generator, [gone], 0.2, lost=lost) == {}
        assert sent(generator, there, 0.2, least=1)


def together(
    generator: LoadGenerator, loads: Sequence[Load], seconds: float, *, lost: set[int] | None = None
) -> dict[int, list[float]]:
    """Send loads at once for `seconds`; return the times of completion of each, and add those that were lost."""
    done: dict[int, list[float]] = {}
    with generator.sending_together(loads) as stream:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            for report in stream.receive(0.1):
                if report.end_s:
                    done.setdefault(report.load, []).extend(report.end_s)
                if report.lost and lost is not None:
                    lost.add(report.load)
    return done
