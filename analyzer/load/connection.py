"""One connection of the load generator's event loop: its socket, its protocol and the requests that it sends.

The module imports nothing beyond the standard library, because it runs in the load generator's process.
"""

from __future__ import annotations

import socket
from typing import Protocol

_TIMEOUT_S = 5.0


class Exchange(Protocol):
    """The protocol state of one connection, with one request in flight at a time: Http1Exchange, GrpcExchange."""

    reply: bytes  # bytes that the protocol requires in answer to received data
    closing: bool  # the server takes no further request on this connection

    def preface(self) -> bytes: ...
    def frame(self, request: bytes) -> bytes: ...
    def feed(self, data: bytes) -> str | None: ...


class Requests(Protocol):
    """The requests that a connection sends: RepeatedRequests, SequenceRequests."""

    def next(self) -> bytes: ...
    def fail(self) -> None: ...
    def end(self) -> bytes | None: ...


class Connection:
    """A connection that is open; `index` is its place among the load's connections."""

    __slots__ = ("busy", "descriptor", "exchange", "index", "requests", "since", "sock", "unsent")

    def __init__(self, host: str, port: int, *, index: int, exchange: Exchange, requests: Requests) -> None:
        self.sock = socket.create_connection((host, port), timeout=_TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.descriptor = self.sock.fileno()
        self.index = index
        self.exchange = exchange
        self.requests = requests
        self.unsent = memoryview(b"")
        self.busy = False  # a request is in flight
        self.since = 0.0  # when it was sent, or was due
