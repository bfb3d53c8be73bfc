"""The grid search: every batch size at every concurrency, or at every request rate.                        [pure]"""

from __future__ import annotations

from dataclasses import replace

from analyzer.measurements.record import Status, Trial
from analyzer.search import Axes, TrialSearch, at_rate


def grid(first: Trial, axes: Axes, max_batch_size: int | None) -> TrialSearch:
    """Try every batch at every concurrency (or rate), from the lightest to the heaviest.

    A model that cannot be loaded ends the search. Out of memory rules out larger batches; a hang rules out every point
    whose batch and load are both at least as large.

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


def _at(first: Trial, axes: Axes, batch: int, load: float) -> Trial:
    if axes.request_rates_per_s:
        return at_rate(first, batch, load)
    return replace(first, batch=batch, concurrency=int(load))
