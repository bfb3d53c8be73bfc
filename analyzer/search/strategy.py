"""How one model is searched: by grid or climb, and then for its peak request rate.                            [pure]"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from analyzer.measurements.record import Measurement, Status, Trial
from analyzer.search import Axes, SearchMethod, SearchResult, TrialSearch
from analyzer.search.grid import grid
from analyzer.search.knee import climb
from analyzer.search.peak_rate import find_peak, min_window_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How one model is searched.

    Parameters
    ----------
    axes : Axes
    method : SearchMethod
    max_concurrency, max_instances : int
        The largest that a climb tries; with `max_instances` 1 the number of instances is not raised.
    latency_p99_s : float or None
        The p99 budget of a climb and of the peak.
    find_peak : bool
        Whether the highest rate within the budget is sought too.
    arrivals : str
        ``poisson`` or ``constant``: the gaps between requests that are sent at a rate.
    """

    axes: Axes = field(default_factory=Axes)
    method: SearchMethod = SearchMethod.GRID
    max_concurrency: int = 1024
    max_instances: int = 1
    latency_p99_s: float | None = None
    find_peak: bool = False
    arrivals: str = "poisson"

    def min_window_s(self, trial: Trial) -> float:
        """Return the shortest window with which the peak search can judge a trial; 0 for other trials."""
        if not self.find_peak or self.latency_p99_s is None or trial.request_rate_per_s is None:
            return 0.0
        return min_window_s(trial.request_rate_per_s, self.latency_p99_s)

    @property
    def is_exact(self) -> bool:
        """Whether `points` is exact, and no estimate for a search."""
        return self.method is SearchMethod.GRID and not self.find_peak and self.max_instances == 1

    def points(self, max_batch_size: int | None) -> int:
        """Count the trials of one variant: exactly for a grid, approximately for a search."""
        batches = len(self.axes.batches_for(max_batch_size))
        closed = self.axes.points(max_batch_size)
        if self.method is SearchMethod.CLIMB:
            closed = batches * (self.max_concurrency.bit_length() + 2)
        points = closed + (7 * batches if self.find_peak else 0)
        return points * len(self.axes.lengths) * self.max_instances.bit_length()


def search(first: Trial, strategy: Strategy, max_batch_size: int | None) -> TrialSearch:
    """Search one variant of a model by a strategy, at each pair of lengths by itself.

    Parameters
    ----------
    first : Trial
        The model and its variant.
    max_batch_size : int or None
        The variant's largest batch; None if it is not known.
    """
    results: list[SearchResult] = []
    for input_length, output_length in strategy.axes.lengths:
        about = replace(first, input_length=input_length, output_length=output_length)
        seen: list[Measurement] = []
        results += yield from _noted(_search_at(about, strategy, max_batch_size), seen)
        if any(measurement.status is Status.LOAD_FAILED for measurement in seen):
            break
    return tuple(results)


def _search_at(first: Trial, strategy: Strategy, max_batch_size: int | None) -> TrialSearch:
    """Search at the lengths of `first`."""
    axes = strategy.axes
    at_rates = replace(first, arrivals=strategy.arrivals)
    if strategy.method is SearchMethod.CLIMB:
        budget = strategy.latency_p99_s
        inner = climb(first, axes, max_batch_size, max_concurrency=strategy.max_concurrency, latency_p99_s=budget)
    else:
        inner = grid(at_rates if axes.request_rates_per_s else first, axes, max_batch_size)
    if not strategy.find_peak or strategy.latency_p99_s is None:
        return (yield from inner)
    closed: list[Measurement] = []
    answers = list((yield from _noted(inner, closed)))
    for batch in sorted({measurement.trial.batch for measurement in closed}):
        rates = [
            m.throughput_infer_per_s / batch for m in closed if m.trial.batch == batch and m.throughput_infer_per_s
        ]
        if rates:
            answers += yield from find_peak(at_rates, batch, max(rates), strategy.latency_p99_s)
        else:
            about = replace(first, batch=batch)
            answers.append(SearchResult(sought="peak", about=about, found=None, why="no closed-loop trial has figures"))
    return tuple(answers)


def _noted(inner: TrialSearch, seen: list[Measurement]) -> TrialSearch:
    """Run the search `inner`, and append every measurement that it is sent to `seen`."""
    try:
        trial = next(inner)
        while True:
            measurement = yield trial
            seen.append(measurement)
            trial = inner.send(measurement)
    except StopIteration as end:
        return tuple(end.value)
