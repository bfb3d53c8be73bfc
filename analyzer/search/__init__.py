"""What every search yields and returns, and the axes that it moves along.                                  [pure]

A search is a generator: it yields a `Trial` and is sent that trial's `Measurement`, measured now or found in the
store, so that an interrupted search tries the same trials when it is resumed.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from analyzer.measurements.record import Measurement, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search was after beyond its rows.

    Parameters
    ----------
    sought : str
        ``knee``, ``peak`` or ``instances``.
    about : Trial
        The model, its variant and the batch.
    found : Measurement or None
        The point; None where there is none.
    why : str
        Why there is none, or what bounds the point.
    """

    sought: str
    about: Trial
    found: Measurement | None
    why: str = ""


TrialSearch = Generator[Trial, Measurement, tuple[SearchResult, ...]]


class SearchMethod(StrEnum):
    """How concurrencies are chosen."""

    GRID = "grid"
    CLIMB = "climb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The points of a sweep.

    Parameters
    ----------
    batches, concurrencies : sequence of int
    request_rates_per_s : sequence of float
        Not empty for an open loop; the concurrencies then play no part.
    """

    batches: Sequence[int] = (1,)
    concurrencies: Sequence[int] = (1,)
    request_rates_per_s: Sequence[float] = ()

    def batches_for(self, max_batch_size: int | None) -> tuple[int, ...]:
        """Return the batches that a model takes: 1 alone where it does not batch, all where that is not known."""
        return tuple(b for b in self.batches if max_batch_size is None or b <= max(1, max_batch_size))

    def points(self, max_batch_size: int | None) -> int:
        """Count the trials of one variant."""
        return len(self.batches_for(max_batch_size)) * len(self.request_rates_per_s or self.concurrencies)


def at_rate(first: Trial, batch: int, rate_per_s: float) -> Trial:
    """Make the open-loop trial of a rate."""
    return replace(first, batch=batch, concurrency=0, request_rate_per_s=float(rate_per_s))
