"""Spread work over the devices that there are, which are of one kind, with a process and a server for each.

Each process runs the same code as on one device. A free process gets the next piece of work, such as a variant of a
model, so that no device waits while there is work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Self, TypeVar

from analyzer.devices.choose import MeasuredDevice
from analyzer.load.generator import LoadGenerator
from analyzer.load.shared_memory import PREFIX
from analyzer.measurements.store import Store
from analyzer.servers import Server
from analyzer.servers.address import ServerAddress
from analyzer.servers.changes import Changes
from analyzer.servers.remote_control import RemoteControl
from analyzer.statistics.verdict import StoppingRule
from analyzer.sweep.instrumented_server import InstrumentedServer, OpenControl, open_control
from analyzer.sweep.job import Job, ModelVariant
from analyzer.sweep.observer import Observer
from analyzer.sweep.runner import SweepRunner
from analyzer.sweep.turns import Event, EventKind, PoolWorker, ResultStore, Turn, hand_out
from analyzer.sweep.worker_process import END_TIMEOUT_S, Work, WorkerProcess, end_processes, start_process

Observes = TypeVar("Observes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One server on one device with a load generator; the record can be sent to another process.

    Parameters
    ----------
    repository : Path
    fresh : bool
        Whether to measure again what the store already has.
    load_timeout_s : float
    client_processes : int or None
        See `LoadGenerator`.
    flags : mapping of str to str
        The command line's flag of each option, for the causes that are stored; empty for the names in Python.
    remote : ServerAddress or None
        Address of a server that was running before, and that is left as it was found; None for one of our own.
    allow_reload : bool
        Whether models that others loaded there may be unloaded and loaded again.
    cores : tuple of int
        Processors for the server and the load generator; empty for all that this process may use.
    """

    server: Server
    device: MeasuredDevice
    repository: Path
    rule: StoppingRule
    fresh: bool
    load_timeout_s: float
    client_processes: int | None
    flags: Mapping[str, str]
    remote: ServerAddress | None = None
    allow_reload: bool = False
    cores: tuple[int, ...] = ()

    def run(self, job: Job, variants: Iterable[ModelVariant], observer: Observer, store: ResultStore) -> None:
        """Start the server, measure the variants, and leave nothing running.

        Raises
        ------
        ServerError, DeviceError, StoreError
            See `SweepRunner.run`.
        """
        with self.serving(observer.noted) as (server, generator):
            runner = SweepRunner(
                job,
                server,
                store,
                generator,
                rule=self.rule,
                fresh=self.fresh,
                alike=self.device.alike,
                flags=self.flags,
                cores=len(self.cores),
                observer=observer,
            )
            runner.run(variants)

    @contextmanager
    def serving(self, say: Callable[[str], None]) -> Iterator[tuple[InstrumentedServer, LoadGenerator]]:
        """Start the server and the load generator; on exit nothing is left running.

        Parameters
        ----------
        say : callable
            Receives remarks on what cannot be read, in one line each.
        """
        with ExitStack() as stack:
            if self.cores:
                stack.enter_context(_on_cores(self.cores))
            server = stack.enter_context(
                InstrumentedServer(
                    self.server,
                    self.repository,
                    gpus=self.device.uuids,
                    open_sampler=partial(self.device.open_sampler, say=_once(say)),
                    load_timeout_s=self.load_timeout_s,
                    open_control=self._open_control(stack),
                )
            )
            yield server, stack.enter_context(LoadGenerator(self.client_processes))

    def _open_control(self, stack: ExitStack) -> OpenControl:
        """Return what opens the control client of a server; a remote one is left as it was found when `stack` ends."""
        if self.remote is None:
            return open_control
        changes = stack.enter_context(Changes(self.remote, shm_prefix=f"{PREFIX}{os.getpid()}_"))
        return lambda endpoint, timeout_s: RemoteControl(
            endpoint.control, changes, allow_reload=self.allow_reload, timeout_s=timeout_s
        )


@contextmanager
def _on_cores(cores: tuple[int, ...]) -> Iterator[None]:
    """Keep this thread, and the processes that it starts meanwhile, to some processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that says each text once."""
    said: set[str] = set()

    def once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return once


def run_job(workers: Sequence[Worker], job: Job, observer: Observer, store: Store) -> None:
    """Measure every variant of a job on the next worker that is free; see `spread`."""
    spread(workers, len(job.model_variants), partial(run_variants, job), observer, store)


def run_variants(job: Job, worker: Worker, numbers: Iterable[int], observer: Observer, store: ResultStore) -> None:
    """Measure the variants of a job with these numbers."""
    variants = job.model_variants
    worker.run(job, (variants[number] for number in numbers), observer, store)


def spread(
    workers: Sequence[Worker],
    count: int,
    work: Callable[[Worker, Iterable[int], Observes, ResultStore], None],
    observer: Observes,
    store: Store,
) -> None:
    """Do numbered pieces of work, each on the next worker that is free.

    If a worker dies or fails, its piece is tried once more on another, and the others do the remaining pieces.

    Parameters
    ----------
    count : int
        Number of pieces; a piece has a number below it.
    work : callable
        Does the pieces whose numbers it is given on a worker, and calls the observer's and the store's methods
        meanwhile. With several workers it is sent to a process for each, as are the arguments of those calls; the store
        is written in this process alone.

    Raises
    ------
    TritonpackError
        If a piece was not done.
    """
    if len(workers) == 1:
        work(workers[0], range(count), observer, store)
        return
    with ProcessPool(workers, work) as pool:
        hand_out(pool, [Turn(number=number) for number in range(count)], observer, store)


class ProcessPool:
    """A context manager: a process of this host for each worker; they have ended when it ends.

    Parameters
    ----------
    workers : sequence of Worker
    work : callable
        See `spread`.
    """

    def __init__(self, workers: Sequence[Any], work: Work) -> None:
        self._given = {PoolWorker(name=worker.device.describe()): worker for worker in workers}
        self._work = work
        self._running: dict[PoolWorker, WorkerProcess] = {}

    def __enter__(self) -> Self:
        try:
            for worker in self._given:
                self._start(worker)
        except BaseException:
            end_processes(self._running.values())
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        end_processes(self._running.values())

    @property
    def workers(self) -> Sequence[PoolWorker]:
        """The workers that were started."""
        return tuple(self._given)

    def wait(self) -> Sequence[tuple[PoolWorker, Event]]:
        """Return the next event of each process that has one; see `Pool`."""
        ready = wait([running.pipe for running in self._running.values()])
        return [(worker, self._receive(worker)) for worker, one in list(self._running.items()) if one.pipe in ready]

    def answer(self, worker: PoolWorker, answer: Any) -> None:
        """Answer a worker's last event; see `Pool`."""
        self._running[worker].answer(answer)

    def restart(self, worker: PoolWorker) -> bool:
        """Start a worker's process again; see `Pool`."""
        self._start(worker)
        return True

    def _start(self, worker: PoolWorker) -> None:
        self._running[worker] = start_process(self._given[worker], self._work)

    def _receive(self, worker: PoolWorker) -> Event:
        event = self._running[worker].receive()
        if event[0] in (EventKind.ENDED, EventKind.DIED):
            self._running.pop(worker).process.join(END_TIMEOUT_S)
        return event
