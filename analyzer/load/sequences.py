"""Give every sequence of requests an id of its own, and end each sequence that was begun.

An id is never used twice: models that keep state of their own may forget no id, and a server may still hold a sequence
that another load left behind. The module imports nothing beyond the standard library, because it runs in the load
generator's process.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# Ids lie between 2**61 and 2**63, so that all of them have 19 digits, and 9 bytes in a protocol buffer. Triton cuts
# them to 32 bits for models that declare a 32-bit id (core, SequenceBatch::SetControlTensors): a load's lower 32 bits
# are not used again within the next 255 loads.
_LOWEST_ID = 1 << 61
IDS_OF_A_LOAD = (1 << 40) + (1 << 24)


@dataclass(frozen=True, slots=True)
class SequenceRequest:
    """One request of a sequence, as the bytes before and after its sequence's id."""

    before: bytes
    after: bytes
    starts: bool
    ends: bool


def first_id() -> int:
    """Return the id from which a load generator counts: a random one, as two sweeps may use the same server."""
    return _LOWEST_ID + random.SystemRandom().randrange(_LOWEST_ID)


def single_id() -> int:
    """Return a random id for one sequence, which no load generator counts up to."""
    return 3 * _LOWEST_ID + random.SystemRandom().randrange(_LOWEST_ID)


def id_as_digits(number: int) -> bytes:
    """Encode an id as decimal digits."""
    return b"%d" % number


def id_as_text(number: int) -> bytes:
    """Encode an id as 128 decimal digits, for a model whose ids are texts.

    That is the longest text that Triton takes. 2.51 gives such a model 132 bytes for its length and the text, whatever
    its length is, and so fails on a shorter one ("unexpected number of string elements 2").
    """
    return b"%0128d" % number


def id_as_varint(number: int) -> bytes:
    """Encode an id as a protocol buffer's varint: seven bits a byte, the lowest first."""
    coded = bytearray()
    while number >= 128:
        coded.append(number % 128 + 128)
        number //= 128
    coded.append(number)
    return bytes(coded)


class RepeatedRequests:
    """A connection's requests to a model without state: those of its script, again and again."""

    __slots__ = ("next",)

    def __init__(self, script: Sequence[bytes]) -> None:
        self.next = itertools.cycle(script).__next__

    def fail(self) -> None:
        """Take note that the last request failed: the next one does not depend on it."""

    def end(self) -> bytes | None:
        """Return the request that ends what was begun: none."""
        return None


class SequenceRequests:
    """A connection's sequences, one after the other, each with an id of its own.

    Parameters
    ----------
    script : sequence of SequenceRequest
        Whole sequences, which are sent in order, again and again.
    ids : iterator of int
        Yields ids that were not used before; other connections take theirs from it as well.
    encode : callable
        Encodes an id; every id has the same length.
    """

    __slots__ = ("_at", "_encode", "_failed", "_id", "_ids", "_open", "_script")

    def __init__(self, script: Sequence[SequenceRequest], ids: Iterator[int], encode: Callable[[int], bytes]) -> None:
        self._script = script
        self._ids = ids
        self._encode = encode
        self._at = 0  # place of the next request in the script
        self._id = b""
        self._open = False  # the sequence was started and not ended
        self._failed = False  # a request of the open sequence failed

    def next(self) -> bytes:
        """Return the next request: after a failure the one that ends its sequence."""
        request = self._script[self._at]
        while self._failed and not request.ends:
            self._at += 1
            request = self._script[self._at]
        if request.starts:
            self._id = self._encode(next(self._ids))
        self._open, self._failed = not request.ends, False
        self._at = (self._at + 1) % len(self._script)
        return b"".join((request.before, self._id, request.after))

    def fail(self) -> None:
        """Take note that the last request failed: its sequence is ended before another one starts."""
        self._failed = self._open

    def end(self) -> bytes | None:
        """Return the request that ends the open sequence; None where none is open."""
        self._failed = self._open
        return self.next() if self._open else None
