"""The interface `Observer`, which receives the events of a sweep, and `Recording`, which keeps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from analyzer.measurements.record import Measurement, ServerOnly
from analyzer.search import SearchResult


class Observer(Protocol):
    """Receives the events of a sweep."""

    def idle_measured(self, idle: ServerOnly) -> None:
        """Receive the server's figures before any model is loaded."""

    def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
        """Receive a measurement that was made now, or `found` in the store."""

    def search_ended(self, result: SearchResult) -> None:
        """Receive the result of a search."""

    def noted(self, text: str) -> None:
        """Receive a remark in one line."""


@dataclass(slots=True)
class Recording:
    """An observer that keeps everything, in the order in which it was received."""

    idle: list[ServerOnly] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    search_results: list[SearchResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _awaited: tuple[int, Callable[[], None]] | None = None

    def call_after(self, trials: int, call: Callable[[], None]) -> None:
        """Have `call` called when this many trials have been received."""
        self._awaited = trials, call

    def idle_measured(self, idle: ServerOnly) -> None:
        """Keep the server's figures before any model is loaded."""
        self.idle.append(idle)

    def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
        """Keep a measurement."""
        self.measurements.append(measurement)
        if self._awaited is not None and len(self.measurements) == self._awaited[0]:
            self._awaited[1]()

    def search_ended(self, result: SearchResult) -> None:
        """Keep the result of a search."""
        self.search_results.append(result)

    def noted(self, text: str) -> None:
        """Keep a remark."""
        self.notes.append(text)
