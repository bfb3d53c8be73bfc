"""Test the reader of streamed responses against messages of the real protocol buffers."""

from __future__ import annotations

import math
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from analyzer.load.response_stream import ResponseReader, StreamTimings, TokenOutputs

TOKENS = TokenOutputs(input_tokens="IN", output_tokens="OUT")


def message(*outputs: tuple[str, str, bytes], error: str = "") -> bytes:
    """Build a streamed response with outputs of (name, datatype, bytes), with gRPC's prefix."""
    response = service_pb2.ModelStreamInferResponse(error_message=error)
    response.infer_response.model_name = "m" * 200  # a length of two bytes
    response.infer_response.parameters["triton_final_response"].bool_param = False
    for name, datatype, data in outputs:
        response.infer_response.outputs.add(name=name, datatype=datatype, shape=[1, len(data)])
        response.infer_response.raw_output_contents.append(data)
    body = response.SerializeToString()
    return b"\0" + len(body).to_bytes(4, "big") + body


def tokens(count: int, *, of_request: int = 7) -> bytes:
    """Build a response of a language model: a text, and tokens as numbers of two types."""
    return message(
        ("TEXT", "BYTES", b"\x02\0\0\0hi"),
        ("IN", "UINT32", struct.pack("<I", of_request)),
        ("OUT", "INT64", struct.pack("<q", count)),
    )


def read(*pieces: bytes, outputs: TokenOutputs = TOKENS) -> ResponseReader:
    """Feed received bytes, 5 ms apart."""
    reader = ResponseReader(outputs)
    for piece in pieces:
        reader.feed(piece)
        time.sleep(0.005)
    return reader


def test_tokens_are_those_that_the_outputs_report() -> None:
    """3 + 1 + 2 tokens in three responses are 6, of which the first has 3; the request has 7."""
    reader = read(tokens(3), tokens(1), tokens(2))
    assert (reader.input_tokens, reader.first_tokens, reader.output_tokens) == (7, 3, 6)
    assert len(reader.times_s) == 3


def test_the_tokens_of_a_batch_are_added() -> None:
    """Two elements with 3 and 4 tokens are one response of 7."""
    assert read(message(("OUT", "INT32", struct.pack("<2i", 3, 4)))).output_tokens == 7


def test_empty_responses_are_not_timed() -> None:
    """A response without outputs is empty, and one that reports no token; both are seen as a sign of life."""
    reader = read(message(), tokens(0), tokens(2), tokens(0))
    assert (len(reader.times_s), reader.first_tokens, reader.output_tokens, reader.seen) == (1, 2, 2, 4)


def test_responses_count_where_no_tokens_are_reported() -> None:
    """Without outputs that report tokens, responses with any output are timed, and tokens stay unknown."""
    for outputs in (TokenOutputs(), TOKENS):
        reader = read(message(("TEXT", "BYTES", b"\x01\0\0\0a")), message(), outputs=outputs)
        assert len(reader.times_s) == 1
        assert math.isnan(reader.output_tokens)
        assert math.isnan(reader.input_tokens)


def test_an_output_of_another_type_reports_no_tokens() -> None:
    """Floating-point numbers are no counts: the tokens stay unknown rather than wrong."""
    assert math.isnan(read(message(("OUT", "FP32", struct.pack("<f", 3.0)))).output_tokens)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=4), st.data())
def test_any_cut_of_the_messages_gives_the_same_tokens(counts: list[int], data: st.DataObject) -> None:
    """However the bytes are split into packets, the same tokens and responses are read."""
    wire = b"".join(tokens(count) for count in counts)
    cut = sorted(data.draw(st.lists(st.integers(1, len(wire) - 1), max_size=6)))
    reader = ResponseReader(TOKENS)
    for begin, end in zip([0, *cut], [*cut, len(wire)], strict=True):
        reader.feed(wire[begin:end])
    assert len(reader.times_s) == sum(count > 0 for count in counts)
    assert (reader.output_tokens if any(counts) else 0) == sum(counts)


def test_what_is_no_message_is_an_error() -> None:
    """Bytes that end within a field are an error of the call, and the load generator goes on."""
    reader = read(b"\0\0\0\0\2\x12\xff")
    assert "no message" in reader.error
    assert reader.times_s == []


def test_timings_of_streams_are_from_sending() -> None:
    """Sent 10 ms before the first of three responses, 5 ms apart: 10, 20 ms, and two gaps of 5 ms."""
    reader = ResponseReader(TOKENS)
    reader.times_s = [5.010, 5.015, 5.020]
    timings = StreamTimings()
    timings.add(reader, since_s=5.0)
    reader.begin()
    timings.add(reader, since_s=6.0)  # a stream without a response
    assert list(timings.responses) == [3, 0]
    assert [*timings.first_s, *timings.last_s] == pytest.approx([0.010, math.nan, 0.020, math.nan], nan_ok=True)
    assert list(timings.gaps_s) == pytest.approx([0.005, 0.005])
    timings.extend(timings)
    assert list(timings.responses) == [3, 0, 3, 0]
