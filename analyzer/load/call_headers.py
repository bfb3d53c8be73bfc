"""Encode the headers that every call of a gRPC client repeats, in HPACK (RFC 7541).

Encoded are the headers of a connection's first call, which put the fields into the server's header table, and those of
the calls after it, which name the fields' places in that table in one byte each. For a server that keeps a smaller
table than the default, every call has its fields as literals. The module imports nothing beyond the standard library,
because it runs in the load generator's process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Field = tuple[str, str]

DEFAULT_TABLE_BYTES = 4096  # of a server that does not set SETTINGS_HEADER_TABLE_SIZE
_STATIC_FIELDS: dict[Field, int] = {
    (":method", "POST"): 3,
    (":scheme", "http"): 6,
    (":scheme", "https"): 7,
}  # RFC 7541, appendix A
_STATIC_NAMES = {":authority": 1, ":method": 2, ":path": 4, ":scheme": 6, "content-type": 31, "user-agent": 58}
_STATIC_TABLE_LENGTH = 61
_INDEXED, _INSERTED, _LITERAL = 0x80, 0x40, 0x00  # what the first byte of a field says about it
_EMPTY_TABLE = b"\x20"  # a table size update to 0, which empties the table


@dataclass(frozen=True, slots=True)
class CallHeaders:
    """The encoded headers of a connection's calls.

    Parameters
    ----------
    first, later : bytes
        Those of the first call on a connection, and of every call after it.
    reset, literal : bytes
        Those of the first call after the server has reduced its table, and of every call after that.
    """

    first: bytes
    later: bytes
    reset: bytes
    literal: bytes


def encode_headers(fields: Sequence[Field]) -> CallHeaders:
    """Encode headers that every call has.

    Parameters
    ----------
    fields : sequence of (str, str)
        Name and value of each; those that begin with a colon come first.
    """
    inserted = [field for field in fields if field not in _STATIC_FIELDS]
    # RFC 7541, 4.1: an entry takes its bytes and 32 more; a field whose entry was evicted could not be named
    table_bytes = sum(len(name.encode()) + len(value.encode()) + 32 for name, value in inserted)
    literal = b"".join(_encode(field, _LITERAL, 4) for field in fields)
    if table_bytes > DEFAULT_TABLE_BYTES:
        return CallHeaders(first=literal, later=literal, reset=_EMPTY_TABLE + literal, literal=literal)
    places = {field: _STATIC_TABLE_LENGTH + len(inserted) - i for i, field in enumerate(inserted)}
    return CallHeaders(
        first=b"".join(_encode(field, _INSERTED, 6) for field in fields),
        later=b"".join(_integer(_STATIC_FIELDS.get(field) or places[field], 7, _INDEXED) for field in fields),
        reset=_EMPTY_TABLE + literal,
        literal=literal,
    )


def _encode(field: Field, kind: int, prefix_bits: int) -> bytes:
    """Encode a field as its place in the static table, or else as a literal of a kind."""
    if field in _STATIC_FIELDS:
        return _integer(_STATIC_FIELDS[field], 7, _INDEXED)
    name, value = field
    known = _STATIC_NAMES.get(name, 0)
    return _integer(known, prefix_bits, kind) + (b"" if known else _text(name)) + _text(value)


def _text(text: str) -> bytes:
    raw = text.encode()
    return _integer(len(raw), 7) + raw


def _integer(value: int, prefix_bits: int, first_byte: int = 0) -> bytes:
    """Encode an integer in the lower bits of a first byte and, where it is larger, in further bytes (5.1)."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([first_byte | value])
    coded, value = bytearray([first_byte | limit]), value - limit
    while value >= 128:
        coded.append(value % 128 + 128)
        value //= 128
    coded.append(value)
    return bytes(coded)
