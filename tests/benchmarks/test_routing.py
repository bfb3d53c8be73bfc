"""Test the table of the routing benchmark."""

from __future__ import annotations

import numpy as np

from analyzer.statistics.window import Window, summarize
from benchmarks.routing import table_of


def window(latency_s: float) -> Window:
    """Return the figures of requests that took this long, one after the other."""
    latencies = np.full(100, latency_s)
    found = summarize(np.cumsum(latencies), latencies)
    assert found is not None
    return found


def test_added_latency_is_the_difference_of_the_medians() -> None:
    """Medians of 1, 2 and 9 ms directly and of 4, 3 and 5 ms through Envoy: 2,000 and 4,000 µs, so 2,000 are added."""
    ways = {"direct": (1, 2, 9), "through Envoy": (4, 3, 5)}
    found = {
        (protocol, concurrency, way): [window(ms / 1000) for ms in taken]
        for protocol in ("http", "grpc")
        for concurrency in (1, 16)
        for way, taken in ways.items()
    }
    table = table_of(found, "note")
    assert [row[:5] for row in table.rows][:2] == [
        ["HTTP", "1", "2,000", "4,000", "2,000"],
        ["HTTP", "16", "2,000", "4,000", "2,000"],
    ]
    assert table.rows[0][5:] == ["500", "250"]  # 1 / 2 ms and 1 / 4 ms
