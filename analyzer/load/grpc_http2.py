"""The part of HTTP/2 and gRPC that is needed to send prepared messages and to tell whether the calls succeeded.

Each call has a stream of its own, and is complete with the trailers that end the stream; for a decoupled model, that is
after its last response. The module imports nothing beyond the standard
library until there are headers to decode, because it runs in the load generator's process.

Sources: RFC 9113 (HTTP/2), RFC 7541 (HPACK), and "gRPC over HTTP2" in the documentation of gRPC's core.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from analyzer.load.call_headers import DEFAULT_TABLE_BYTES, CallHeaders
from analyzer.load.response_stream import ResponseReader, TokenOutputs

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 2, 4, 5
_CANCEL = struct.pack(">I", 8)
_HEADER = struct.Struct(">BHBBI")  # length in 8 + 16 bits, type, flags, stream
_HEADER_BYTES = 9
_DEFAULT_WINDOW = 65535
_DEFAULT_MAX_FRAME = 16384
_LARGEST_WINDOW = 2**31 - 1
_LARGEST_FRAME = 2**24 - 1
_RENEW_WINDOW_AT = 2**30  # received bytes after which the connection's window is opened again


def _frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    return _HEADER.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


class GrpcExchange:
    """gRPC calls of one connection; several may be in flight.

    Parameters
    ----------
    headers : CallHeaders
        The headers of every call.
    streaming : TokenOutputs or None
        If given, responses are ModelStreamInferResponse messages, which are timed and can hold an error; then only
        one call may be in flight.
    """

    def __init__(self, headers: CallHeaders, *, streaming: TokenOutputs | None = None) -> None:
        self.call = -1  # stream of the call framed last
        self.reply = b""  # bytes that the protocol requires in answer to received data
        self.closing = False  # the server takes no further call on this connection
        self._encoded = headers
        self._headers, self._later_headers = headers.first, headers.later
        self.responses = None if streaming is None else ResponseReader(streaming)
        self._open: set[int] = set()  # streams of the calls in flight
        self._unsent: dict[int, _Unsent] = {}  # by stream: messages that wait for the server's windows
        self._window = _DEFAULT_WINDOW  # bytes that the server accepts on the connection,
        self._first_window = _DEFAULT_WINDOW  # on a new stream,
        self._max_frame = _DEFAULT_MAX_FRAME  # in a frame
        self._received = 0  # on the connection since its window was last opened
        self._partial = b""  # a frame that is not complete yet
        self._data_left = 0  # bytes of the current DATA frame still to come
        self._block = b""  # headers that continue in further frames
        self._block_ends = False
        self._good_ends: set[bytes] = set()  # trailers that said OK: most calls end with the same bytes

    def preface(self) -> bytes:
        """Return what a new connection sends before its first request.

        Its settings switch the header table off, so that each block of the server's headers can be decoded alone.
        """
        wanted = {
            _HEADER_TABLE_SIZE: 0,
            _ENABLE_PUSH: 0,
            _INITIAL_WINDOW_SIZE: _LARGEST_WINDOW,
            _MAX_FRAME_SIZE: _LARGEST_FRAME,
        }
        settings = b"".join(struct.pack(">HI", key, value) for key, value in wanted.items())
        opened = struct.pack(">I", _LARGEST_WINDOW - _DEFAULT_WINDOW)
        return _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, opened)

    def frame(self, request: bytes) -> bytes:
        """Return the bytes that start a call with `request`, a gRPC message; what has to wait follows as `reply`."""
        self.call = stream = self.call + 2
        self._open.add(stream)
        if self.responses is not None:
            self.responses.begin()
        headers, self._headers = self._headers, self._later_headers
        size = len(request)
        if size <= self._max_frame and size <= self._window and size <= self._first_window:
            self._window -= size
            return b"".join(
                (
                    _HEADER.pack(0, len(headers), _HEADERS, _END_HEADERS, stream),
                    headers,
                    _HEADER.pack(size >> 16, size & 0xFFFF, _DATA, _END_STREAM, stream),
                    request,
                )
            )
        self._unsent[stream] = _Unsent(memoryview(request), self._first_window)
        return _frame(_HEADERS, _END_HEADERS, stream, headers) + self._take_unsent()

    def _take_unsent(self) -> bytes:
        """Cut as many DATA frames of the messages that wait as the server's windows allow."""
        frames = []
        for stream, unsent in list(self._unsent.items()):
            while unsent.message and (room := min(self._window, unsent.window, self._max_frame)) > 0:
                piece, unsent.message = unsent.message[:room], unsent.message[room:]
                self._window -= len(piece)
                unsent.window -= len(piece)
                frames.append(_frame(_DATA, 0 if unsent.message else _END_STREAM, stream, piece))
            if not unsent.message:
                del self._unsent[stream]
        return b"".join(frames)

    def feed(self, data: bytes) -> list[tuple[int, str]]:
        """Process received bytes; return the calls that they complete, each with "" for a success or the error."""
        if self._partial:
            data, self._partial = self._partial + data, b""
        ended: list[tuple[int, str]] = []
        position, size = self._take_data(data, 0) if self._data_left else 0, len(data)
        while size - position >= _HEADER_BYTES:
            high, low, kind, flags, stream = _HEADER.unpack_from(data, position)
            end = position + _HEADER_BYTES + (high << 16 | low)
            if kind == _DATA:
                self._data_left = high << 16 | low
                position = self._take_data(data, position + _HEADER_BYTES)
                if flags & _END_STREAM and stream in self._open:
                    ended.append(self._end(stream, "the call ended without a status"))
                continue
            if end > size:
                break
            ended += self._take_frame(kind, flags, stream, data[position + _HEADER_BYTES : end])
            position = end
        if position < size:
            self._partial = data[position:]
        if self._unsent:
            self.reply += self._take_unsent()
        return ended

    def _take_data(self, data: bytes, position: int) -> int:
        """Consume the received part of a DATA frame's payload; return the position after it."""
        end = min(position + self._data_left, len(data))
        self._data_left -= end - position
        self._received += end - position
        if self._received >= _RENEW_WINDOW_AT:
            self.reply += _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received))
            self._received = 0
        if self.responses is not None and self._open and end > position:
            self.responses.feed(data[position:end])
        return end

    def _take_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> Iterable[tuple[int, str]]:
        """Process a whole frame other than DATA; return the calls that it ends as `feed` does."""
        if kind == _HEADERS:
            if flags & _PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            self._block = payload[5:] if flags & _PRIORITY else payload
            self._block_ends = bool(flags & _END_STREAM)
        elif kind == _CONTINUATION:
            self._block += payload
        elif kind == _RST_STREAM and stream in self._open:
            return (self._end(stream, f"the server reset the call (HTTP/2 error {int.from_bytes(payload, 'big')})"),)
        else:
            return self._take_control(kind, flags, stream, payload)
        if flags & _END_HEADERS and self._block_ends and stream in self._open:
            return (self._end(stream, self._error_in_trailers()),)
        return ()

    def _take_control(self, kind: int, flags: int, stream: int, payload: bytes) -> Iterable[tuple[int, str]]:
        """Process a frame that concerns the whole connection."""
        if kind == _WINDOW_UPDATE:
            self._open_window(stream, int.from_bytes(payload, "big"))
        elif kind == _SETTINGS and not flags & _ACK:
            self._take_settings(payload)
        elif kind == _PING and not flags & _ACK:
            self.reply += _frame(_PING, _ACK, 0, payload)
        elif kind == _GOAWAY:
            self.closing = True
            last, code = struct.unpack_from(">II", payload)
            lost = sorted(stream for stream in self._open if stream > last)
            return [self._end(stream, f"the server closed the connection (HTTP/2 error {code})") for stream in lost]
        return ()

    def _open_window(self, stream: int, room: int) -> None:
        if stream == 0:
            self._window += room
        elif stream in self._unsent:
            self._unsent[stream].window += room

    def _take_settings(self, payload: bytes) -> None:
        for key, value in struct.iter_unpack(">HI", payload):
            if key == _INITIAL_WINDOW_SIZE:
                for unsent in self._unsent.values():
                    unsent.window += value - self._first_window
                self._first_window = value
            elif key == _MAX_FRAME_SIZE:
                self._max_frame = value
            elif key == _HEADER_TABLE_SIZE and value < DEFAULT_TABLE_BYTES:
                self._headers, self._later_headers = self._encoded.reset, self._encoded.literal
        self.reply += _frame(_SETTINGS, _ACK, 0)

    def _error_in_trailers(self) -> str:
        if self._block in self._good_ends:
            return ""
        error = _read_error(self._block)
        if not error:
            self._good_ends.add(self._block)
        return error

    def _end(self, stream: int, error: str) -> tuple[int, str]:
        self._open.discard(stream)
        if self._unsent.pop(stream, None):  # the server answered before it had the whole message
            self.reply += _frame(_RST_STREAM, 0, stream, _CANCEL)
        return stream, error or (self.responses.error if self.responses is not None else "")


@dataclass(slots=True)
class _Unsent:
    """The rest of a message, and how many bytes of it the server accepts on its stream."""

    message: memoryview
    window: int


def _read_error(block: bytes) -> str:
    """Return the error in a call's trailers; empty for the status OK."""
    from hpack import Decoder, HPACKError

    decoder = Decoder()
    decoder.header_table_size = decoder.max_allowed_table_size = 0
    try:
        headers = {
            bytes(name): bytes(value).decode(errors="replace") for name, value in decoder.decode(block, raw=True)
        }
    except HPACKError as error:
        return f"the server's headers cannot be read: {error}"
    status = headers.get(b"grpc-status")
    if status == "0":
        return ""
    if status is None:
        return f"the server does not speak gRPC: HTTP status {headers.get(b':status', 'unknown')}"
    return unquote(headers.get(b"grpc-message", "")) or f"gRPC status {status}"
