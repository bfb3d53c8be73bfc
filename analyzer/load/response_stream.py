"""Read the responses of a decoupled model as they arrive: when each did, and the tokens that it reports.

The module imports nothing beyond the standard library, because it runs in the load generator's process.

Sources: the protocol buffers of KServe v2 with Triton's extensions (`grpc_service.proto`), and their encoding.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from time import perf_counter

_PREFIX_BYTES = 5  # a flag and the message's length
_STREAM_ERROR = b"\x0a"  # tag of ModelStreamInferResponse.error_message, which comes first where there is one
_KEPT_ERROR_BYTES = 2000
_VARINT, _64_BITS, _BYTES = 0, 1, 2  # wire types; the only other one has 32 bits
_INFER_RESPONSE = 2  # field of ModelStreamInferResponse
_OUTPUT, _RAW_CONTENT = 5, 6  # fields of ModelInferResponse, one of each for an output
_NAME, _DATATYPE = 1, 2  # fields of InferOutputTensor
INTEGER_BYTES = {f"{sign}INT{8 * size}": size for sign in ("", "U") for size in (1, 2, 4, 8)}  # by datatype
_SIZES = {name.encode(): size for name, size in INTEGER_BYTES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOutputs:
    """The outputs with which a model reports tokens; empty for one that it does not have.

    Parameters
    ----------
    input_tokens : str
        The tokens of the request.
    output_tokens : str
        The tokens of the response of which it is an output.
    """

    input_tokens: str = ""
    output_tokens: str = ""


@dataclass(slots=True)
class StreamTimings:
    """What streams delivered, in order of their completion; all but `gaps_s` have one value for each stream.

    Parameters
    ----------
    responses : array of int
        Responses that are not empty.
    first_s, last_s : array of float
        From sending the request to the first and to the last of them; not a number where there is none.
    gaps_s : array of float
        Times between two responses of a stream: one less than its responses.
    input_tokens, output_tokens, first_tokens : array of float
        Tokens of the request, of all responses and of the first; not a number where the model does not report them.
    """

    responses: array[int] = field(default_factory=lambda: array("L"))
    first_s: array[float] = field(default_factory=lambda: array("d"))
    last_s: array[float] = field(default_factory=lambda: array("d"))
    gaps_s: array[float] = field(default_factory=lambda: array("d"))
    input_tokens: array[float] = field(default_factory=lambda: array("d"))
    output_tokens: array[float] = field(default_factory=lambda: array("d"))
    first_tokens: array[float] = field(default_factory=lambda: array("d"))

    def add(self, stream: ResponseReader, since_s: float) -> None:
        """Add a stream that has ended; `since_s` is when its request was sent, or was due."""
        times = stream.times_s
        self.responses.append(len(times))
        self.first_s.append(times[0] - since_s if times else math.nan)
        self.last_s.append(times[-1] - since_s if times else math.nan)
        self.gaps_s.extend([after - before for before, after in pairwise(times)])
        self.input_tokens.append(stream.input_tokens)
        self.output_tokens.append(stream.output_tokens)
        self.first_tokens.append(stream.first_tokens)

    def extend(self, later: StreamTimings) -> None:
        """Append the streams of a later report."""
        for name in self.__slots__:
            getattr(self, name).extend(getattr(later, name))


class ResponseReader:
    """The responses of the call that is in flight on a connection, or of the one that ended last.

    A response is empty if it has no outputs, or reports that it has no tokens; empty ones are not timed.

    Parameters
    ----------
    outputs : TokenOutputs
    """

    __slots__ = ("_data", "_outputs", "error", "first_tokens", "input_tokens", "output_tokens", "seen", "times_s")

    def __init__(self, outputs: TokenOutputs) -> None:
        self._outputs = (outputs.input_tokens.encode(), outputs.output_tokens.encode())
        self.seen = 0  # responses on this connection, of all calls
        self.begin()

    def begin(self) -> None:
        """Forget the last call's responses, as another call begins."""
        self._data = bytearray()
        self.error = ""  # the first error among the responses
        self.times_s: list[float] = []  # when each response arrived, by `time.perf_counter`
        self.input_tokens = self.output_tokens = self.first_tokens = math.nan

    def feed(self, data: bytes) -> None:
        """Process received bytes of the call's messages."""
        received_s = perf_counter()
        self._data += data
        while len(self._data) >= _PREFIX_BYTES:
            end = _PREFIX_BYTES + int.from_bytes(self._data[1:_PREFIX_BYTES], "big")
            if len(self._data) < end:
                return
            try:
                self._take(bytes(self._data[_PREFIX_BYTES:end]), received_s)
            except IndexError:
                self.error = self.error or "a response is no message of Triton's"
            del self._data[:end]

    def _take(self, message: bytes, received_s: float) -> None:
        self.seen += 1
        if message.startswith(_STREAM_ERROR):
            text = message[1:_KEPT_ERROR_BYTES].lstrip(bytes(range(128, 256)))[1:]
            self.error = self.error or text.decode(errors="replace") or "an error without a text"
            return
        for number, start, end in _fields(message, 0, len(message)):
            if number == _INFER_RESPONSE and self._take_outputs(message, start, end):
                self.times_s.append(received_s)

    def _take_outputs(self, message: bytes, start: int, end: int) -> bool:
        """Note the tokens that a response reports; return whether it is not empty."""
        if not any(self._outputs):
            return any(number == _OUTPUT for number, _, _ in _fields(message, start, end))
        fields = list(_fields(message, start, end))
        outputs = [_name_and_size(message, begin, until) for number, begin, until in fields if number == _OUTPUT]
        contents = [(begin, until) for number, begin, until in fields if number == _RAW_CONTENT]
        sums = {
            name: sum(int.from_bytes(message[at : at + size], "little") for at in range(begin, until, size))
            for (name, size), (begin, until) in zip(outputs, contents, strict=False)
            if size and name in self._outputs
        }
        input_tokens, output_tokens = (sums.get(name) for name in self._outputs)
        if input_tokens is not None:
            self.input_tokens = input_tokens
        if output_tokens is None:
            return bool(outputs)
        if output_tokens and not self.times_s:
            self.first_tokens, self.output_tokens = output_tokens, 0.0
        self.output_tokens += output_tokens
        return output_tokens > 0


def _name_and_size(message: bytes, start: int, end: int) -> tuple[bytes, int]:
    """Return an output's name, and the bytes of one of its integers; 0 for other types."""
    name, size = b"", 0
    for number, begin, until in _fields(message, start, end):
        if number == _NAME:
            name = message[begin:until]
        elif number == _DATATYPE:
            size = _SIZES.get(message[begin:until], 0)
            break  # the shape and the rest are not needed
    return name, size


def _fields(message: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number, begin and end of each field that has bytes: texts, and messages within this one."""
    while position < end:
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == _BYTES:
            size, position = _varint(message, position)
            yield tag >> 3, position, position + size
            position += size
        elif kind == _VARINT:
            _, position = _varint(message, position)
        else:
            position += 8 if kind == _64_BITS else 4


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, the lowest first; return it with the position after it."""
    byte = message[position]
    position += 1
    if byte < 128:
        return byte, position
    value, shift = byte & 127, 7
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
