"""The load generator's event loop: one process, one thread, N connections.

It imports nothing beyond the standard library, so that its process starts in milliseconds. Between a response and the
next request it does as little as possible, so that the server is measured and not the client.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import random
import select
import signal
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection as Pipe
from time import perf_counter
from typing import TypeVar

from analyzer.load.connection import MANY_BYTES, Connection, Requests, Sender
from analyzer.load.http1 import HTTP1_CALL, SUCCESS
from analyzer.load.load import Load, Report
from analyzer.load.response_stream import StreamTimings
from analyzer.load.sequences import RepeatedRequests, SequenceRequests

Step = TypeVar("Step")

LATE_S = 0.001  # an open-loop request that leaves this much after it was due counts as late
_REPORT_PERIOD_S = 0.05
_CLOSED = "the server closed the connection"


class Loop:
    """Sends one `Load` until a message on the pipe says stop, and sends its reports through the pipe.

    Parameters
    ----------
    load : Load
    pipe : Connection
    number : int or None
        Number of the load among several that one process sends (`LoopsTogether`), which then listens on the pipe.
    """

    def __init__(self, load: Load, pipe: Pipe, number: int | None = None) -> None:
        self._load = load
        self._pipe = pipe
        self._number = number or 0
        self._epoll = select.epoll()
        if number is None:
            self._epoll.register(pipe.fileno(), select.EPOLLIN)
        self._context = None if load.tls is None else load.tls.context()
        self._connections: dict[int, Connection] = {}  # by descriptor
        self._places: list[Connection | None] = [None] * -(-load.concurrency // load.calls_per_connection)
        ids = itertools.count(load.first_sequence, load.sequence_stride)
        self._unused = deque(
            Sender(index // load.calls_per_connection, _requests(load, index, ids)) for index in range(load.concurrency)
        )
        self._idle: deque[Sender] = deque()  # have sent, and have no request in flight
        self._waiting: deque[float] = deque()  # due times of requests without a free sender
        self.stopped = False
        self._first_error = ""
        self._responses = 0  # of streams, that were reported
        self._clear()
        self._reported_s = perf_counter()
        self._reported_cpu_s = time.process_time()

    def run(self) -> None:
        """Send until told to stop or the server is lost; then wait for requests in flight."""
        try:
            self.start()
            if self._load.rate_per_s is None:
                while not self.stopped:
                    self._handle_events(self._epoll.poll(_REPORT_PERIOD_S), resend=True)
            else:
                while not self.stopped:
                    wait = self.send_due()
                    # epoll rounds its time-out up to whole milliseconds; select on its descriptor does not
                    ready = select.select([self._epoll], [], [], wait)[0]
                    self._handle_events(self._epoll.poll(0) if ready else [], resend=False)
            self.end()
        except OSError as error:
            self.lose(error)

    @property
    def descriptor(self) -> int:
        """The descriptor that is readable while there are events to handle."""
        return self._epoll.fileno()

    def start(self) -> None:
        """Send the first requests of a closed loop; in an open one, the first is due a little later."""
        if self._load.rate_per_s is None:
            while self._unused:
                self._send([self._unused.popleft()])
        self._gaps = random.Random(self._load.seed)  # noqa: S311 - arrivals, not secrets
        self._due_s = perf_counter() + 0.01

    def send_due(self) -> float:
        """Send what is due in an open loop; return how long to wait for events until the next is."""
        rate_per_s = self._load.rate_per_s
        if rate_per_s is None:
            return _REPORT_PERIOD_S
        now = perf_counter()
        while self._due_s <= now:
            self._waiting.append(self._due_s)
            self._was_due_s.append(self._due_s)
            self._due_s += self._gaps.expovariate(rate_per_s) if self._load.poisson else 1.0 / rate_per_s
        self._send_waiting()
        return max(0.0, min(self._due_s - perf_counter(), _REPORT_PERIOD_S))

    def handle_ready(self) -> None:
        """Handle the events that there are now."""
        self._handle_events(self._epoll.poll(0), resend=self._load.rate_per_s is None)

    def end(self) -> None:
        """Wait for requests in flight, then close."""
        self.stopped = True
        self._drain()
        self._close_all(lost=False)

    def lose(self, error: OSError) -> None:
        """Close, and report that the server can no longer be reached."""
        self._fail(f"{self._load.host}:{self._load.port} cannot be reached: {error.strerror or error}")
        self._close_all(lost=True)

    def _close_all(self, *, lost: bool) -> None:
        for connection in self._connections.values():
            connection.sock.close()
        self._epoll.close()
        self._report(lost=lost)

    def _send_waiting(self) -> None:
        while self._waiting and (self._idle or self._unused):
            sender = (self._idle or self._unused).popleft()
            due = self._waiting.popleft()
            self._send([sender])
            self._late += sender.since - due > LATE_S
            sender.since = due

    def _drain(self) -> None:
        """Wait for requests in flight, and end every sequence."""
        idle, self._idle = self._idle, deque()
        for sender in idle:
            self._rest(sender)
        deadline = perf_counter() + self._load.drain_s
        while any(c.in_flight for c in self._connections.values()) and perf_counter() < deadline:
            self._handle_events(self._epoll.poll(0.01), resend=False)

    def _handle_events(self, events: list[tuple[int, int]], *, resend: bool) -> None:
        """Handle the events that epoll returned, and send a report when one is due."""
        for descriptor, mask in events:
            connection = self._connections.get(descriptor)
            if connection is None:
                with contextlib.suppress(EOFError):
                    self._pipe.recv()
                self.stopped = True
                self._epoll.unregister(descriptor)
                continue
            if mask & select.EPOLLOUT:
                self._flush(connection)
            if mask != select.EPOLLOUT:
                self._receive(connection, resend=resend and not self.stopped)
        now = perf_counter()
        if now - self._reported_s >= _REPORT_PERIOD_S:
            self._report(lost=False)

    def _connect(self, place: int) -> Connection:
        load = self._load
        exchange = load.open_exchange()
        connection = Connection(load.host, load.port, place=place, exchange=exchange, context=self._context)
        self._places[place] = connection
        self._connections[connection.descriptor] = connection
        self._epoll.register(connection.descriptor, select.EPOLLIN)
        if preface := connection.exchange.preface():
            self._write(connection, preface)
        return connection

    def _send(self, senders: Sequence[Sender]) -> None:
        """Send the next requests of senders that have the same place."""
        place = senders[0].place
        connection = self._places[place] or self._connect(place)
        exchange, in_flight = connection.exchange, connection.in_flight
        data = b""
        for sender in senders:
            framed = exchange.frame(sender.requests.next())
            in_flight[exchange.call] = sender
            data = data + framed if data else framed
        now = perf_counter()
        for sender in senders:
            sender.since = now
        self._write(connection, data)

    def _rest(self, sender: Sender) -> None:
        """Let a sender wait for its next request; once the load has stopped, first end its sequence."""
        last = sender.requests.end() if self.stopped else None
        if last is None:
            self._idle.append(sender)
            return
        connection = self._places[sender.place] or self._connect(sender.place)
        data = connection.exchange.frame(last)
        connection.in_flight[connection.exchange.call] = sender
        self._write(connection, data)

    def _write(self, connection: Connection, data: bytes) -> None:
        if connection.unsent:
            connection.unsent = memoryview(bytes(connection.unsent) + data)
            return
        try:
            sent = connection.send(data)
        except (BlockingIOError, ConnectionError):  # epoll reports a closed connection next
            sent = 0
        if sent < len(data):
            connection.unsent = memoryview(data)[sent:]
            self._epoll.modify(connection.descriptor, select.EPOLLIN | select.EPOLLOUT)

    def _flush(self, connection: Connection) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection.unsent = connection.unsent[connection.send(connection.unsent) :]
        if not connection.unsent:
            self._epoll.modify(connection.descriptor, select.EPOLLIN)

    def _receive(self, connection: Connection, *, resend: bool) -> None:
        try:
            data = connection.receive(connection.receive_bytes)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        now = perf_counter()
        exchange = connection.exchange
        ended = exchange.feed(data) if data else self._break(connection)
        if ended is SUCCESS and connection.in_flight and resend and not exchange.closing:
            self._repeat(connection, now)
        else:
            self._settle(connection, ended, now, resend=resend)

    def _repeat(self, connection: Connection, received_s: float) -> None:
        """Note a success over HTTP/1.1 and send the next request: as `_settle`, but in less time."""
        sender = connection.in_flight[HTTP1_CALL]
        self._end_s.append(received_s)
        self._latency_s.append(received_s - sender.since)
        data = sender.requests.next()
        sender.since = perf_counter()
        self._write(connection, data)

    def _settle(
        self, connection: Connection, ended: Sequence[tuple[int, str]], received_s: float, *, resend: bool
    ) -> None:
        """Note the outcomes of calls, and send the next requests of their senders or let these wait."""
        exchange = connection.exchange
        if exchange.reply:
            self._write(connection, exchange.reply)
            exchange.reply = b""
        if not ended:
            connection.receive_bytes = MANY_BYTES
        senders = []
        for call, error in ended:
            sender = connection.in_flight.pop(call, None)
            if sender is None:  # a response to no request, such as a status 408 before an idle connection is closed
                exchange.closing = True
                continue
            if error:
                self._fail(error)
                sender.requests.fail()
            else:
                self._end_s.append(received_s)
                self._latency_s.append(received_s - sender.since)
                if exchange.responses is not None:
                    self._streams.add(exchange.responses, sender.since)
            senders.append(sender)
        if exchange.closing:
            self._leave(connection)
        if resend and senders:
            self._send(senders)
            return
        for sender in senders:
            self._rest(sender)

    def _break(self, connection: Connection) -> list[tuple[int, str]]:
        """End a connection that the server has closed; return the calls in flight on it, each with the error."""
        connection.exchange.closing = True
        return [(call, _CLOSED) for call in connection.in_flight]

    def _leave(self, connection: Connection) -> None:
        """Send nothing further on a connection, and close it once nothing is in flight on it."""
        if self._places[connection.place] is connection:
            self._places[connection.place] = None
        if not connection.in_flight:
            self._epoll.unregister(connection.descriptor)
            del self._connections[connection.descriptor]
            connection.sock.close()

    def _fail(self, text: str) -> None:
        self._errors += 1
        self._first_error = self._first_error or self._load.clean(text)

    def _clear(self) -> None:
        self._end_s = array("d")
        self._latency_s = array("d")
        self._was_due_s = array("d")
        self._streams = StreamTimings()
        self._errors = 0
        self._first_error = ""
        self._late = 0

    def _count_responses(self) -> int:
        """Count the responses on the connections that are open, of loads that time them."""
        exchanges = [connection.exchange for connection in self._connections.values()]
        return sum(exchange.responses.seen for exchange in exchanges if exchange.responses is not None)

    def _report(self, *, lost: bool) -> None:
        now, cpu_s = perf_counter(), time.process_time()
        before, self._responses = self._responses, self._count_responses()
        self._pipe.send(
            Report(
                end_s=self._end_s,
                latency_s=self._latency_s,
                due_s=self._was_due_s,
                errors=self._errors,
                first_error=self._first_error,
                late=self._late,
                cpu_s=cpu_s - self._reported_cpu_s,
                wall_s=now - self._reported_s,
                lost=lost,
                load=self._number,
                streams=self._streams if self._streams.responses else None,
                responses=max(0, self._responses - before),
            )
        )
        self._reported_s, self._reported_cpu_s = now, cpu_s
        self._clear()


def _requests(load: Load, index: int, ids: Iterator[int]) -> Requests:
    """Return what the sender with this index sends."""
    if load.sequences:
        return SequenceRequests(load.sequences[index % len(load.sequences)], ids, load.sequence_id)
    return RepeatedRequests(load.scripts[index % len(load.scripts)])


class LoopsTogether:
    """Sends several loads at once from one process, each as a `Loop` does by itself, until a message says stop."""

    def __init__(self, loads: Sequence[Load], pipe: Pipe) -> None:
        self._pipe = pipe
        self._loops = [Loop(load, pipe, number) for number, load in enumerate(loads)]
        self.stopped = False

    def run(self) -> None:
        """Send until told to stop or the server is lost; then wait for requests in flight."""
        running = dict(enumerate(self._loops))
        with select.epoll() as epoll:
            epoll.register(self._pipe.fileno(), select.EPOLLIN)
            by_descriptor = {loop.descriptor: number for number, loop in running.items()}
            for descriptor in by_descriptor:
                epoll.register(descriptor, select.EPOLLIN)
            self._each(running, Loop.start)
            while running and not self.stopped:
                wait = min(self._each(running, Loop.send_due), default=0.0)
                for descriptor, _ in epoll.poll(0) if select.select([epoll], [], [], wait)[0] else []:
                    if descriptor not in by_descriptor:
                        with contextlib.suppress(EOFError):
                            self._pipe.recv()
                        self.stopped = True
                self._each(running, Loop.handle_ready)
            self._each(running, Loop.end)

    def _each(self, running: dict[int, Loop], step: Callable[[Loop], Step]) -> list[Step]:
        """Take a step with every loop; one that loses its server ends, and the others go on."""
        results = []
        for number, loop in list(running.items()):
            try:
                results.append(step(loop))
            except OSError as error:
                loop.lose(error)
                del running[number]
        return results


def serve_loads(pipe: Pipe) -> None:
    """Run every `Load` that arrives through `pipe`, or several at once, each until the next message.

    Ends when the pipe closes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; the caller decides and closes the pipe
    gc.disable()  # nothing here makes cycles, and a collection would show up as latency
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            received = pipe.recv()
            loop = Loop(received, pipe) if isinstance(received, Load) else LoopsTogether(received, pipe)
            loop.run()
            if not loop.stopped:  # the server was lost: the caller's stop message is still to come
                pipe.recv()
            pipe.send(None)  # the load is over: nothing more of it follows
