"""The load generator: processes that keep a number of requests in flight, or send a number per second.

The event loop (`analyzer.load.event_loop`) runs in processes of its own, so that it shares its interpreter
lock neither with the sampler nor with the caller. They are started once and serve every trial of a sweep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Self

from analyzer.errors import ServerError
from analyzer.load.child_process import start_child
from analyzer.load.event_loop import serve_loads
from analyzer.load.load import Load, Report
from analyzer.load.sequences import IDS_OF_A_LOAD, first_id

_CLOSE_TIMEOUT_S = 2.0
_ENDED = "a load generator process ended; was it out of memory?"


@dataclass(frozen=True, slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection


class LoadGenerator:
    """A context manager that runs the load generator's processes; they end with the ``with`` block.

    Parameters
    ----------
    processes : int or None
        Number of event loops that share the load; one sends tens of thousands of requests per second. None starts
        with one and lets `grow` add more.
    """

    def __init__(self, processes: int | None = None) -> None:
        self._most = processes or max(1, len(os.sched_getaffinity(0)) // 2)  # the server needs the other half
        self._workers: list[_Worker] = []
        self._next_sequence = first_id()
        self._start(processes or 1)

    def _start(self, processes: int) -> None:
        for _ in range(processes):
            self._workers.append(_Worker(*start_child(serve_loads, name="tritonpack-load", daemon=True)))

    def _replace_dead(self) -> None:
        """Start a new process for each that has ended, such as one that was killed for lack of memory."""
        alive = [worker for worker in self._workers if worker.process.is_alive()]
        dead = len(self._workers) - len(alive)
        self._workers = alive
        self._start(dead)

    def grow(self, connections: int) -> bool:
        """Double the processes, to half of this host's processors or one per connection; return whether any started."""
        more = min(2 * len(self._workers), self._most, connections) - len(self._workers)
        self._start(more)  # none where it is negative
        return more > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(_CLOSE_TIMEOUT_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    @contextmanager
    def sending(self, load: Load) -> Iterator[Stream]:
        """Send `load` inside the ``with`` block; on exit stop and wait for requests in flight.

        Raises
        ------
        ServerError
            If a load generator process ends.
        """
        self._replace_dead()
        shares = _split(self._with_own_sequences(load), len(self._workers))
        with self._streaming([(w, share) for w, share in zip(self._workers, shares, strict=True) if share]) as stream:
            yield stream

    @contextmanager
    def sending_together(self, loads: Sequence[Load]) -> Iterator[Stream]:
        """Send several loads at once inside the ``with`` block, from one event loop; see `sending`.

        `Report.load` says which load a report is about. Each load has gaps of its own between its requests.
        """
        self._replace_dead()
        own = tuple(replace(self._with_own_sequences(load), seed=load.seed + i) for i, load in enumerate(loads))
        with self._streaming([(self._workers[0], own)]) as stream:
            yield stream

    def _with_own_sequences(self, load: Load) -> Load:
        """Return a load whose sequences get ids that no other load has."""
        first = self._next_sequence
        self._next_sequence += IDS_OF_A_LOAD
        return replace(load, first_sequence=first)

    @contextmanager
    def _streaming(self, shares: Sequence[tuple[_Worker, Load | tuple[Load, ...]]]) -> Iterator[Stream]:
        """Have processes send their shares of a load inside the ``with`` block."""
        active = [worker.pipe for worker, _ in shares]
        try:
            for worker, share in shares:
                _send(worker.pipe, share)
            yield Stream(active)
        finally:
            for pipe in active:
                try:
                    pipe.send("stop")
                    while pipe.recv() is not None:
                        pass
                except (EOFError, ConnectionError):
                    continue


def _send(pipe: Connection, share: Load | tuple[Load, ...]) -> None:
    try:
        pipe.send(share)
    except ConnectionError:
        raise ServerError(_ENDED) from None


class Stream:
    """The reports of a load that is being sent."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    def receive(self, timeout_s: float) -> list[Report]:
        """Wait up to `timeout_s` for reports and return those that arrived; empty if none did.

        Raises
        ------
        ServerError
            If a load generator process is gone.
        """
        reports: list[Report] = []
        ready = wait(self._pipes, timeout_s)
        for pipe in self._pipes:
            if pipe not in ready:
                continue
            try:
                report = pipe.recv()
            except (EOFError, ConnectionError):
                raise ServerError(_ENDED) from None
            if report is not None:
                reports.append(report)
        return reports


def _split(load: Load, processes: int) -> list[Load | None]:
    """Divide a load's concurrency and rate among the processes; None for a process that has nothing to send."""
    shares: list[Load | None] = []
    for i in range(processes):
        concurrency = load.concurrency // processes + (i < load.concurrency % processes)
        rate = None if load.rate_per_s is None else load.rate_per_s / processes
        share = replace(
            load,
            concurrency=concurrency,
            rate_per_s=rate,
            scripts=load.scripts[i::processes] or load.scripts,
            sequences=load.sequences[i::processes] or load.sequences,
            first_sequence=load.first_sequence + i,
            sequence_stride=processes,
            seed=load.seed + i,
        )
        shares.append(share if concurrency else None)
    return shares
