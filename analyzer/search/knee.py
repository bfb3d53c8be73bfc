"""Find a model's knee in few trials: raise the concurrency until that no longer pays, then narrow down.      [pure]"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

from analyzer.formats.units import counted, within_limit
from analyzer.measurements.record import Measurement, Status, Trial
from analyzer.search import Axes, SearchResult, TrialSearch

GAIN = 0.05  # a step that adds less throughput than this, a trial's default precision, counts as no gain
FLAT_STEPS = 2  # steps in a row without gain that end the climb: a single one may be noise
NARROW = 1.25  # the knee lies between two concurrencies tried that differ by this factor at most …
MOST_NARROWINGS = 4  # … or the search ends after this many more trials, as noise may keep moving the knee


def climb(
    first: Trial, axes: Axes, max_batch_size: int | None, *, max_concurrency: int, latency_p99_s: float | None
) -> TrialSearch:
    """Try 1, 2, 4, 8, … requests in flight for each batch, until throughput stops growing or p99 passes the budget.

    The climb of a batch ends when two steps in a row gain less than 5 % over the best so far, when p99 is above
    `latency_p99_s`, when a trial fails, or at `max_concurrency`. The knee is the lowest concurrency that delivers
    95 % of the best throughput within the budget; it is narrowed down by trying geometric means.

    A model that cannot be loaded ends the search. Out of memory rules out larger batches; a hang bounds the
    concurrency of larger batches.

    Returns
    -------
    tuple of SearchResult
        The knee of each batch.
    """
    answers: list[SearchResult] = []
    ceiling = max_concurrency
    for batch in sorted(axes.batches_for(max_batch_size)):
        about = replace(first, batch=batch)
        tried = yield from _climb_batch(about, ceiling, latency_p99_s)
        answers.append(_answer(about, tried, ceiling, latency_p99_s))
        statuses = {measurement.status for measurement in tried.values()}
        if statuses & {Status.LOAD_FAILED, Status.OUT_OF_MEMORY}:
            break
        hung = [concurrency for concurrency, m in tried.items() if m.status is Status.TIMED_OUT]
        ceiling = min([ceiling, *(concurrency - 1 for concurrency in hung)])
        if ceiling < 1:
            break
    return tuple(answers)


def more_instances(
    levels: Sequence[Sequence[Measurement]], most: int, latency_p99_s: float | None, free_memory_bytes: int | None
) -> SearchResult | int:
    """Return the next number of instances to climb with, or the result if more would not pay or not fit.

    The number is doubled as long as that adds 5 % to the best throughput within the budget, and as long as their
    memory, assumed to be proportional to their number, is free on the device.

    Parameters
    ----------
    levels : sequence of sequence of Measurement
        The measurements with each number of instances, in the order tried; no level is empty.
    most : int
        Largest number of instances to try.
    latency_p99_s : float or None
        The p99 budget in seconds.
    free_memory_bytes : int or None
        Free memory of the device without the model; None if it is not known.
    """

    def answer(found: Measurement | None, why: str) -> SearchResult:
        return SearchResult(sought="instances", about=levels[0][0].trial, found=found, why=why)

    *earlier, latest = (_best(level, latency_p99_s) for level in levels)
    before = max((m for m in earlier if m is not None), key=_rate, default=None)
    count = levels[-1][-1].instances
    these = counted(count, "instance")
    if latest is None:
        failures = [m.cause for m in levels[-1] if not m.status.measured]
        return answer(before, f"{these}: {failures[0] if failures else 'no trial kept the p99 budget'}")
    if before is not None and _rate(latest) < (1 + GAIN) * _rate(before):
        return answer(before, f"{these} changed throughput by {_rate(latest) / _rate(before) - 1:+.0%}")
    if count >= most:
        return answer(latest, f"`max_instances` is {most}")
    twice = min(2 * count, most)
    needed_bytes = twice / count * max(m.model_memory_bytes or 0 for m in levels[-1])
    if free_memory_bytes is not None and needed_bytes > free_memory_bytes:
        need = f"{counted(twice, 'instance')} would need {needed_bytes / 2**20:,.0f} MiB"
        return answer(latest, f"{need}, and {free_memory_bytes / 2**20:,.0f} MiB are free")
    return twice


def within_budget(measurement: Measurement, latency_p99_s: float | None) -> bool:
    """Whether a trial has figures, and its p99 is within the budget."""
    if not measurement.status.measured or measurement.latency_p99_s is None:
        return False
    return latency_p99_s is None or within_limit(measurement.latency_p99_s, latency_p99_s)


def knee(tried: Mapping[int, Measurement], latency_p99_s: float | None) -> int | None:
    """Return the lowest concurrency that delivers 95 % of the best throughput within the budget."""
    good = _good(tried, latency_p99_s)
    best = max((_rate(tried[concurrency]) for concurrency in good), default=0.0)
    return next((concurrency for concurrency in good if _rate(tried[concurrency]) >= (1 - GAIN) * best), None)


def _climb_batch(
    about: Trial, ceiling: int, latency_p99_s: float | None
) -> Generator[Trial, Measurement, dict[int, Measurement]]:
    tried: dict[int, Measurement] = {}
    concurrency, flat, best = 1, 0, 0.0
    while True:
        measurement = tried[concurrency] = yield replace(about, concurrency=concurrency)
        if not within_budget(measurement, latency_p99_s):
            break
        flat = flat + 1 if _rate(measurement) < (1 + GAIN) * best else 0
        best = max(best, _rate(measurement))
        if flat == FLAT_STEPS or concurrency == ceiling:
            break
        concurrency = min(2 * concurrency, ceiling)
    if measurement.status is Status.LOAD_FAILED:
        return tried
    for _ in range(MOST_NARROWINGS):
        between = _around_knee(tried, latency_p99_s)
        if between is None:
            break
        low, high = between
        middle = min(max(round(math.sqrt(low * high)), low + 1), high - 1)
        tried[middle] = yield replace(about, concurrency=middle)
    return tried


def _around_knee(tried: Mapping[int, Measurement], latency_p99_s: float | None) -> tuple[int, int] | None:
    """Return the two concurrencies tried between which the knee may still move; None where it is narrow enough."""
    at = knee(tried, latency_p99_s)
    if at is None:
        return None
    good = _good(tried, latency_p99_s)
    above = [concurrency for concurrency in sorted(tried) if concurrency > good[-1]]
    below = [concurrency for concurrency in good if concurrency < at]
    if at == good[-1] and above:  # throughput still grew when the budget was passed
        low, high = at, above[0]
    elif below:
        low, high = below[-1], at
    else:
        return None
    return (low, high) if high - low > 1 and high > NARROW * low else None


def _best(level: Sequence[Measurement], latency_p99_s: float | None) -> Measurement | None:
    return max((m for m in level if within_budget(m, latency_p99_s)), key=_rate, default=None)


def _good(tried: Mapping[int, Measurement], latency_p99_s: float | None) -> Sequence[int]:
    return [concurrency for concurrency in sorted(tried) if within_budget(tried[concurrency], latency_p99_s)]


def _rate(measurement: Measurement) -> float:
    return measurement.throughput_infer_per_s or 0.0


def _answer(about: Trial, tried: Mapping[int, Measurement], ceiling: int, latency_p99_s: float | None) -> SearchResult:
    at = knee(tried, latency_p99_s)
    if at is None:
        lowest = tried[min(tried)]
        why = "the trial at concurrency 1 failed"
        if lowest.status.measured and lowest.latency_p99_s is not None:
            why = f"concurrency 1 already has a p99 latency of {lowest.latency_p99_s * 1e3:.3g} ms"
        return SearchResult(sought="knee", about=about, found=None, why=why)
    good = _good(tried, latency_p99_s)
    why = ""
    if at == good[-1]:
        above = [tried[concurrency] for concurrency in sorted(tried) if concurrency > at]
        if not above:
            why = f"throughput still grew at concurrency {ceiling}" if at == ceiling else ""
        elif above[0].status.measured:
            why = "the p99 budget bounds it"
        else:
            why = f"concurrency {above[0].trial.concurrency} failed"
    return SearchResult(sought="knee", about=about, found=tried[at], why=why)
