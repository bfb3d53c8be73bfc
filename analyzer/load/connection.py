"""One connection of the load generator's event loop: its socket, its protocol and the requests in flight on it.

The module imports the standard library and `analyzer.servers.tls` only, since it runs in the load generator's process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from analyzer.load.tls_socket import TlsSocket
from analyzer.servers.tls import open_plain, over_tls

if TYPE_CHECKING:
    import socket
    from ssl import SSLContext

    from analyzer.load.response_stream import ResponseReader

FEW_BYTES = 1 << 12
MANY_BYTES = 1 << 16  # glibc maps and unmaps memory for buffers of 128 KiB and more: 13 us a call
_TIMEOUT_S = 5.0


class Exchange(Protocol):
    """The protocol state of one connection: Http1Exchange, GrpcExchange.

    Requests in flight have a number each, which `frame` sets in `call` and `feed` returns with the outcome: "" for a
    success, else the error.
    """

    call: int  # number of the request framed last
    reply: bytes  # bytes that the protocol requires in answer to received data
    closing: bool  # the server takes no further request on this connection

    @property
    def responses(self) -> ResponseReader | None: ...  # of a decoupled model, whose responses are timed
    def preface(self) -> bytes: ...
    def frame(self, request: bytes) -> bytes: ...
    def feed(self, data: bytes) -> Sequence[tuple[int, str]]: ...


class Requests(Protocol):
    """The requests of one sender: RepeatedRequests, SequenceRequests."""

    def next(self) -> bytes: ...
    def fail(self) -> None: ...
    def end(self) -> bytes | None: ...


class Sender:
    """Sends requests one after the other, so that one of its requests is in flight at a time.

    Parameters
    ----------
    place : int
        The connection that it uses, of those that are open at the same time.
    """

    __slots__ = ("place", "requests", "since")

    def __init__(self, place: int, requests: Requests) -> None:
        self.place = place
        self.requests = requests
        self.since = 0.0  # when the request in flight was sent, or was due


class Connection:
    """A connection that is open, and the senders whose requests are in flight on it, by the requests' numbers."""

    __slots__ = ("descriptor", "exchange", "in_flight", "place", "receive", "receive_bytes", "send", "sock", "unsent")

    def __init__(
        self, host: str, port: int, *, place: int, exchange: Exchange, context: SSLContext | None = None
    ) -> None:
        plain = open_plain(host, port, timeout_s=_TIMEOUT_S)
        self.sock: socket.socket | TlsSocket = plain if context is None else TlsSocket(over_tls(plain, context, host))
        self.sock.setblocking(False)
        self.descriptor = self.sock.fileno()
        self.send = self.sock.send
        self.receive = self.sock.recv
        # a small buffer costs less; where data comes in parts it becomes MANY_BYTES. With TLS it takes a whole record
        # (16 KiB): epoll does not see the rest of one that is already decrypted.
        self.receive_bytes = FEW_BYTES if context is None else MANY_BYTES
        self.place = place
        self.exchange = exchange
        self.in_flight: dict[int, Sender] = {}
        self.unsent = memoryview(b"")
