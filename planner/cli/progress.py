"""Progress of a search on stderr, and the Ctrl-C that ends it with the best plan so far."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from planner.formulation.formulate import Formulation
from planner.formulation.objective import from_units
from planner.planning import OnProgress

_EVERY_S = 0.5  # at most two lines a second


class Progress:
    """Reports on stderr how far a search is, and remembers whether Ctrl-C asked it to stop."""

    def __init__(self) -> None:
        self.stopped = False
        self._start = self._told = time.monotonic()
        self._last = ""
        self._in_place = sys.stderr.isatty()

    def of(self, formulation: Formulation) -> OnProgress:
        """Return the function that a search for the plan of this formulation reports to."""
        unit, divisor = formulation.request.rules.objective.unit, formulation.cost_divisor

        def written(value: int) -> str:
            return f"{from_units(value, divisor):g} {unit}"

        return lambda objective, lower_bound, stage: self._tell(
            "no plan yet" if objective is None else f"best {written(objective)}", written(lower_bound), stage
        )

    def _tell(self, best: str, lower_bound: str, stage: str) -> None:
        now = time.monotonic()
        if now - self._told < _EVERY_S:
            return
        text = f"{best}, at least {lower_bound}, {stage}"
        if text != self._last:
            self._told, self._last = now, text
            line = f"{now - self._start:5.1f} s  {text}"
            click.echo(f"\r\033[K{line}" if self._in_place else line, err=True, nl=not self._in_place)

    def stop(self) -> bool:
        """Whether the search was asked to stop."""
        return self.stopped

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Stop the search at the first Ctrl-C, which gives the best plan so far; end the program at the second."""
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
