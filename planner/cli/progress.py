"""Progress of a search on stderr, and the Ctrl-C that ends it with the best plan so far."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

_EVERY_S = 0.5  # at most two lines a second


class Progress:
    """Tells on stderr how a search comes on, and remembers whether it was asked to stop.

    Parameters
    ----------
    value : callable
        Writes a solver's objective for people.
    """

    def __init__(self, value: Callable[[int], str] = str, *, quiet: bool = False) -> None:
        self.stopped = False
        self._value = value
        self._quiet = quiet
        self._start = self._told = time.monotonic()
        self._last = ""
        self._in_place = sys.stderr.isatty()

    def __call__(self, objective: int | None, lower_bound: int, stage: str) -> None:
        """Tell where the search is; `planner.solver.solve.Progress`."""
        now = time.monotonic()
        if self._quiet or now - self._told < _EVERY_S:
            return
        best = "no plan yet" if objective is None else f"best {self._value(objective)}"
        text = f"{best}, at least {self._value(lower_bound)}, {stage}"
        if text != self._last:
            self._told, self._last = now, text
            line = f"{now - self._start:5.1f} s  {text}"
            click.echo(f"\r\033[K{line}" if self._in_place else line, err=True, nl=not self._in_place)

    def stop(self) -> bool:
        """Whether the search was asked to end."""
        return self.stopped

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the first Ctrl-C as the wish for the best plan so far, a second one as the end."""
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            if self._in_place and self._last:
                click.echo(err=True)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        click.echo("\nstopping; the best plan so far follows (Ctrl-C again ends at once)", err=True)
