"""Spread a sweep over several like devices: a process each, with a server of its own, that takes turn after turn.

Each process runs what a sweep on one device runs, and ends as that does. The turns are handed out one by one, so
that no device waits while there is work.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from analyzer.errors import ServerError, TritonpackError
from analyzer.interrupts import signals_as_interrupts, signals_held_back, take_signals
from analyzer.measurements.record import Measurement, ServerOnly
from analyzer.run import Audience, Job, Turn
from analyzer.search.grid import Answer
from analyzer.station import Station, run_station

_END_TIMEOUT_S = 30.0  # a server that hangs takes some seconds to end, a load generator as well


@dataclass(frozen=True, slots=True)
class _Member:
    process: BaseProcess
    pipe: Connection
    name: str


def run_on(stations: Sequence[Station], job: Job, audience: Audience) -> None:
    """Run every turn of a job on whichever station is free next.

    A station that fails leaves its turns to the others; the first failure is raised once they are done.

    Raises
    ------
    TritonpackError
        What a station failed of.
    """
    if len(stations) == 1:
        run_station(stations[0], job, job.turns, audience)
        return
    spawn = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # it would let the signals in, were it started while they are held back
    members: list[_Member] = []
    try:
        with signals_held_back():  # a Ctrl-C reaches the members too, before they have handlers
            for station in stations:
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=_work, args=(station, job, theirs), name="tritonpack-station")
                process.start()
                theirs.close()
                members.append(_Member(process, ours, station.device.describe()))
        _lead(members, iter(range(len(job.turns))), audience)
    finally:
        _dismiss(members)


def _lead(members: Sequence[_Member], turns: Iterator[int], audience: Audience) -> None:
    """Hand out turns and pass on what the members tell, until the last one has ended."""
    by_pipe = {member.pipe: member for member in members}
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
                getattr(audience, what)(*told[0], **told[1])
    if failure is not None:
        raise failure


def _dismiss(members: Sequence[_Member]) -> None:
    """End every member; one that is at work drops its trial, and its server."""
    for member in members:
        member.pipe.close()
        member.process.terminate()
    for member in members:
        member.process.join(_END_TIMEOUT_S)
        if member.process.is_alive():
            member.process.kill()
            member.process.join()


class _Relay:
    """An audience in another process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def watched(self, idle: ServerOnly) -> None:
        self._tell("watched", idle)

    def measured(self, measurement: Measurement, *, found: bool) -> None:
        self._tell("measured", measurement, found=found)

    def answered(self, answer: Answer) -> None:
        self._tell("answered", answer)

    def said(self, text: str) -> None:
        self._tell("said", text)

    def _tell(self, what: str, *args: Any, **kwargs: Any) -> None:
        self._pipe.send((what, (args, kwargs)))


def _work(station: Station, job: Job, pipe: Connection) -> None:
    """Run turns in a process of its own until there are no more, or whoever hands them out is gone."""
    with suppress(BrokenPipeError, ConnectionResetError, EOFError), signals_as_interrupts():
        failure = None
        take_signals()
        try:
            run_station(station, job, _turns(job, pipe), _Relay(pipe))
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
