"""Addresses of servers that somebody else runs."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from analyzer.errors import ServerError, UsageError
from analyzer.servers.remote import RemoteServer


@pytest.mark.parametrize(
    "url",
    ["", "host", "host:", ":8000", "host:http", "host:99999", "https://host:8000", "host:8000/v2", "u:p@host:8000"],
)
def test_address_that_is_none_is_refused(url: str) -> None:
    """Only host:port of plain HTTP is an address."""
    with pytest.raises(UsageError, match="--url"):
        RemoteServer(url)


def test_address_may_have_its_scheme() -> None:
    """http:// and a closing slash are the same address, and IPv6 keeps its brackets."""
    assert RemoteServer("http://triton:8000/").describe() == "remote, triton:8000"
    assert RemoteServer("[::1]:8000").describe() == "remote, [::1]:8000"


def test_metrics_address_that_is_none_is_refused() -> None:
    """It needs its scheme."""
    with pytest.raises(UsageError, match="--metrics-url"):
        RemoteServer("host:8000", metrics_url="host:8002")


def test_nobody_at_the_address_is_told_at_once(tmp_path: Path) -> None:
    """A closed port takes no time to be told."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        pytest.raises(ServerError, match=f"127.0.0.1:{port} does not answer"),
        RemoteServer(f"127.0.0.1:{port}").serve(tmp_path),
    ):
        pass


def test_silent_address_is_told_within_two_seconds(tmp_path: Path) -> None:
    """Somebody who accepts and never answers cannot hold us up: two questions of 0.9 s each."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start_s = time.perf_counter()
        with (
            pytest.raises(ServerError, match="does not answer"),
            RemoteServer(f"127.0.0.1:{silent.getsockname()[1]}").serve(tmp_path),
        ):
            pass
        assert time.perf_counter() - start_s < 2.0
