"""Run a job on one device, or on several like ones: a process each, with a server of its own, that takes turns.

Each process runs what a sweep on one device runs, and ends as that does. The turns are handed out one by one, so
that no device waits while there is work.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from analyzer.devices.choose import MeasuredDevice
from analyzer.errors import ServerError, TritonpackError
from analyzer.load.generator import LoadGenerator
from analyzer.measurements.record import Measurement, ServerOnly
from analyzer.measurements.store import Store
from analyzer.search import SearchResult
from analyzer.servers import Server
from analyzer.statistics.verdict import StoppingRule
from analyzer.sweep.instrumented_server import InstrumentedServer
from analyzer.sweep.job import Job, Turn
from analyzer.sweep.observer import Observer
from analyzer.sweep.runner import SweepRunner
from analyzer.sweep.signals import signals_as_interrupts, signals_held_back, take_signals

_END_TIMEOUT_S = 30.0  # a server that hangs takes some seconds to end, a load generator as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One server on one device with a load generator; the record can be sent to another process.

    Parameters
    ----------
    repository : Path
    store : str or Path
        Where measurements are found and kept.
    fresh : bool
        Whether what the store has is measured all the same.
    load_timeout_s : float
    client_processes : int or None
        See `LoadGenerator`.
    flags : mapping of str to str
        The command line's names of options, for the causes that are stored; empty for Python's.
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

    def run(self, job: Job, turns: Iterable[Turn], observer: Observer) -> None:
        """Start the server, run the turns, and leave nothing running.

        Raises
        ------
        ServerError, DeviceError, StoreError
            As `SweepRunner.run`.
        """
        server = InstrumentedServer(
            self.server,
            self.repository,
            gpus=self.device.uuids,
            open_sampler=self.device.open_sampler,
            load_timeout_s=self.load_timeout_s,
        )
        with Store.open(self.store) as store, server, LoadGenerator(self.client_processes) as generator:
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
            runner.run(turns)


@dataclass(frozen=True, slots=True)
class _WorkerProcess:
    process: BaseProcess
    pipe: Connection
    name: str


def run_job(workers: Sequence[Worker], job: Job, observer: Observer) -> None:
    """Run every turn of a job on whichever worker is free next.

    A worker that fails leaves its turns to the others; the first failure is raised once they are done.

    Raises
    ------
    TritonpackError
        What a worker failed of.
    """
    if len(workers) == 1:
        workers[0].run(job, job.turns, observer)
        return
    spawn = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # it would let the signals in, were it started while they are held back
    started: list[_WorkerProcess] = []
    try:
        with signals_held_back():  # a Ctrl-C reaches the processes too, before they have handlers
            for worker in workers:
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=_run_worker, args=(worker, job, theirs), name="tritonpack-worker")
                process.start()
                theirs.close()
                started.append(_WorkerProcess(process, ours, worker.device.describe()))
        _hand_out(iter(range(len(job.turns))), started, observer)
    finally:
        _end(started)


def _hand_out(turns: Iterator[int], workers: Sequence[_WorkerProcess], observer: Observer) -> None:
    """Give each free worker its next turn and pass on what they tell, until the last one has ended."""
    by_pipe = {worker.pipe: worker for worker in workers}
    failure: TritonpackError | None = None
    while by_pipe:
        for pipe in wait(list(by_pipe)):
            assert isinstance(pipe, Connection)  # noqa: S101 - no other kind was given
            try:
                what, told = pipe.recv()
            except EOFError:
                failure = failure or ServerError(f"the sweep on {by_pipe[pipe].name} ended without a word")
                del by_pipe[pipe]
                continue
            if what == "free":
                pipe.send(next(turns, None))
            elif what == "ended":
                failure = failure or told
                del by_pipe[pipe]
            else:
                getattr(observer, what)(*told[0], **told[1])
    if failure is not None:
        raise failure


def _end(workers: Sequence[_WorkerProcess]) -> None:
    """End every worker; one that is at work drops its trial, and its server."""
    for worker in workers:
        worker.pipe.close()
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_END_TIMEOUT_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


class _PipeObserver:
    """Passes what a worker's process observes to the process that handed out its turns."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def idle_measured(self, idle: ServerOnly) -> None:
        self._tell("idle_measured", idle)

    def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
        self._tell("trial_ended", measurement, found=found)

    def search_ended(self, result: SearchResult) -> None:
        self._tell("search_ended", result)

    def noted(self, text: str) -> None:
        self._tell("noted", text)

    def _tell(self, what: str, *args: Any, **kwargs: Any) -> None:
        self._pipe.send((what, (args, kwargs)))


def _run_worker(worker: Worker, job: Job, pipe: Connection) -> None:
    """Run turns in a process of its own until there are no more, or whoever hands them out is gone."""
    with suppress(BrokenPipeError, ConnectionResetError, EOFError), signals_as_interrupts():
        failure = None
        take_signals()
        try:
            worker.run(job, _turns(job, pipe), _PipeObserver(pipe))
        except TritonpackError as error:
            failure = error
        pipe.send(("ended", failure))


def _turns(job: Job, pipe: Connection) -> Iterator[Turn]:
    while True:
        pipe.send(("free", None))
        index = pipe.recv()
        if index is None:
            return
        yield job.turns[index]
