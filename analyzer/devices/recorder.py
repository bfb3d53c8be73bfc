"""Read a device repeatedly in a thread, and return the readings of any window."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Self, TypeVar

from analyzer.devices import Reading, Sampler

Number = TypeVar("Number", int, float)

MAX_COST = 0.02  # share of one processor's time, so that the recorder hardly slows the server down
MAX_CREDIT_S = 0.1  # processor time that cheap readings can save for an expensive one
KEPT_READINGS = 200_000  # an hour at 50 per second: longer than any one window


class CostBudget:
    """Limits the processor time of readings to a share of the elapsed time, of which `MAX_CREDIT_S` can be saved.

    Parameters
    ----------
    now_s : float
        Start time, by any monotonic clock.
    """

    def __init__(self, now_s: float) -> None:
        self._credit_s = 0.0
        self._paid_s = now_s

    def pay(self, cost_s: float, now_s: float) -> None:
        """Subtract the processor time of a reading from the budget."""
        self._credit_s = min(MAX_CREDIT_S, self._credit_s + (now_s - self._paid_s) * MAX_COST) - cost_s
        self._paid_s = now_s

    @property
    def wait_s(self) -> float:
        """Time until the budget is no longer overdrawn, in seconds."""
        return max(0.0, -self._credit_s / MAX_COST)


class Recorder:
    """A context manager; inside it, a thread reads the sampler at its period, or less often if readings are expensive.

    Parameters
    ----------
    sampler : Sampler
        It is not closed by the recorder; nothing else may read it meanwhile.
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
        """The greatest age of the values in a reading, in seconds."""
        return self._sampler.lag_s

    def between(self, start_s: float, end_s: float) -> list[Reading]:
        """Return the readings of a window, oldest first.

        Parameters
        ----------
        start_s, end_s : float
            Limits of the window by `time.perf_counter`, both included.

        Raises
        ------
        DeviceError
            If the device was lost before the window had a reading. If it was lost during the window, the readings
            until then are returned, since `RunningServer.death` reports the end of a server.
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
        """Read the device now; the reading is recorded too.

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
        except Exception as error:  # kept for the next call of `between` or `read_now`, which raises it
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
