"""Run a worker in a process of its own, which reports to this one and ends with it."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, cast

from analyzer.errors import TritonpackError
from analyzer.load.child_process import start_child
from analyzer.servers.guard import PR_SET_PDEATHSIG
from analyzer.sweep.signals import signals_as_interrupts, signals_blocked, unblock_signals
from analyzer.sweep.turns import Event, EventKind, ResultStore

Work = Callable[[Any, Iterable[int], Any, ResultStore], None]
END_TIMEOUT_S = 30.0  # a server that hangs takes some seconds to end, a load generator as well
_STATUS_TIMEOUT_S = 5.0  # between the end of a process's pipe and its exit status


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process that does the turns that it is given the numbers of, and the pipe to it."""

    process: BaseProcess
    pipe: Connection

    def receive(self) -> Event:
        """Wait for the next event and return it; a process that is gone has died."""
        try:
            event: Event = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            return EventKind.DIED, self._why_gone()
        return event

    def answer(self, answer: Any) -> None:
        """Answer the last event, if the process is still there."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(answer)

    def _why_gone(self) -> str:
        self.process.join(_STATUS_TIMEOUT_S)
        status = self.process.exitcode
        if status is not None and status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return "ended without a reason" if status is None else f"ended with status {status}"


def start_process(worker: Any, work: Work) -> WorkerProcess:
    """Start a process that does work on a worker; see `run_worker`."""
    resource_tracker.ensure_running()  # if it started while signals are blocked, it would unblock them
    with signals_blocked():  # Ctrl-C also reaches the new process, which has no handlers yet
        return WorkerProcess(*start_child(run_worker, worker, work, os.getpid(), name="tritonpack-worker"))


def end_processes(processes: Iterable[WorkerProcess]) -> None:
    """End every process; a busy one drops its trial and stops its server."""
    processes = list(processes)
    for each in processes:
        each.pipe.close()
        each.process.terminate()
    for each in processes:
        each.process.join(END_TIMEOUT_S)
        if each.process.is_alive():
            each.process.kill()
            each.process.join()


def run_worker(pipe: Connection, worker: Any, work: Work, parent: int) -> None:
    """Work in a worker's process until there is nothing more to do, or its parent is gone."""
    with suppress(BrokenPipeError, ConnectionResetError, EOFError), signals_as_interrupts():
        # the thread that started this process waits for it, so that its end is the parent's end
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            return
        unblock_signals()
        failure = None
        try:
            work(worker, _receive_numbers(pipe), _PipeObserver(pipe), cast(ResultStore, _PipeStore(pipe)))
        except TritonpackError as error:
            failure = error
        pipe.send((EventKind.ENDED, failure))


def _receive_numbers(pipe: Connection) -> Iterator[int]:
    while True:
        pipe.send((EventKind.FREE, None))
        number = pipe.recv()
        if number is None:
            return
        yield number


class _PipeObserver:
    """An observer in a worker's process: every call of a method is sent to the parent, which repeats it there."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: self._pipe.send((EventKind.OBSERVED, (name, args, kwargs)))


class _PipeStore:
    """The store in a worker's process: every call is done by the parent, which alone writes to it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*args: Any, **kwargs: Any) -> Any:
            self._pipe.send((EventKind.STORE, (name, args, kwargs)))
            returned, refusal = self._pipe.recv()
            if refusal is not None:
                raise refusal
            return returned

        return ask
