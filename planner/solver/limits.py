"""Limits of a search in one record: time, seed, threads, stop request; and calls of compiled code that keep to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

Result = TypeVar("Result")
Item = TypeVar("Item")

POLL_S = 0.05


class LimitsReached(Exception):  # noqa: N818
    """A search ran out of time, or was stopped, before it had anything to return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """Limits of a search; the time starts when the record is made.

    Parameters
    ----------
    seconds : float
        Time of the search; then the best plan so far is returned.
    seed : int
        Seed of the randomised parts of the search.
    workers : int
        Threads; with one, the same problem gives the same plan where it is proven in time.
    stop : callable or None
        Asked several times a second; once it returns True, the best plan so far is returned.

    Examples
    --------
    >>> from planner import SearchLimits
    >>> limits = SearchLimits(seconds=30, seed=1)
    >>> limits.over, limits.within(5).seconds, SearchLimits(stop=lambda: True).over
    (False, 5, True)
    """

    seconds: float = 60.0
    seed: int = 0
    workers: int = 1
    stop: Callable[[], bool] | None = None
    deadline_s: float = field(init=False, repr=False, compare=False)  # of time.monotonic

    def __post_init__(self) -> None:
        object.__setattr__(self, "deadline_s", time.monotonic() + self.seconds)

    @property
    def left_s(self) -> float:
        """Seconds left; 0 once the search is to stop."""
        if self.stop is not None and self.stop():
            return 0.0
        return max(0.0, self.deadline_s - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the time is used up, or the search is to stop."""
        return self.left_s <= 0.0

    def within(self, seconds: float) -> Self:
        """Return the limits of a part of the search that may take `seconds` at most."""
        return replace(self, seconds=min(seconds, self.left_s))

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """Go through items until the limits are reached.

        Raises
        ------
        LimitsReached
            Before the next item, once they are reached.
        """
        for item in items:
            if self.over:
                raise LimitsReached
            yield item

    def at_least(self, seconds: float) -> Self:
        """Return limits that are reached when these are, but not before `seconds` from now."""
        until = time.monotonic() + seconds
        return replace(self, seconds=max(self.left_s, seconds), stop=lambda: self.over and time.monotonic() >= until)


@contextmanager
def interrupts_as_such() -> Iterator[None]:
    """Raise KeyboardInterrupt where numba raises SystemError from it: Ctrl-C came as a compiled function returned."""
    try:
        yield
    except SystemError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            cause = cause.__cause__
        raise


def run_interruptibly(call: Callable[[], Result], interrupt: Callable[[], Any], limits: SearchLimits) -> Result:
    """Run compiled code that releases the GIL, and interrupt it once the limits are reached, or on Ctrl-C.

    Parameters
    ----------
    call : callable
        Must return soon after it was interrupted.
    interrupt : callable
        Asks the call, from another thread, to return; called repeatedly until it has returned.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            failure.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, name="tritonpack-search", daemon=True)
    thread.start()
    try:
        while not done.wait(POLL_S):
            if limits.over:
                interrupt()
    except BaseException:  # Ctrl-C where no handler turns it into a stop request
        while not done.wait(POLL_S):
            interrupt()
        raise
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
