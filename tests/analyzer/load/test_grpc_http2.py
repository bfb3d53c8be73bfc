"""Test the small HTTP/2 and gRPC client: when a call is complete, whether it succeeded, and flow control."""

import struct

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from analyzer.load.call_headers import CallHeaders
from analyzer.load.grpc_http2 import GrpcExchange
from analyzer.load.response_stream import TokenOutputs

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HEADERS_OF_CALLS = CallHeaders(first=b"F", later=b"L", reset=b"R", literal=b"P")
CALL = b"\0\0\0\0\2hi"  # a gRPC message of two bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Build a frame as in RFC 9113, section 4.1."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def split(wire: bytes) -> list[tuple[int, int, int, bytes]]:
    """Split bytes into frames: type, flags, stream, payload."""
    frames = []
    while wire:
        length = int.from_bytes(wire[:3], "big")
        frames.append((wire[3], wire[4], int.from_bytes(wire[5:9], "big"), wire[9 : 9 + length]))
        wire = wire[9 + length :]
    return frames


def block(*fields: tuple[str, str], huffman: bool = False) -> bytes:
    """Encode headers as a server does for a client without a dynamic header table."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(list(fields), huffman=huffman)


def trailers(stream: int, status: str = "0", message: str = "", *, huffman: bool = False) -> bytes:
    """Build the trailers that end a call with this gRPC status."""
    fields = [("grpc-status", status), *([("grpc-message", message)] if message else [])]
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block(*fields, huffman=huffman))


def answer(stream: int, content: bytes = b"\0\0\0\0\5hello") -> bytes:
    """Answer a call as Triton does: headers, one message, trailers."""
    head = block((":status", "200"), ("content-type", "application/grpc"))
    return frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, 0, stream, content) + trailers(stream)


def exchange_in_call(*, streaming: TokenOutputs | None = None) -> GrpcExchange:
    """Start the first call, on stream 1."""
    exchange = GrpcExchange(HEADERS_OF_CALLS, streaming=streaming)
    exchange.frame(CALL)
    return exchange


def test_preface_asks_for_no_header_table_and_large_windows() -> None:
    """The preface sends settings 1, 2, 4 and 5, and raises the connection's window from 65,535 to 2^31 - 1."""
    preface = GrpcExchange(HEADERS_OF_CALLS).preface()
    assert preface.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    settings, window = split(preface[24:])
    assert settings[:3] == (SETTINGS, 0, 0)
    assert dict(struct.iter_unpack(">HI", settings[3])) == {1: 0, 2: 0, 4: 2**31 - 1, 5: 2**24 - 1}
    assert window == (WINDOW_UPDATE, 0, 0, (2**31 - 1 - 65535).to_bytes(4, "big"))


def test_calls_use_odd_stream_ids_in_order() -> None:
    """A call is HEADERS and then the message as DATA, which ends the client's side of the stream."""
    exchange = GrpcExchange(HEADERS_OF_CALLS)
    for stream, headers in ((1, b"F"), (3, b"L"), (5, b"L")):
        framed = split(exchange.frame(CALL))
        assert framed == [(HEADERS, END_HEADERS, stream, headers), (DATA, END_STREAM, stream, CALL)]
        assert exchange.call == stream
        assert exchange.feed(answer(stream)) == [(stream, "")]


def test_calls_in_flight_together_end_in_any_order_each_with_its_own_outcome() -> None:
    """Of three calls on one connection the third ends first, the first fails, and each outcome names its stream."""
    exchange = GrpcExchange(HEADERS_OF_CALLS)
    for _ in range(3):
        exchange.frame(CALL)
    third = answer(5)
    assert exchange.feed(third[:20]) == []
    assert exchange.feed(third[20:] + trailers(1, "14", "busy")) == [(5, ""), (1, "busy")]
    assert exchange.feed(answer(3)) == [(3, "")]


def test_large_messages_in_flight_together_share_the_connections_window() -> None:
    """The second of two messages waits for the connection's window; each is cut to its own stream."""
    exchange = GrpcExchange(HEADERS_OF_CALLS)
    exchange.frame(bytes(60_000))
    # 65,535 - 60,000 = 5,535 bytes are left of the connection's window
    assert [len(payload) for *_, payload in split(exchange.frame(bytes(10_000)))] == [1, 5_535]
    assert exchange.feed(frame(WINDOW_UPDATE, 0, 0, (50_000).to_bytes(4, "big"))) == []
    assert [(s, flags, len(payload)) for _, flags, s, payload in split(exchange.reply)] == [(3, END_STREAM, 4_465)]


def test_a_server_with_a_smaller_header_table_gets_literals_after_its_table_is_emptied() -> None:
    """The first call after the settings begins with a table size update, and those after it have literals only."""
    exchange = GrpcExchange(HEADERS_OF_CALLS)
    sent = [split(exchange.frame(CALL))[0][3]]
    exchange.feed(frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 100)))
    sent += [split(exchange.frame(CALL))[0][3] for _ in range(3)]
    assert sent == [b"F", b"R", b"P", b"P"]


GOOD = answer(1)
REFUSED = trailers(1, "5", "Request for unknown model: 'm%27s'")
FAILED = answer(1)[: -len(trailers(1))] + trailers(1, "13", "100%25 wrong", huffman=True)
NOISE = [
    b"",
    frame(PING, 0, 0, b"12345678"),
    frame(SETTINGS, ACK, 0),
    frame(WINDOW_UPDATE, 0, 0, (5).to_bytes(4, "big")),
    frame(0xEE, 0, 0, b"unknown frames are to be ignored"),
    frame(RST_STREAM, 0, 99, (0).to_bytes(4, "big")),
]


@given(
    st.sampled_from([(GOOD, ""), (REFUSED, "Request for unknown model: 'm's'"), (FAILED, "100% wrong")]),
    st.sampled_from(NOISE),
    st.data(),
)
def test_any_cut_of_the_stream_gives_the_same_outcome(
    expected: tuple[bytes, str], noise: bytes, data: st.DataObject
) -> None:
    """However the bytes are split into packets, the call ends once, with the same outcome."""
    wire = noise + expected[0]
    cut = sorted(data.draw(st.lists(st.integers(1, len(wire) - 1), max_size=6)))
    exchange = exchange_in_call()
    pieces = [wire[a:b] for a, b in zip([0, *cut], [*cut, len(wire)], strict=True) if a < b]
    outcomes = [exchange.feed(piece) for piece in pieces]
    assert not any(outcomes[:-1])
    assert outcomes[-1] == [(1, expected[1])]


def test_frames_after_the_end_of_a_call_do_not_hide_it() -> None:
    """Triton may send a window update and a reset of the finished stream in the same packet as the trailers."""
    reset = frame(RST_STREAM, 0, 1, (0).to_bytes(4, "big"))
    exchange = exchange_in_call()
    assert exchange.feed(GOOD + reset + frame(PING, 0, 0, b"abcdefgh")) == [(1, "")]
    assert split(exchange.reply) == [(PING, ACK, 0, b"abcdefgh")]


def test_headers_may_continue_in_further_frames() -> None:
    """A long error message arrives in HEADERS and CONTINUATION frames."""
    text = block(("grpc-status", "13"), ("grpc-message", "x" * 500))
    wire = frame(HEADERS, END_STREAM, 1, text[:100]) + frame(CONTINUATION, END_HEADERS, 1, text[100:])
    assert exchange_in_call().feed(wire) == [(1, "x" * 500)]


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (frame(RST_STREAM, 0, 1, (11).to_bytes(4, "big")), "HTTP/2 error 11"),
        (frame(GOAWAY, 0, 0, struct.pack(">II", 0, 2)), "HTTP/2 error 2"),
        (frame(DATA, END_STREAM, 1, b"x"), "without a status"),
        (trailers(1, "14"), "gRPC status 14"),
        (frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "502"))), "HTTP status 502"),
        (frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff"), "cannot be read"),
    ],
)
def test_an_end_other_than_status_ok_is_an_error(wire: bytes, said: str) -> None:
    """Only grpc-status 0 is a success."""
    ((stream, error),) = exchange_in_call().feed(wire)
    assert stream == 1
    assert said in error


def test_a_server_that_goes_away_finishes_the_call_in_flight() -> None:
    """After GOAWAY with this stream as the last, the call is completed and the connection takes no further call."""
    exchange = exchange_in_call()
    assert exchange.feed(frame(GOAWAY, 0, 0, struct.pack(">II", 1, 0))) == []
    assert exchange.closing
    assert exchange.feed(GOOD) == [(1, "")]


def test_a_large_message_waits_for_the_servers_windows() -> None:
    """65,535 bytes are sent at first, in frames of 16,384; then as many as each window update allows."""
    exchange = GrpcExchange(HEADERS_OF_CALLS)
    message = bytes(range(256)) * 400  # 102,400 bytes
    first = split(exchange.frame(message))[1:]
    assert [len(payload) for *_, payload in first] == [16384, 16384, 16384, 16383]
    assert {flags for _, flags, _, _ in first} == {0}
    assert exchange.feed(frame(WINDOW_UPDATE, 0, 0, (100_000).to_bytes(4, "big"))) == []
    assert exchange.reply == b""  # the stream's own window is still closed
    assert exchange.feed(frame(WINDOW_UPDATE, 0, 1, (10).to_bytes(4, "big"))) == []
    second = split(exchange.reply)
    assert [len(payload) for *_, payload in second] == [10]
    exchange.reply = b""
    settings = struct.pack(">HIHI", 4, 65535 + 40_000, 5, 20_000)  # a wider window on streams, and larger frames
    assert exchange.feed(frame(SETTINGS, 0, 0, settings)) == []
    acknowledgement, *third = split(exchange.reply)
    assert acknowledgement == (SETTINGS, ACK, 0, b"")
    # 102,400 - 65,535 - 10 = 36,855 bytes are left
    assert [len(payload) for *_, payload in third] == [20_000, 16_855]
    assert [flags for _, flags, _, _ in third] == [0, END_STREAM]
    assert b"".join(payload for *_, payload in first + second + third) == message


def test_answer_before_the_whole_request_cancels_the_rest() -> None:
    """If the server answers before it has the whole message, the stream is cancelled (error 8)."""
    exchange = GrpcExchange(HEADERS_OF_CALLS)
    exchange.frame(bytes(100_000))
    assert exchange.feed(trailers(1, "8", "too large")) == [(1, "too large")]
    assert split(exchange.reply) == [(RST_STREAM, 0, 1, (8).to_bytes(4, "big"))]


def test_window_is_raised_again_after_a_gibibyte() -> None:
    """After 2^30 received bytes a window update allows the server to send as many again."""
    exchange = exchange_in_call()
    head = (2**24 - 1).to_bytes(3, "big") + bytes([DATA, 0]) + (1).to_bytes(4, "big")
    body = bytes(2**24 - 1)
    for _ in range(65):  # 65 x 16,777,215 bytes pass 2^30 = 1,073,741,824 with the last one
        assert exchange.reply == b""
        exchange.feed(head + body)
    assert split(exchange.reply) == [(WINDOW_UPDATE, 0, 0, (65 * (2**24 - 1)).to_bytes(4, "big"))]


@given(st.data())
def test_an_error_inside_a_stream_of_responses_is_an_error(data: st.DataObject) -> None:
    """ModelStreamInfer ends with status OK even if a response holds an error (field 1); the call is an error."""
    text = b"it failed " + b"x" * 200
    error = b"\x0a" + bytes([210 & 127 | 128, 210 >> 7]) + text  # 210 bytes: a length of two bytes
    good = b"\x12\x02ok"  # field 2, a response
    messages = b"".join(b"\0" + len(m).to_bytes(4, "big") + m for m in (good, error, good))
    cut = data.draw(st.integers(1, len(messages) - 1))
    exchange = exchange_in_call(streaming=TokenOutputs())
    frames = frame(DATA, 0, 1, messages[:cut]) + frame(DATA, 0, 1, messages[cut:])
    assert exchange.feed(frames + trailers(1)) == [(1, text.decode())]
    exchange.frame(CALL)
    assert exchange.feed(frame(DATA, 0, 3, b"\0\0\0\0\4" + good) + trailers(3)) == [(3, "")]
