"""One trial end to end: load on a loaded model while the device is recorded → Measurement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from analyzer.devices import Reading
from analyzer.devices.recorder import Recorder
from analyzer.load.event_loop import Load, Report
from analyzer.load.generator import LoadGenerator
from analyzer.measurements.record import Measurement, Provenance, Status, Trial
from analyzer.statistics.verdict import (
    CLIENT_BOUND,
    Patience,
    disagreement,
    error_text,
    failure_status,
    hopeless,
    is_out_of_memory,
    judge,
    settled,
    too_little,
)
from analyzer.timings import Seen, Timings

Number = TypeVar("Number", int, float)

_RECEIVE_TIMEOUT_S = 0.2
_GROWTH = 1.15  # the window is judged each time it has grown by this much: looking all the time would stop on luck
_GIVE_UP_ERRORS = 10  # failures without a single success that end a trial
_DEATH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What is known of a model since before it was loaded: it is part of each of its measurements.

    Parameters
    ----------
    server_memory_bytes : int or None
        On the device before the load.
    load_peak_memory_bytes, steady_memory_bytes : int or None
        Highest while loading, and at rest after it, both with the server.
    server_process_bytes : int or None
        What a GPU's driver charged to the server's processes before the load.
    """

    provenance: Provenance
    server_memory_bytes: int | None
    load_peak_memory_bytes: int | None
    steady_memory_bytes: int | None
    server_process_bytes: int | None = None


def measure_trial(
    trial: Trial,
    load: Load,
    model: LoadedModel,
    *,
    generator: LoadGenerator,
    recorder: Recorder,
    death: Callable[[], str | None],
    patience: Patience,
) -> Measurement:
    """Send `load` until its figures are sure enough, and join them with what the device showed meanwhile.

    A trial in which the load generator is the limit is measured again with more processes where there can be more.

    Parameters
    ----------
    death : callable
        Says why the server is gone, None while it runs.

    Returns
    -------
    Measurement
        Failures of the model or the server are statuses, not exceptions.
    """
    while True:
        began_s = time.perf_counter()
        with generator.sending(load) as stream:
            timings, seen, failure = _watch(trial, stream.receive, death, patience)
        if failure is not None or timings.busiest_client <= CLIENT_BOUND or not generator.grow(load.concurrency):
            break
    status, cause = failure or (Status.OK, "")
    under_load = recorder.between(began_s, time.perf_counter())
    run_peak = highest(reading.memory_bytes for reading in under_load)  # of the warm-up too: it has to fit as well
    readings = seen.within(under_load, lag_s=recorder.lag_s)
    if failure is None and seen.window is not None:
        left_out_s = seen.gaps.total_s
        status, cause = judge(
            seen.window, timings.busiest_client, readings, patience, left_out_s=left_out_s, spoiled=seen.spoiled
        )
        process_peak = highest(reading.process_memory_bytes for reading in under_load)
        cause = cause or disagreement(run_peak, model.server_memory_bytes, process_peak, model.server_process_bytes)
    return _measurement(trial, model, status, cause, seen, timings, run_peak, readings)


def _watch(
    trial: Trial, receive: Callable[[float], list[Report]], death: Callable[[], str | None], patience: Patience
) -> tuple[Timings, Seen, tuple[Status, str] | None]:
    """Collect reports until the window is good, time is up or the trial has failed."""
    timings, concurrency, open_loop = Timings(), trial.concurrency or 1, trial.request_rate_per_s is not None
    seen = timings.summarize(concurrency, open_loop=open_loop)
    began_s = progress_s = time.perf_counter()
    look_s = began_s + patience.min_window_s
    while True:
        completed = len(timings.end_s)
        timings.add(receive(_RECEIVE_TIMEOUT_S))
        now = time.perf_counter()
        if len(timings.end_s) > completed:
            progress_s = now
        failure = _failure(timings, death, now - progress_s, patience)
        if failure is not None:
            return timings, seen, failure
        timed_out = now - began_s >= patience.max_trial_s
        if now < look_s and not timed_out:
            continue
        look_s = began_s + (now - began_s) * _GROWTH
        seen = timings.summarize(concurrency, open_loop=open_loop)
        if timed_out or (seen.window and (settled(seen.window, patience) or hopeless(seen.window, patience))):
            break
    if too_little(seen.window, seen.gaps.total_s, patience):
        seen = timings.summarize(concurrency, open_loop=open_loop, whole=True)
    if timings.errors:
        count = timings.errors + len(timings.end_s)
        text = f"{timings.errors} of {count} requests failed: {error_text(timings.first_error)}"
        return timings, seen, (failure_status(timings.first_error), text)
    if seen.window is None:
        text = f"{len(timings.end_s)} requests completed in {patience.max_trial_s:g} s; raise --max-trial-seconds"
        return timings, seen, (Status.TIMED_OUT, text)
    return timings, seen, None


def _failure(
    timings: Timings, death: Callable[[], str | None], silent_s: float, patience: Patience
) -> tuple[Status, str] | None:
    if timings.lost or (silent_s > 2 * _RECEIVE_TIMEOUT_S and death() is not None):
        why = _cause_of_death(death) or error_text(timings.first_error)
        status = Status.OUT_OF_MEMORY if is_out_of_memory(why) else Status.SERVER_CRASHED
        return status, why
    if timings.errors >= _GIVE_UP_ERRORS and not timings.end_s:
        return failure_status(timings.first_error), f"every request failed: {error_text(timings.first_error)}"
    if silent_s > patience.request_timeout_s:
        return Status.TIMED_OUT, f"no response for {patience.request_timeout_s:g} s (--request-timeout)"
    return None


def _cause_of_death(death: Callable[[], str | None]) -> str | None:
    """Ask why the server is gone; its connections close a moment before it has ended."""
    deadline_s = time.perf_counter() + _DEATH_S
    while (why := death()) is None and time.perf_counter() < deadline_s:
        time.sleep(0.01)
    return why


def _measurement(
    trial: Trial,
    model: LoadedModel,
    status: Status,
    cause: str,
    seen: Seen,
    timings: Timings,
    run_peak: int | None,
    readings: Sequence[Reading],
) -> Measurement:
    figures: dict[str, Any] = {}
    window = seen.window
    if window is not None:
        figures = {
            "throughput_infer_per_s": window.requests_per_s * trial.batch,
            "throughput_ci": _finite(window.throughput_ci),
            "latency_avg_s": window.latency_avg_s,
            "latency_p50_s": window.latency_p50_s,
            "latency_p90_s": window.latency_p90_s,
            "latency_p95_s": window.latency_p95_s,
            "latency_p99_s": window.latency_p99_s,
            "latency_p99_ci": _finite(window.latency_p99_ci),
            "max_utilization": highest(reading.utilization for reading in readings),
            "mean_utilization": mean(reading.utilization for reading in readings),
            "max_memory_utilization": highest(reading.memory_utilization for reading in readings),
            "sm_utilization": mean(reading.sm_utilization for reading in readings),
            "tensor_utilization": mean(reading.tensor_utilization for reading in readings),
            "dram_bandwidth_utilization": mean(reading.dram_bandwidth_utilization for reading in readings),
            "power_w": mean(reading.power_w for reading in readings),
            "sm_clock_hz": mean(reading.sm_clock_hz for reading in readings),
            "window_s": window.duration_s,
            "left_out_s": seen.gaps.total_s,
        }
    return Measurement(
        trial=trial,
        provenance=model.provenance,
        status=status,
        cause=cause,
        server_memory_bytes=model.server_memory_bytes,
        max_memory_bytes=highest((model.load_peak_memory_bytes, model.steady_memory_bytes, run_peak)),
        load_peak_memory_bytes=model.load_peak_memory_bytes,
        steady_memory_bytes=model.steady_memory_bytes,
        run_peak_memory_bytes=run_peak,
        requests=window.requests if window else len(timings.end_s),
        errors=timings.errors,
        late=timings.late if trial.request_rate_per_s is not None else None,
        **figures,
    )


def highest(values: Iterable[Number | None]) -> Number | None:
    """Return the largest known value; None where none is known."""
    return max((value for value in values if value is not None), default=None)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the known values; None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
