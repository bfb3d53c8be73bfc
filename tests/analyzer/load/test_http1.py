"""Test the small HTTP/1.1 client: when a response is complete, and whether it succeeded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.load.http1 import SUCCESS, Http1Exchange

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 5\r\n\r\nhello"
BAD = b'HTTP/1.1 400 Bad Request\r\ncontent-length: 15\r\n\r\n{"error":"why"}'


@given(st.lists(st.sampled_from([OK, BAD]), min_size=1, max_size=5), st.data())
def test_any_cut_of_the_stream_gives_the_same_outcomes(responses: list[bytes], data: st.DataObject) -> None:
    """However its bytes are split into packets, a response ends once, with the same outcome."""
    exchange = Http1Exchange()
    for response in responses:
        cut = sorted(data.draw(st.lists(st.integers(1, len(response) - 1), max_size=4)))
        pieces = [response[a:b] for a, b in zip([0, *cut], [*cut, len(response)], strict=True) if a < b]
        outcomes = [exchange.feed(piece) for piece in pieces]
        assert not any(outcomes[:-1])
        assert list(outcomes[-1]) == [(exchange.call, "" if response is OK else '{"error":"why"}')]


def test_a_response_without_a_body_is_complete_with_its_head() -> None:
    """A response with Content-Length 0 is complete after its head."""
    assert Http1Exchange().feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") == SUCCESS


@pytest.mark.parametrize("status", [b"204 No Content", b"503 Service Unavailable"])
def test_only_status_200_is_a_success(status: bytes) -> None:
    """Triton answers an inference with 200; anything else is an error, even without a text."""
    ((_, error),) = Http1Exchange().feed(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
    assert error


def test_more_bytes_than_announced_are_an_error() -> None:
    """A second response that was not asked for must not count as the answer to the next request."""
    ((_, error),) = Http1Exchange().feed(OK + OK)
    assert error


@pytest.mark.parametrize(("field", "closes"), [(b"Connection: close", True), (b"Connection: keep-alive", False)])
def test_a_connection_that_the_server_closes_takes_no_further_request(field: bytes, closes: bool) -> None:
    """After ``Connection: close``, which proxies send after some requests, the connection is not reused."""
    exchange = Http1Exchange()
    assert exchange.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + field + b"\r\n\r\n") == SUCCESS
    assert exchange.closing is closes
