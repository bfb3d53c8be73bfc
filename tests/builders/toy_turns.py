"""Turns that take no server: workers that log what they do, and die or fail where they are told to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from analyzer.errors import ServerError
from analyzer.measurements.record import Measurement
from analyzer.sweep.observer import Recording
from analyzer.sweep.turns import ResultStore
from tests.builders.measurements import measured


class Fate(StrEnum):
    """What becomes of a worker in a turn, after it measured."""

    KILLED = "killed"
    FAILS = "fails"
    BUG = "bug"


@dataclass(frozen=True, kw_only=True)
class ToyWorker:
    """A worker whose turns are files in a folder: a line for each time that one is begun.

    Parameters
    ----------
    fates : mapping of int to pair of int and Fate
        In how many of its first tries a turn ends so, by its number.
    turn_s : float
        How long a turn takes.
    """

    name: str
    folder: Path
    fates: Mapping[int, tuple[int, Fate]] = field(default_factory=dict)
    turn_s: float = 0.0

    @property
    def device(self) -> ToyWorker:
        """The worker itself, which describes its device."""
        return self

    def describe(self) -> str:
        """Return the name."""
        return self.name

    def begin(self, number: int) -> int:
        """Log that a turn is begun; return how often it was."""
        with (self.folder / str(number)).open("a") as log:
            log.write(f"{self.name} {os.getpid()}\n")
        return len(begun(self.folder, number))


def begun(folder: Path, number: int) -> list[tuple[str, int]]:
    """Return the worker and its process for each time that a turn was begun."""
    lines = (folder / str(number)).read_text().splitlines()
    return [(line.rpartition(" ")[0], int(line.rpartition(" ")[2])) for line in lines]


def processes(folder: Path) -> set[int]:
    """Return the processes of all workers that began a turn."""
    return {pid for file in folder.iterdir() for _, pid in begun(folder, int(file.name))}


def take_turns(worker: ToyWorker, numbers: Iterable[int], observer: Any, store: ResultStore) -> None:
    """Measure the model ``m<number>`` in each turn, unless the store has it; then meet its fate, if there is one."""
    for number in numbers:
        tries = worker.begin(number)
        made = measured(f"m{number}")
        found = store.find(made.trial, made.provenance)
        if found is None:
            try:
                store.append(made)
            except ServerError as error:
                observer.noted(f"refused: {error.message}")
        observer.trial_ended(found or made, found=found is not None)
        if worker.turn_s:
            time.sleep(worker.turn_s)
        until, fate = worker.fates.get(number, (0, Fate.FAILS))
        if tries <= until:
            if fate is Fate.KILLED:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ServerError("no server starts here") if fate is Fate.FAILS else ZeroDivisionError


@dataclass(slots=True)
class Followed(Recording):
    """An observer that keeps also which measurements were in the store."""

    found: list[Measurement] = field(default_factory=list)

    def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
        """Keep a measurement."""
        Recording.trial_ended(self, measurement, found=found)
        if found:
            self.found.append(measurement)
