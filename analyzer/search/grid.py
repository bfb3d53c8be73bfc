"""What to measure of one model, in which order, and what a result rules out.                               [pure]

A search is a generator: it yields a `Trial` and is sent that trial's `Measurement`, measured now or found in the
store, so that an interrupted search takes the same course when it is resumed.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from analyzer.measurements.record import Measurement, Status, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
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


Search = Generator[Trial, Measurement, tuple[Answer, ...]]


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


def grid(first: Trial, axes: Axes, max_batch_size: int | None) -> Search:
    """Try every batch at every concurrency (or rate), from the lightest to the heaviest.

    A model that cannot be loaded ends it. Out of memory rules out larger batches; a hang rules out whatever is at
    least as heavy in both.

    Parameters
    ----------
    first : Trial
        The model and its variant.
    max_batch_size : int or None
        The model's own; larger batches are left out.
    """
    hung: list[tuple[int, float]] = []
    for batch in sorted(axes.batches_for(max_batch_size)):
        ran_out = False
        for load in sorted(axes.request_rates_per_s or axes.concurrencies):
            if any(batch >= hung_batch and load >= hung_load for hung_batch, hung_load in hung):
                continue
            measurement = yield _at(first, axes, batch, load)
            if measurement.status is Status.LOAD_FAILED:
                return ()
            if measurement.status is Status.TIMED_OUT:
                hung.append((batch, load))
            ran_out = ran_out or measurement.status is Status.OUT_OF_MEMORY
        if ran_out:
            break
    return ()


def at_rate(first: Trial, batch: int, rate_per_s: float) -> Trial:
    """Make the open-loop trial of a rate."""
    return replace(first, batch=batch, concurrency=0, request_rate_per_s=float(rate_per_s))


def _at(first: Trial, axes: Axes, batch: int, load: float) -> Trial:
    if axes.request_rates_per_s:
        return at_rate(first, batch, load)
    return replace(first, batch=batch, concurrency=int(load))
