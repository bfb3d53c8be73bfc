"""A TLS connection that the event loop uses as it does a plain one.

The module imports nothing beyond the standard library, and ssl only for a connection with TLS, because it runs in the
load generator's process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


class TlsSocket:
    """A connected TLS socket whose errors are those of a plain one.

    Where TLS has to wait for the socket, that is a BlockingIOError; where it breaks off, a ConnectionError. What could
    not be sent must be sent again, possibly with more after it, as the event loop does.
    """

    __slots__ = ("_broken", "_sock", "_waits", "close", "fileno", "setblocking")

    def __init__(self, sock: ssl.SSLSocket) -> None:
        import ssl

        self._sock = sock
        self._waits = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._broken = ssl.SSLError
        self.close = sock.close
        self.fileno = sock.fileno
        self.setblocking = sock.setblocking

    def send(self, data: bytes | memoryview) -> int:
        """Send some of the data; return how many bytes of it."""
        try:
            return self._sock.send(data)
        except self._waits:
            raise BlockingIOError from None
        except self._broken as error:
            raise ConnectionError(str(error)) from None

    def recv(self, size: int) -> bytes:
        """Return some of the data that has arrived; empty at its end."""
        try:
            return self._sock.recv(size)
        except self._waits:
            raise BlockingIOError from None
        except self._broken as error:
            raise ConnectionError(str(error)) from None
