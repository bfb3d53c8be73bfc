"""Test the sequences of a load: each has an id of its own, and each that was begun is ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count

import pytest

from analyzer.load.generator import LoadGenerator
from analyzer.load.load import Load
from analyzer.load.sequences import (
    IDS_OF_A_LOAD,
    SequenceRequest,
    SequenceRequests,
    first_id,
    id_as_digits,
    id_as_text,
    id_as_varint,
    single_id,
)
from tests.builders.socket_server import BAD, LAST, OK, Answer, FakeServer, serving

ID_BYTES = 19
START = SequenceRequest(b"s", b".", starts=True, ends=False)
STEP = SequenceRequest(b"-", b".", starts=False, ends=False)
END = SequenceRequest(b"e", b".", starts=False, ends=True)
WHOLE = SequenceRequest(b"w", b".", starts=True, ends=True)


def encode(number: int) -> bytes:
    """Encode an id below ten."""
    return str(number).encode()


@dataclass(frozen=True)
class Seen:
    """The sequences that a server was sent: the requests of each by its id, as ``s--e``."""

    by_id: dict[bytes, str]

    @classmethod
    def by(cls, server: FakeServer) -> Seen:
        """Read them off a server's requests."""
        by_id: dict[bytes, str] = {}
        for _connection, request in server.requests:
            by_id[request[1:-1]] = by_id.get(request[1:-1], "") + chr(request[0])
        return cls(by_id)


def send(
    answer: Answer,
    *loads: int,
    processes: int = 1,
    rate_per_s: float | None = None,
    script: tuple[SequenceRequest, ...] = (START, STEP, STEP, END),
) -> Seen:
    """Send loads of these numbers of connections, each until 40 requests are done; return what the server saw."""
    with serving(answer, request_bytes=ID_BYTES + 2) as server, LoadGenerator(processes) as generator:
        for concurrency in loads:
            load = Load(
                host="127.0.0.1",
                port=server.port,
                sequences=[script],
                concurrency=concurrency,
                rate_per_s=rate_per_s,
            )
            with generator.sending(load) as stream:
                done, deadline = 0, time.perf_counter() + 10
                while done < 40 and time.perf_counter() < deadline:
                    done += sum(len(report.end_s) for report in stream.receive(0.1))
        return Seen.by(server)


def slowly(_server: FakeServer, _number: int) -> bytes:
    """Answer after 2 ms."""
    time.sleep(0.002)
    return OK


@pytest.mark.parametrize("rate_per_s", [None, 300.0])
@pytest.mark.parametrize("processes", [1, 2])
def test_no_id_is_used_twice_and_every_sequence_is_ended(processes: int, rate_per_s: float | None) -> None:
    """Over connections, processes and loads: a model that forgets no id refused the second sequence of a connection."""
    seen = send(slowly, 2, 3, processes=processes, rate_per_s=rate_per_s)
    assert len(seen.by_id) > 8
    for requests in seen.by_id.values():
        # the last sequence of a connection is ended early when the load stops
        assert requests in ("s--e", "s-e", "se"), requests


@pytest.mark.parametrize("wrong", [BAD, b""], ids=["an error", "a closed connection"])
def test_sequence_is_ended_after_an_error(wrong: bytes) -> None:
    """A request that fails is followed by its sequence's end, also over a new connection, and by a new one."""

    def answer(_server: FakeServer, number: int) -> bytes:
        return wrong if number == 6 else slowly(_server, number)  # the second step of the second sequence

    seen = send(answer, 1)
    assert list(seen.by_id.values())[:3] == ["s--e", "s-e", "s--e"]
    assert all(requests.endswith("e") for requests in seen.by_id.values())


def test_sequence_goes_on_over_a_new_connection() -> None:
    """A server that closes a connection after a good response gets the rest of the sequence over the next one."""
    seen = send(lambda _server, number: LAST if number == 2 else slowly(_server, number), 1)
    assert next(iter(seen.by_id.values())) == "s--e"


def test_sequences_of_one_request_need_no_end() -> None:
    """A request that starts and ends its sequence leaves nothing to end."""
    seen = send(slowly, 2, script=(WHOLE,))
    assert len(seen.by_id) > 8
    assert set(seen.by_id.values()) == {"w"}


def test_failed_end_is_not_sent_again() -> None:
    """What Triton holds of a sequence whose end failed is not known; the next sequence has another id."""
    requests = SequenceRequests([START, END], count(1), encode)
    assert [requests.next(), requests.next()] == [b"s1.", b"e1."]
    requests.fail()
    assert requests.end() is None
    assert [requests.next(), requests.end(), requests.end()] == [b"s2.", b"e2.", None]


def test_ids_have_one_length_and_do_not_meet() -> None:
    """An id is cut out of requests that another one replaces; 2**20 loads fit below the ids of single sequences.

    Of ids that Triton cuts to 32 bits, those of two loads differ as well.
    """
    base = first_id()
    for number in (base, base + 2**20 * IDS_OF_A_LOAD, single_id(), 2**61, 2**63 - 1):
        assert len(id_as_digits(number)) == ID_BYTES
        assert len(id_as_text(number)) == 128
        assert len(id_as_varint(number)) == 9
        assert 2**61 <= number < 2**63
    assert base + 2**20 * IDS_OF_A_LOAD < 3 * 2**61 <= single_id()
    assert len({(base + load * IDS_OF_A_LOAD) % 2**32 for load in range(256)}) == 256
