"""Test the choice of ports for a server, and its start on them."""

from __future__ import annotations

import socket

import pytest

from analyzer.errors import ServerError
from analyzer.servers.ports import Ports, choose_ports, start_on_ports


def test_ports_are_all_different() -> None:
    """The three ports that are chosen are different."""
    ports = choose_ports(http=None, grpc=None, metrics=None)
    assert len({ports.http, ports.grpc, ports.metrics}) == 3


def test_port_in_use_is_refused_with_its_option() -> None:
    """The error names the port and its option."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"port {port} .* `grpc_port`"):
            choose_ports(http=None, grpc=port, metrics=None)


@pytest.mark.parametrize("port", [-1, 65536])
def test_invalid_port_is_refused(port: int) -> None:
    """A number outside the range of ports is refused with its option."""
    with pytest.raises(ServerError, match="`http_port`"):
        choose_ports(http=port, grpc=None, metrics=None)


def test_same_port_twice_is_refused() -> None:
    """HTTP and metrics cannot share one port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ServerError, match="`metrics_port`"):
        choose_ports(http=port, grpc=None, metrics=port)


class _Start:
    """A server whose starts fail with these messages in order; an empty message is a success."""

    def __init__(self, *messages: str) -> None:
        self.messages = list(messages)
        self.made: list[Ports] = []
        self.stopped = 0

    def __call__(self, ports: Ports) -> _Start:
        self.made.append(ports)
        return self

    def start(self, timeout_s: float) -> None:
        assert timeout_s == 7.0
        if message := self.messages.pop(0):
            raise ServerError(message)

    def stop(self) -> None:
        self.stopped += 1


TAKEN = "Triton did not start: Socket '127.0.0.1:1' already in use"


def test_start_is_repeated_on_new_ports_if_a_port_was_taken() -> None:
    """If another program takes a port before Triton does, new ports are tried twice; the third failure is raised."""
    lost_twice = _Start(TAKEN, TAKEN, "")
    assert start_on_ports(lost_twice, None, None, None, timeout_s=7.0) is lost_twice
    assert (len(lost_twice.made), lost_twice.stopped) == (3, 2)
    lost = _Start(TAKEN, TAKEN, TAKEN)
    with pytest.raises(ServerError, match="already in use"):
        start_on_ports(lost, None, None, None, timeout_s=7.0)
    assert (len(lost.made), lost.stopped) == (3, 3)


def test_start_failure_of_another_kind_is_not_tried_again() -> None:
    """Another failure than a port in use is raised at once, and the started process is stopped."""
    failing = _Start("no such file")
    with pytest.raises(ServerError, match="no such file"):
        start_on_ports(failing, None, None, None, timeout_s=7.0)
    assert (len(failing.made), failing.stopped) == (1, 1)
