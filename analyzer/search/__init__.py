"""What all searches share: the values to try, the form of a search, and its result.                        [pure]

A search is a generator: it yields a `Trial` and is sent that trial's `Measurement`, measured now or found in the
store, so that an interrupted search tries the same trials when it is resumed.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from analyzer.measurements.record import Measurement, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search found: the knee of a model, its peak request rate, or its number of instances.

    Parameters
    ----------
    sought : str
        ``knee``, ``peak`` or ``instances``.
    about : Trial
        Names the model, its variant and the batch.
    found : Measurement or None
        The trial that was found; None if there is none.
    why : str
        Why there is none, or what limits the one found.
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
    """The values that a sweep tries, crossed with each other.

    Parameters
    ----------
    batches, concurrencies : sequence of int
        Batch sizes, and numbers of requests in flight.
    request_rates_per_s : sequence of float
        Requests per second of an open loop; if there are any, the concurrencies are not used.
    input_lengths, output_lengths : sequence of int
        Tokens of each request of a language model, and tokens that are asked of it; empty where they are not set.
    """

    batches: Sequence[int] = (1,)
    concurrencies: Sequence[int] = (1,)
    request_rates_per_s: Sequence[float] = ()
    input_lengths: Sequence[int] = ()
    output_lengths: Sequence[int] = ()

    @property
    def lengths(self) -> list[tuple[int | None, int | None]]:
        """Every input length with every output length, in ascending order; one pair of None where none are set."""
        return list(itertools.product(sorted(self.input_lengths) or (None,), sorted(self.output_lengths) or (None,)))

    def batches_for(self, max_batch_size: int | None) -> tuple[int, ...]:
        """Return the batches that a model takes: only 1 if it does not batch, all if its largest is not known."""
        return tuple(b for b in self.batches if max_batch_size is None or b <= max(1, max_batch_size))

    def points(self, max_batch_size: int | None) -> int:
        """Count the trials of one variant at one pair of lengths."""
        return len(self.batches_for(max_batch_size)) * len(self.request_rates_per_s or self.concurrencies)


def at_rate(first: Trial, batch: int, rate_per_s: float) -> Trial:
    """Return `first` as an open-loop trial at a batch size and a request rate."""
    return replace(first, batch=batch, concurrency=0, request_rate_per_s=float(rate_per_s))
