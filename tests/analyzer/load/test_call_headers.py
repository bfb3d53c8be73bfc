"""Test the encoded headers of gRPC calls against an independent HPACK decoder."""

import pytest
from hpack import Decoder

from analyzer.load.call_headers import encode_headers

FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/service/" + "m" * 300),  # a length that takes two bytes and more
    (":authority", "a" * 127),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
    ("user-agent", "u" * 126),
]


def test_later_calls_name_fields_by_their_place_in_the_servers_table() -> None:
    """Every call on a connection is read as the same fields, and those after the first take a byte for each field."""
    encoded, decoder = encode_headers(FIELDS), Decoder()
    for block in (encoded.first, encoded.later, encoded.later):
        assert decoder.decode(block) == FIELDS
    assert len(encoded.later) == len(FIELDS)


def test_literals_are_read_without_a_table() -> None:
    """After the update that empties the table, a decoder that holds no entries reads every call."""
    encoded, decoder = encode_headers(FIELDS), Decoder()
    decoder.decode(encoded.first)
    decoder.max_allowed_table_size = 0
    for block in (encoded.reset, encoded.literal, encoded.literal):
        assert decoder.decode(block) == FIELDS
    assert not decoder.header_table.dynamic_entries


@pytest.mark.parametrize("length", [100, 5000])
def test_fields_that_do_not_fit_the_table_are_literals(length: int) -> None:
    """Fields beyond the 4,096 bytes of a default table would be evicted, so that no later call could name them."""
    fields = [(":method", "POST"), ("x", "y" * length), ("z", "1")]
    encoded, decoder = encode_headers(fields), Decoder()
    decoder.max_header_list_size = 2**20
    for block in (encoded.first, encoded.later, encoded.later):
        assert decoder.decode(block) == fields
    assert (encoded.first == encoded.later) is (length == 5000)
