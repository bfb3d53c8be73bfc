"""What the load generator is told to send, and what it reports.

The module imports little beyond the standard library, because it runs in the load generator's process.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from analyzer.load.connection import Exchange
from analyzer.load.http1 import Http1Exchange
from analyzer.load.response_stream import StreamTimings
from analyzer.load.sequences import SequenceRequest, id_as_digits
from analyzer.servers.tls import Tls


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The requests to send, the server's address, and the concurrency or rate.

    Parameters
    ----------
    host, port : str, int
    scripts : sequence of sequence of bytes
        Encoded requests; sender ``i`` of `concurrency` sends those of ``scripts[i % len(scripts)]`` in order, again and
        again.
    sequences : sequence of sequence of SequenceRequest
        Takes the place of `scripts` for a model that keeps state: each sequence that is sent gets an id of its own, and
        is ended also where a request fails or the load stops.
    sequence_id : callable
        Encodes a sequence's id.
    first_sequence, sequence_stride : int
        The id of the first sequence, and how far apart ids are; `LoadGenerator.sending` sets both.
    concurrency : int
        Requests kept in flight (closed loop), or the most that may be (open loop).
    rate_per_s : float or None
        Requests sent per second; None for a closed loop.
    poisson : bool
        Whether the gaps between open-loop requests are exponential (else constant).
    seed : int
        Seed of the gaps.
    drain_s : float
        How long to wait at the end for requests in flight, in seconds.
    calls_per_connection : int
        How many requests may be in flight on one connection; more than one for HTTP/2 only.
    open_exchange : callable
        Makes the `Exchange` of a new connection; must be picklable.
    tls : Tls or None
        This client's certificates; None for connections without TLS.
    clean : callable
        Removes what requests carry as secrets from an error; must be picklable.
    """

    host: str
    port: int
    concurrency: int
    scripts: Sequence[Sequence[bytes]] = ()
    sequences: Sequence[Sequence[SequenceRequest]] = ()
    sequence_id: Callable[[int], bytes] = id_as_digits
    first_sequence: int = 0
    sequence_stride: int = 1
    rate_per_s: float | None = None
    poisson: bool = True
    seed: int = 0
    drain_s: float = 5.0
    calls_per_connection: int = 1
    open_exchange: Callable[[], Exchange] = Http1Exchange
    tls: Tls | None = None
    clean: Callable[[str], str] = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results since the last report; `end_s` and `latency_s` are in order of completion."""

    end_s: array[float]
    latency_s: array[float]
    errors: int
    first_error: str
    late: int  # open loop: requests sent more than a millisecond after they were due
    cpu_s: float  # processor time that the loop took
    wall_s: float  # time since the last report
    lost: bool  # the server can no longer be reached: the loop has ended
    due_s: array[float] = field(default_factory=lambda: array("d"))  # open loop: when requests were due
    load: int = 0  # number of the load, where several are sent at once
    streams: StreamTimings | None = None  # of a decoupled model: what the requests of `end_s` delivered
    responses: int = 0  # of a decoupled model: responses that arrived, also of requests that are in flight
