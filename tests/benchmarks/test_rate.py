"""Test the parts of the rate benchmark: wrk's script and output, and ratios within a repetition."""

import pytest

from benchmarks.profiler.processes import PeerError
from benchmarks.profiler.rate import ratios_of
from benchmarks.profiler.wrk import lua_script, read_output

OUTPUT = """Running 1s test @ http://127.0.0.1:8000/v2/models/m/infer
  1 threads and 4 connections
  Latency Distribution
     50%  371.00us
     75%    1.02ms
  10718 requests in 1.00s, 2.6MB read
Requests/sec:  10693.40
Transfer/sec:      2.60MB
"""


def test_script_has_the_requests_method_fields_and_body() -> None:
    """Host and Content-Length are wrk's own; every byte of the body is an escape of three digits."""
    path, script = lua_script(b'POST /v2/x HTTP/1.1\r\nHost: h:1\r\nA-B: c: d\r\nContent-Length: 3\r\n\r\n\x00"9')
    assert path == "/v2/x"
    assert script.splitlines() == [
        'wrk.method = "POST"',
        'wrk.headers["A-B"] = "c: d"',
        'wrk.body = "\\000\\034\\057"',
    ]


def test_output_gives_the_rate_and_the_median_and_shows_failures() -> None:
    """The median of 371 µs is 0.371 ms; responses other than 2xx make the run a failure."""
    point = read_output(OUTPUT, "m", 4)
    assert (point.infer_per_s, point.p50_s, point.concurrency) == (10693.4, pytest.approx(371e-6), 4)
    with pytest.raises(PeerError, match="Non-2xx or 3xx responses: 5"):
        read_output(OUTPUT + "  Non-2xx or 3xx responses: 5\n", "m", 4)
    with pytest.raises(PeerError, match="no figures"):
        read_output("unable to connect", "m", 4)


def test_ratios_are_taken_within_a_repetition() -> None:
    """A repetition in which one of the clients failed has no ratio."""
    assert ratios_of({0: 10.0, 1: 30.0, 2: 5.0}, {0: 5.0, 2: 10.0}) == [2.0, 0.5]
