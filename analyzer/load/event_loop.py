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
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe

from analyzer.load.connection import Connection, Requests
from analyzer.load.load import Load, Report
from analyzer.load.sequences import RepeatedRequests, SequenceRequests

LATE_S = 0.001  # an open-loop request that leaves this much after it was due counts as late
_REPORT_PERIOD_S = 0.05
_RECEIVE_BYTES = 1 << 16  # glibc maps and unmaps memory for buffers of 128 KiB and more: 13 us a call
_CLOSED = "the server closed the connection"


class Loop:
    """Sends one `Load` until a message on the pipe says stop, and sends its reports through the pipe."""

    def __init__(self, load: Load, pipe: Pipe) -> None:
        self._load = load
        self._pipe = pipe
        self._epoll = select.epoll()
        self._epoll.register(pipe.fileno(), select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._free = deque(range(load.concurrency))  # unused connection indices
        ids = itertools.count(load.first_sequence, load.sequence_stride)
        self._requests = [_requests(load, index, ids) for index in range(load.concurrency)]  # outlive a connection
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()  # due times of requests without a free connection
        self.stopped = False
        self._first_error = ""
        self._clear()
        self._reported_s = time.perf_counter()
        self._reported_cpu_s = time.process_time()

    def run(self) -> None:
        """Send until told to stop or the server is lost; then wait for requests in flight."""
        lost = False
        try:
            if self._load.rate_per_s is None:
                self._run_closed()
            else:
                self._run_open(self._load.rate_per_s)
            self._drain()
        except OSError as error:
            lost = True
            self._fail(f"{self._load.host}:{self._load.port} cannot be reached: {error.strerror or error}")
        finally:
            for connection in self._connections.values():
                connection.sock.close()
            self._epoll.close()
        self._report(lost=lost)

    def _run_closed(self) -> None:
        for _ in range(self._load.concurrency):
            self._send(self._connect(), time.perf_counter())
        while not self.stopped:
            self._handle_events(self._epoll.poll(_REPORT_PERIOD_S), resend=True)

    def _run_open(self, rate_per_s: float) -> None:
        gaps = random.Random(self._load.seed)  # noqa: S311 - arrivals, not secrets
        due = time.perf_counter() + 0.01
        while not self.stopped:
            now = time.perf_counter()
            while due <= now:
                self._waiting.append(due)
                due += gaps.expovariate(rate_per_s) if self._load.poisson else 1.0 / rate_per_s
            self._send_waiting()
            # epoll rounds its time-out up to whole milliseconds; select on its descriptor does not
            wait = max(0.0, min(due - time.perf_counter(), _REPORT_PERIOD_S))
            ready = select.select([self._epoll], [], [], wait)[0]
            self._handle_events(self._epoll.poll(0) if ready else [], resend=False)

    def _send_waiting(self) -> None:
        while self._waiting:
            if self._idle:
                connection = self._idle.popleft()
            elif self._free:
                connection = self._connect()
            else:
                return
            due = self._waiting.popleft()
            self._late += time.perf_counter() - due > LATE_S
            self._send(connection, due)

    def _drain(self) -> None:
        """Wait for requests in flight, and end every sequence."""
        idle, self._idle = self._idle, deque()
        for connection in idle:
            self._rest(connection)
        deadline = time.perf_counter() + self._load.drain_s
        while len(self._connections) > len(self._idle) and time.perf_counter() < deadline:
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
            if mask & ~select.EPOLLOUT:
                self._receive(connection, resend=resend and not self.stopped)
        now = time.perf_counter()
        if now - self._reported_s >= _REPORT_PERIOD_S:
            self._report(lost=False)

    def _connect(self) -> Connection:
        index, load = self._free.popleft(), self._load
        connection = Connection(
            load.host, load.port, index=index, exchange=load.open_exchange(), requests=self._requests[index]
        )
        self._connections[connection.descriptor] = connection
        self._epoll.register(connection.descriptor, select.EPOLLIN)
        if preface := connection.exchange.preface():
            self._write(connection, preface)
        return connection

    def _send(self, connection: Connection, since: float) -> None:
        connection.busy = True
        connection.since = since
        self._write(connection, connection.exchange.frame(connection.requests.next()))

    def _rest(self, connection: Connection) -> None:
        """Let a connection wait for its next request; once the load has stopped, first end its sequence."""
        last = connection.requests.end() if self.stopped else None
        if last is None:
            self._idle.append(connection)
            return
        connection.busy = True
        self._write(connection, connection.exchange.frame(last))

    def _write(self, connection: Connection, data: bytes) -> None:
        if connection.unsent:
            connection.unsent = memoryview(bytes(connection.unsent) + data)
            return
        try:
            sent = connection.sock.send(data)
        except (BlockingIOError, ConnectionError):  # epoll reports a closed connection next
            sent = 0
        if sent < len(data):
            connection.unsent = memoryview(data)[sent:]
            self._epoll.modify(connection.descriptor, select.EPOLLIN | select.EPOLLOUT)

    def _flush(self, connection: Connection) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection.unsent = connection.unsent[connection.sock.send(connection.unsent) :]
        if not connection.unsent:
            self._epoll.modify(connection.descriptor, select.EPOLLIN)

    def _receive(self, connection: Connection, *, resend: bool) -> None:
        try:
            data = connection.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        now = time.perf_counter()
        exchange = connection.exchange
        outcome = exchange.feed(data) if data else _CLOSED
        if exchange.reply:
            self._write(connection, exchange.reply)
            exchange.reply = b""
        if outcome is None:
            return
        if not connection.busy:  # the server closes an idle connection, or sends data unasked
            self._idle.remove(connection)
            self._close(connection)
            return
        connection.busy = False
        if outcome:
            self._fail(outcome)
            connection.requests.fail()
        else:
            self._end_s.append(now)
            self._latency_s.append(now - connection.since)
        if exchange.closing or not data:
            self._close(connection)
            if not resend:
                return
            connection = self._connect()
        if resend:
            self._send(connection, time.perf_counter())
        else:
            self._rest(connection)

    def _close(self, connection: Connection) -> None:
        self._epoll.unregister(connection.descriptor)
        del self._connections[connection.descriptor]
        self._free.appendleft(connection.index)
        connection.sock.close()

    def _fail(self, text: str) -> None:
        self._errors += 1
        self._first_error = self._first_error or text

    def _clear(self) -> None:
        self._end_s = array("d")
        self._latency_s = array("d")
        self._errors = 0
        self._first_error = ""
        self._late = 0

    def _report(self, *, lost: bool) -> None:
        now, cpu_s = time.perf_counter(), time.process_time()
        self._pipe.send(
            Report(
                end_s=self._end_s,
                latency_s=self._latency_s,
                errors=self._errors,
                first_error=self._first_error,
                late=self._late,
                cpu_s=cpu_s - self._reported_cpu_s,
                wall_s=now - self._reported_s,
                lost=lost,
            )
        )
        self._reported_s, self._reported_cpu_s = now, cpu_s
        self._clear()


def _requests(load: Load, index: int, ids: Iterator[int]) -> Requests:
    """Return what the connection with this index sends."""
    if load.sequences:
        return SequenceRequests(load.sequences[index % len(load.sequences)], ids, load.sequence_id)
    return RepeatedRequests(load.scripts[index % len(load.scripts)])


def serve_loads(pipe: Pipe) -> None:
    """Run every `Load` that arrives through `pipe`, each until the next message; end when the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; the caller decides and closes the pipe
    gc.disable()  # nothing here makes cycles, and a collection would show up as latency
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            loop = Loop(pipe.recv(), pipe)
            loop.run()
            if not loop.stopped:  # the server was lost: the caller's stop message is still to come
                pipe.recv()
            pipe.send(None)  # the load is over: nothing more of it follows
