"""The part of HTTP/1.1 that is needed to tell whether a response is complete and successful.

The module imports nothing beyond the standard library, because it runs in the load generator's process.
"""

from __future__ import annotations

from collections.abc import Sequence

_END_OF_HEAD = b"\r\n\r\n"
_KEPT_ERROR_BYTES = 2000
HTTP1_CALL = 0  # number of every request of a connection, as one is in flight at a time
SUCCESS = ((HTTP1_CALL, ""),)


class Http1Exchange:
    """Requests and responses of one keep-alive connection, one in flight at a time."""

    __slots__ = (
        "_body",
        "_failed",
        "_head",
        "_known_heads",
        "_missing",
        "_usual",
        "_usual_size",
        "call",
        "closing",
        "reply",
    )
    responses = None  # each request has one response

    def __init__(self) -> None:
        self.call = HTTP1_CALL
        self.reply = b""  # HTTP/1.1 has no protocol replies
        self.closing = False  # the server takes no further request on this connection
        self._known_heads: dict[bytes, tuple[bool, int, bool]] = {}  # a model's responses share their head
        self._usual = b""  # head of the last successful response that arrived in one piece,
        self._usual_size = -1  # and its size: most responses equal it, which saves parsing them
        self._head = b""
        self._missing = 0
        self._failed = False
        self._body = b""

    def preface(self) -> bytes:
        """Return what a new connection sends before its first request: nothing."""
        return b""

    def frame(self, request: bytes) -> bytes:
        """Return the bytes that put `request` on the wire."""
        return request

    def feed(self, data: bytes) -> Sequence[tuple[int, str]]:
        """Process received bytes; return the request that they complete, if any, with "" for a success or the error."""
        if len(data) == self._usual_size and data.startswith(self._usual) and not self._missing and not self._head:
            return SUCCESS
        if self._missing == 0:
            if self._head:
                data, self._head = self._head + data, b""
            end = data.find(_END_OF_HEAD)
            if end < 0:
                self._head = data
                return ()
            head = data[:end]
            known = self._known_heads.get(head)
            if known is None:
                known = self._known_heads[head] = _read_head(head)
            successful, self._missing, self.closing = known
            self._failed = not successful
            data = data[end + 4 :] if self._failed else data
            received = len(data) if self._failed else len(data) - end - 4
            if successful and received == self._missing and not self.closing:
                self._usual, self._usual_size = head + _END_OF_HEAD, len(data)
        else:
            received = len(data)
        self._missing -= received
        if self._failed and len(self._body) < _KEPT_ERROR_BYTES:
            self._body += data
        if self._missing > 0:
            return ()
        if not self._failed and self._missing == 0:
            return SUCCESS
        text = self._body[:_KEPT_ERROR_BYTES].decode(errors="replace") or "the server sent more than it announced"
        self._body, self._missing = b"", 0
        return ((HTTP1_CALL, text),)


def _read_head(head: bytes) -> tuple[bool, int, bool]:
    """Return whether the status is 200, how many bytes of body follow, and whether the server then closes."""
    status, *lines = head.split(b"\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    successful = status.split(b" ", 2)[1:2] == [b"200"]
    return successful, int(fields.get(b"content-length", 0)), fields.get(b"connection", b"").lower() == b"close"
