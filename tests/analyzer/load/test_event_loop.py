"""Test the load generator's event loop against small loopback servers: what it sends, times and counts."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np
import pytest

from analyzer.load.event_loop import Loop
from analyzer.load.http1 import Http1Exchange
from analyzer.load.load import Load, Report
from analyzer.load.response_stream import ResponseReader, TokenOutputs
from tests.builders.socket_server import BAD, LAST, OK, FakeServer, serving


def send(load: Load, seconds: float) -> list[Report]:
    """Run the loop in a thread for `seconds`; return its reports."""
    ours, theirs = multiprocessing.Pipe()
    reports: list[Report] = []
    thread = threading.Thread(target=lambda: Loop(load, theirs).run())
    thread.start()
    stop = threading.Timer(seconds, lambda: ours.send("stop"))
    stop.start()
    while thread.is_alive() or ours.poll():
        if ours.poll(0.02):
            reports.append(_receive(ours))
    stop.cancel()
    thread.join()
    return reports


def _receive(pipe: Connection) -> Report:
    report = pipe.recv()
    assert isinstance(report, Report)
    return report


def latencies(reports: list[Report]) -> list[float]:
    """Join the latencies of all reports."""
    return [latency for report in reports for latency in report.latency_s]


def load_on(server: FakeServer, **settings: object) -> Load:
    """Make a load for a server; by default its requests have three bytes."""
    defaults: dict[str, object] = {"scripts": [[b"abc"]], "concurrency": 1}
    return Load(host="127.0.0.1", port=server.port, **(defaults | settings))  # type: ignore[arg-type]


def test_closed_loop_keeps_concurrency_requests_in_flight() -> None:
    """Four connections with answers after 20 ms complete 200 requests/s; latency is at least the server's 20 ms."""

    def answer(_server: FakeServer, _number: int) -> bytes:
        time.sleep(0.02)
        return OK

    with serving(answer) as server:
        times = latencies(send(load_on(server, concurrency=4), 0.5))
    assert server.connections == 4
    assert 50 <= len(times) <= 104  # 0.5 s / 0.02 s x 4 = 100, and those in flight at the end
    assert min(times) >= 0.02


class NumberedExchange:
    """A protocol of three digits a message, the number of the call, which allows several calls in flight."""

    responses = None

    def __init__(self) -> None:
        self.call, self.reply, self.closing, self.rest = 0, b"", False, b""

    def preface(self) -> bytes:
        return b""

    def frame(self, _request: bytes) -> bytes:
        self.call = self.call % 999 + 1
        return b"%03d" % self.call

    def feed(self, data: bytes) -> list[tuple[int, str]]:
        data, whole = self.rest + data, len(self.rest + data) // 3 * 3
        self.rest = data[whole:]
        return [(int(data[i : i + 3]), "refused" if data[i : i + 3] == b"005" else "") for i in range(0, whole, 3)]


def test_calls_share_a_connection_and_each_has_its_own_outcome() -> None:
    """Three senders use one connection; the fifth call fails and no other; each waits for the two before it."""

    def answer(server: FakeServer, _number: int) -> bytes:
        time.sleep(0.002)
        return server.requests[-1][1]

    with serving(answer) as server:
        reports = send(load_on(server, concurrency=3, calls_per_connection=3, open_exchange=NumberedExchange), 0.3)
    times = sorted(latencies(reports))
    assert server.connections == 1
    assert sum(report.errors for report in reports) == 1
    assert len(times) == len(server.requests) - 1
    assert times[len(times) // 2] >= 0.006  # 3 x 2 ms


class TwoResponses(Http1Exchange):
    """HTTP/1.1 in which every answer stands for two streamed responses, 10 and 4 ms before its end."""

    __slots__ = ("responses",)

    def __init__(self) -> None:
        super().__init__()
        self.responses = ResponseReader(TokenOutputs())  # type: ignore[assignment]

    def feed(self, data: bytes) -> Sequence[tuple[int, str]]:
        now = time.perf_counter()
        self.responses.begin()  # type: ignore[attr-defined]
        self.responses.times_s = [now - 0.010, now - 0.004]  # type: ignore[attr-defined]
        self.responses.seen += 2  # type: ignore[attr-defined]
        return list(super().feed(data))


def test_responses_of_streams_are_reported_with_the_requests_that_succeeded() -> None:
    """Of requests of 20 ms with two responses each, every third fails: its responses are a sign of life only."""

    def answer(_server: FakeServer, number: int) -> bytes:
        time.sleep(0.02)
        return BAD if number % 3 == 0 else OK

    with serving(answer) as server:
        reports = send(load_on(server, concurrency=2, open_exchange=TwoResponses), 0.4)
    streams = [report.streams for report in reports if report.streams is not None]
    assert sum(len(each.responses) for each in streams) == len(latencies(reports))
    assert sum(report.errors for report in reports) > 2
    assert {count for each in streams for count in each.responses} == {2}
    gaps = [gap for each in streams for gap in each.gaps_s]
    assert gaps == pytest.approx([0.006] * len(latencies(reports)))
    first, last = (np.concatenate([getattr(each, name) for each in streams]) for name in ("first_s", "last_s"))
    assert (first >= 0.01).all()
    assert last - first == pytest.approx(np.full(len(last), 0.006))
    answered = len(latencies(reports)) + sum(report.errors for report in reports)
    assert 0 < sum(report.responses for report in reports) <= 2 * answered


def test_errors_are_counted_and_never_timed() -> None:
    """With a status 500 for every third request, a third are errors, and only the others have a latency."""
    with serving(lambda _server, number: BAD if number % 3 == 0 else OK) as server:
        reports = send(load_on(server), 0.2)
    failed = sum(report.errors for report in reports)
    assert failed == len(server.requests) // 3
    assert len(latencies(reports)) == len(server.requests) - failed
    assert {report.first_error for report in reports if report.errors} == {"bad"}


def test_each_connection_repeats_its_own_script_in_order() -> None:
    """With two scripts on two connections, each connection sends its script's steps in order, from the first."""
    with serving(lambda _server, _number: OK) as server:
        send(load_on(server, concurrency=2, scripts=[[b"a-1", b"a-2", b"a-3"], [b"b-1", b"b-2"]]), 0.2)
    seen = {number: [step for n, step in server.requests if n == number] for number in (1, 2)}
    for steps in seen.values():
        script = [b"a-1", b"a-2", b"a-3"] if steps[0].startswith(b"a") else [b"b-1", b"b-2"]
        assert len(steps) > len(script)
        assert steps == (script * len(steps))[: len(steps)]
    assert {steps[0] for steps in seen.values()} == {b"a-1", b"b-1"}


def test_request_larger_than_the_socket_buffer_arrives_whole() -> None:
    """A request of 16 MiB, more than a socket buffer holds, is sent in parts and arrives complete."""
    request = random.Random(0).randbytes(1 << 20) * 16
    with serving(lambda _server, _number: OK, request_bytes=len(request)) as server:
        reports = send(load_on(server, scripts=[[request]]), 0.5)
    assert server.requests[0][1] == request
    assert latencies(reports)
    assert not any(report.errors for report in reports)


def test_a_connection_that_the_server_closes_after_a_response_is_no_error() -> None:
    """After a response with ``Connection: close`` the next request is sent over a new connection."""
    with serving(lambda _server, number: LAST if number % 10 == 0 else OK) as server:
        reports = send(load_on(server), 0.2)
    assert server.connections > 1
    assert sum(report.errors for report in reports) == 0
    assert len(latencies(reports)) == len(server.requests)


def test_a_connection_that_ends_without_a_response_is_an_error() -> None:
    """Only the request on that connection counts as an error; the load continues over a new connection."""
    with serving(lambda _server, number: b"" if number == 5 else OK) as server:
        reports = send(load_on(server), 0.2)
    assert sum(report.errors for report in reports) == 1
    assert "closed the connection" in "".join(report.first_error for report in reports)
    assert server.connections == 2
    assert len(latencies(reports)) > 5


def test_a_server_that_is_gone_ends_the_load() -> None:
    """If nothing listens at the address, the only report says so and names the address."""
    with serving(lambda _server, _number: OK) as server:
        pass
    reports = send(load_on(server), 5.0)
    assert [report.lost for report in reports] == [True]
    assert f"127.0.0.1:{server.port}" in reports[0].first_error


def test_open_loop_counts_latency_from_when_a_request_was_due() -> None:
    """A stall of 0.3 s raises the latency of every request that was due during it (no coordinated omission)."""

    def answer(_server: FakeServer, number: int) -> bytes:
        if number == 20:
            time.sleep(0.3)
        return OK

    with serving(answer) as server:
        reports = send(load_on(server, rate_per_s=100.0, poisson=False), 1.0)
    times = latencies(reports)
    # 30 requests are due, one each 10 ms, while the server stalls: they wait 0.3 s, 0.29 s, ... 0.01 s
    delayed = [latency for latency in times if latency > 0.1]
    assert 17 <= len(delayed) <= 35  # 20 of them wait for more than 0.1 s
    assert max(times) >= 0.3
    assert sum(report.late for report in reports) >= 25


def test_constant_arrivals_come_at_the_rate() -> None:
    """100 requests/s for 0.6 s, with connections enough, are about 60 requests."""
    with serving(lambda _server, _number: OK) as server:
        reports = send(load_on(server, rate_per_s=100.0, poisson=False, concurrency=8), 0.6)
    assert 50 <= len(latencies(reports)) <= 61
    due = [due_s for report in reports for due_s in report.due_s]
    assert np.diff(due) == pytest.approx(0.01)
    assert len(due) == len(latencies(reports))


def test_what_is_due_is_reported_although_nothing_answers() -> None:
    """Requests that wait for a server count as offered."""

    def answer(_server: FakeServer, number: int) -> bytes:
        time.sleep(0.5)
        return OK

    with serving(answer) as server:
        reports = send(load_on(server, rate_per_s=100.0, poisson=False), 0.4)
    assert 30 <= sum(len(report.due_s) for report in reports) <= 45  # 40 are due in 0.4 s
    assert len(latencies(reports)) < 10


def test_poisson_arrivals_have_the_mean_of_the_rate_and_its_spread() -> None:
    """In 1 s at 400/s the count is 400 ± 4 x 20, and the gaps' standard deviation is about their mean (exponential)."""
    arrivals: list[float] = []

    def answer(_server: FakeServer, _number: int) -> bytes:
        arrivals.append(time.perf_counter())
        return OK

    with serving(answer) as server:
        reports = send(load_on(server, rate_per_s=400.0, concurrency=64, seed=3), 1.0)
    assert len(latencies(reports)) == pytest.approx(400, abs=80)
    gaps = [b - a for a, b in zip(sorted(arrivals), sorted(arrivals)[1:], strict=False)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert 0.7 < deviation / mean < 1.5  # 1 for exponential gaps, 0 for constant ones
