"""Whoever follows a sweep, and the one that keeps all it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from analyzer.measurements.record import Measurement, ServerOnly
from analyzer.search import SearchResult


class Observer(Protocol):
    """Whoever follows a sweep."""

    def idle_measured(self, idle: ServerOnly) -> None:
        """Take the server's figures before any model."""

    def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
        """Take a measurement as it is made, or `found` in the store."""

    def search_ended(self, result: SearchResult) -> None:
        """Take what a search was after."""

    def noted(self, text: str) -> None:
        """Take a remark in one line."""


@dataclass(slots=True)
class Recording:
    """An observer that keeps everything, in the order in which it was told."""

    idle: list[ServerOnly] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    search_results: list[SearchResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def idle_measured(self, idle: ServerOnly) -> None:
        """Keep the server's figures before any model."""
        self.idle.append(idle)

    def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
        """Keep a measurement."""
        self.measurements.append(measurement)

    def search_ended(self, result: SearchResult) -> None:
        """Keep what a search was after."""
        self.search_results.append(result)

    def noted(self, text: str) -> None:
        """Keep a remark."""
        self.notes.append(text)
