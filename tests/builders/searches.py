"""Run a search against a simulated model."""

from __future__ import annotations

from collections.abc import Callable

from analyzer.measurements.record import Measurement, Provenance, Status, Trial
from analyzer.search import SearchResult, TrialSearch

PROVENANCE = Provenance(
    device_name="d", device_uuid="u", device_memory_bytes=1, driver=None, server="s", tool_version="t", model_hash="h"
)


def made(
    trial: Trial, rate: float | None = None, p99_s: float | None = None, *, status: Status = Status.OK
) -> Measurement:
    """Make a measurement with a throughput of `rate` inferences/s over 10 s."""
    requests = None if rate is None else round(rate / trial.batch * 10)
    return Measurement(
        trial=trial,
        provenance=PROVENANCE,
        status=status,
        throughput_infer_per_s=rate,
        latency_p99_s=p99_s,
        requests=requests,
        window_s=10.0,
    )


def play(search: TrialSearch, model: Callable[[Trial], Measurement]) -> tuple[list[Trial], tuple[SearchResult, ...]]:
    """Run a search to its end; return its trials and its results."""
    tried = []
    try:
        trial = next(search)
        while True:
            tried.append(trial)
            trial = search.send(model(trial))
    except StopIteration as end:
        return tried, tuple(end.value)
