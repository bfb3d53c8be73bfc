"""Read a device again and again beside the work, and hand out the readings of any window."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Self, TypeVar

from analyzer.devices import Reading, Sampler

Number = TypeVar("Number", int, float)

MAX_COST = 0.02  # of one processor's time, so that the recorder does not take what it measures
MAX_CREDIT_S = 0.1  # saved up by cheap readings for a costly one
KEPT_READINGS = 200_000  # an hour at 50 a second: longer than any one window


class CostBudget:
    """The processor time that reading may take: a share of the time that passes, some of which can be saved up.

    Parameters
    ----------
    now_s : float
        On any clock that goes on.
    """

    def __init__(self, now_s: float) -> None:
        self._credit_s = 0.0
        self._paid_s = now_s

    def pay(self, cost_s: float, now_s: float) -> None:
        """Take off what a reading cost."""
        self._credit_s = min(MAX_CREDIT_S, self._credit_s + (now_s - self._paid_s) * MAX_COST) - cost_s
        self._paid_s = now_s

    @property
    def wait_s(self) -> float:
        """How long to wait until what was paid is earned."""
        return max(0.0, -self._credit_s / MAX_COST)


class Recorder:
    """A context manager: inside, a thread reads the sampler at its period or as often as costs allow.

    Parameters
    ----------
    sampler : Sampler
        Not closed here; nothing else may read it meanwhile.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._readings: deque[Reading] = deque(maxlen=KEPT_READINGS)
        self._error: Exception | None = None
        self._budget = CostBudget(time.perf_counter())
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def lag_s(self) -> float:
        """How old what a reading shows may be."""
        return self._sampler.lag_s

    def between(self, start_s: float, end_s: float) -> list[Reading]:
        """The readings of a window, oldest first.

        Parameters
        ----------
        start_s, end_s : float
            Of `time.perf_counter`, both included.

        Raises
        ------
        DeviceError
            If the device went before the window had a reading. A window in which it went has those until then,
            for the server's end is told by the server.
        """
        found: list[Reading] = []
        with self._lock:
            for reading in reversed(self._readings):
                if reading.time_s < start_s:
                    break
                if reading.time_s <= end_s:
                    found.append(reading)
            if not found:
                self._raise_error()
        return found[::-1]

    def read_now(self) -> Reading:
        """Read the device at this moment; the reading is recorded too.

        Raises
        ------
        DeviceError
            If the device is gone.
        """
        with self._lock:
            self._read()
            self._raise_error()
            return self._readings[-1]

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopped.wait(wait_s):
            with self._lock:
                self._read()
                if self._error is not None:
                    return
                wait_s = max(self._sampler.period_s, self._budget.wait_s)

    def _read(self) -> None:
        if self._error is not None:
            return
        began_s = time.thread_time()
        try:
            self._readings.append(self._sampler.read())
        except Exception as error:  # kept for the caller: a thread has nobody to tell
            self._error = error
        self._budget.pay(time.thread_time() - began_s, time.perf_counter())

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def highest(values: Iterable[Number | None]) -> Number | None:
    """Return the largest known value; None where none is known."""
    return max((value for value in values if value is not None), default=None)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the known values; None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
