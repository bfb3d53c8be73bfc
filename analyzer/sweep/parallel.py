"""Spread work over the devices that there are, which are of one kind, with a process and a server for each.

Each process runs the same code as on one device. A free process gets the next piece of work, such as a variant of a
model, so that no device waits while there is work.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from analyzer.devices.choose import MeasuredDevice
from analyzer.errors import ServerError, TritonpackError
from analyzer.load.generator import LoadGenerator
from analyzer.load.shared_memory import PREFIX
from analyzer.measurements.store import Store
from analyzer.servers import Server
from analyzer.servers.changes import Changes
from analyzer.servers.remote_control import RemoteControl
from analyzer.statistics.verdict import StoppingRule
from analyzer.sweep.instrumented_server import InstrumentedServer, OpenControl, open_control
from analyzer.sweep.job import Job, ModelVariant
from analyzer.sweep.observer import Observer
from analyzer.sweep.runner import SweepRunner
from analyzer.sweep.signals import signals_as_interrupts, signals_blocked, unblock_signals

Observes = TypeVar("Observes")
_END_TIMEOUT_S = 30.0  # a server that hangs takes some seconds to end, a load generator as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One server on one device with a load generator; the record can be sent to another process.

    Parameters
    ----------
    repository : Path
    store : str or Path
        The file or URL of the store.
    fresh : bool
        Whether to measure again what the store already has.
    load_timeout_s : float
    client_processes : int or None
        See `LoadGenerator`.
    flags : mapping of str to str
        The command line's flag of each option, for the causes that are stored; empty for the names in Python.
    remote : str or None
        ``host:port`` of a server that was running before, and that is left as it was found; None for one of our own.
    allow_reload : bool
        Whether models that others loaded there may be unloaded and loaded again.
    """

    server: Server
    device: MeasuredDevice
    repository: Path
    store: str | Path
    rule: StoppingRule
    fresh: bool
    load_timeout_s: float
    client_processes: int | None
    flags: Mapping[str, str]
    remote: str | None = None
    allow_reload: bool = False

    def run(self, job: Job, variants: Iterable[ModelVariant], observer: Observer) -> None:
        """Start the server, measure the variants, and leave nothing running.

        Raises
        ------
        ServerError, DeviceError, StoreError
            See `SweepRunner.run`.
        """
        with Store.open(self.store) as store, self.serving(observer.noted) as (server, generator):
            runner = SweepRunner(
                job,
                server,
                store,
                generator,
                rule=self.rule,
                fresh=self.fresh,
                alike=self.device.alike,
                flags=self.flags,
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
            endpoint.http, changes, allow_reload=self.allow_reload, timeout_s=timeout_s
        )


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that says each text once."""
    said: set[str] = set()

    def once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return once


@dataclass(frozen=True, slots=True)
class _WorkerProcess:
    process: BaseProcess
    pipe: Connection
    name: str


def run_job(workers: Sequence[Worker], job: Job, observer: Observer) -> None:
    """Measure every variant of a job on the next worker that is free; see `spread`."""
    spread(workers, len(job.model_variants), partial(_run_variants, job), observer)


def _run_variants(job: Job, worker: Worker, numbers: Iterable[int], observer: Observer) -> None:
    variants = job.model_variants
    worker.run(job, (variants[number] for number in numbers), observer)


def spread(
    workers: Sequence[Worker], count: int, work: Callable[[Worker, Iterable[int], Observes], None], observer: Observes
) -> None:
    """Do numbered pieces of work, each on the next worker that is free.

    If a worker fails, the others do the remaining pieces; the first failure is raised once they are done.

    Parameters
    ----------
    count : int
        Number of pieces; a piece has a number below it.
    work : callable
        Does the pieces whose numbers it is given on a worker, and calls the observer's methods meanwhile. With several
        workers it is sent to a process for each, as are the arguments of those calls.

    Raises
    ------
    TritonpackError
        If a worker failed.
    """
    if len(workers) == 1:
        work(workers[0], range(count), observer)
        return
    spawn = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # if it started while signals are blocked, it would unblock them
    started: list[_WorkerProcess] = []
    try:
        with signals_blocked():  # Ctrl-C also reaches the new processes, which have no handlers yet
            for worker in workers:
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=_run_worker, args=(worker, work, theirs), name="tritonpack-worker")
                process.start()
                theirs.close()
                started.append(_WorkerProcess(process, ours, worker.device.describe()))
        _hand_out(iter(range(count)), started, observer)
    finally:
        _end(started)


def _hand_out(indices: Iterator[int], workers: Sequence[_WorkerProcess], observer: object) -> None:
    """Send each free worker the next index and pass their events to the observer, until the last one has ended."""
    by_pipe = {worker.pipe: worker for worker in workers}
    failure: TritonpackError | None = None
    while by_pipe:
        for pipe in wait(list(by_pipe)):
            assert isinstance(pipe, Connection)  # noqa: S101 - no other kind was given
            try:
                event, content = pipe.recv()
            except EOFError:
                failure = failure or ServerError(f"the work on {by_pipe[pipe].name} ended without a reason")
                del by_pipe[pipe]
                continue
            if event == "free":
                pipe.send(next(indices, None))
            elif event == "ended":
                failure = failure or content
                del by_pipe[pipe]
            else:
                getattr(observer, event)(*content[0], **content[1])
    if failure is not None:
        raise failure


def _end(workers: Sequence[_WorkerProcess]) -> None:
    """End every worker; a busy one drops its trial and stops its server."""
    for worker in workers:
        worker.pipe.close()
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_END_TIMEOUT_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


class _PipeObserver:
    """An observer in a worker's process: every call of a method is sent to the main process, which repeats it there."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __getattr__(self, event: str) -> Callable[..., None]:
        return lambda *args, **kwargs: self._pipe.send((event, (args, kwargs)))


def _run_worker(worker: Worker, work: Callable[[Worker, Iterable[int], Any], None], pipe: Connection) -> None:
    """Work in a worker's process until there is nothing more to do, or the main process is gone."""
    with suppress(BrokenPipeError, ConnectionResetError, EOFError), signals_as_interrupts():
        failure = None
        unblock_signals()
        try:
            work(worker, _receive_numbers(pipe), _PipeObserver(pipe))
        except TritonpackError as error:
            failure = error
        pipe.send(("ended", failure))


def _receive_numbers(pipe: Connection) -> Iterator[int]:
    while True:
        pipe.send(("free", None))
        number = pipe.recv()
        if number is None:
            return
        yield number
