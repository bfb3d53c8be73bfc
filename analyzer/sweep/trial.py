"""Measure one trial of a loaded model: send requests while the device is recorded, and combine both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from analyzer.devices import Reading
from analyzer.devices.recorder import Recorder, highest, mean
from analyzer.load.generator import LoadGenerator
from analyzer.load.load import Load, Report
from analyzer.measurements.record import Measurement, Provenance, Status, Trial
from analyzer.statistics.verdict import (
    CLIENT_BOUND,
    StoppingRule,
    disagreement,
    error_text,
    failure_status,
    given_up,
    growth,
    is_out_of_memory,
    judge,
    settled,
    too_little_left,
)
from analyzer.statistics.window import Window
from analyzer.sweep.loaded_model import MemoryAtLoad
from analyzer.sweep.timings import Timings, WindowSoFar

_RECEIVE_TIMEOUT_S = 0.2
_GIVE_UP_ERRORS = 10  # failures without a single success that end a trial
_DEATH_S = 1.0  # longest wait for the reason why a server ended


def measure_trial(
    trial: Trial,
    load: Load,
    *,
    provenance: Provenance,
    instances: int,
    memory: MemoryAtLoad,
    generator: LoadGenerator,
    recorder: Recorder,
    death: Callable[[], str | None],
    rule: StoppingRule,
) -> Measurement:
    """Send `load` until its figures are precise enough, and combine them with the device's readings.

    A trial in which the load generator is the limit is measured again with more processes where there can be more.

    Parameters
    ----------
    instances : int
        Number of instances that serve the model.
    memory : MemoryAtLoad
        What the device held around the model's load.
    death : callable
        Returns why the server ended, None while it runs.

    Returns
    -------
    Measurement
        Failures of the model or the server are statuses, not exceptions.
    """
    while True:
        began_s = time.perf_counter()
        with generator.sending(load) as stream:
            timings, seen, failure = _watch(trial, stream.receive, death, rule)
        if failure is not None or timings.busiest_client <= CLIENT_BOUND or not generator.grow(load.concurrency):
            break
    status, cause = failure or (Status.OK, "")
    under_load = recorder.between(began_s, time.perf_counter())
    # the warm-up counts here: its memory has to fit as well
    run_peak = highest(reading.memory_bytes for reading in under_load)
    readings = seen.within(under_load, lag_s=recorder.lag_s)
    if failure is None and seen.window is not None:
        left_out_s = seen.gaps.total_s
        status, cause = judge(
            seen.window,
            timings.busiest_client,
            readings,
            rule,
            left_out_s=left_out_s,
            includes_disturbed=seen.includes_disturbed,
        )
        process_peak = highest(reading.process_memory_bytes for reading in under_load)
        cause = cause or disagreement(run_peak, memory.server_bytes, process_peak, memory.server_process_bytes)
    measurement = Measurement(
        trial=trial,
        provenance=provenance,
        status=status,
        instances=instances,
        cause=cause,
        server_memory_bytes=memory.server_bytes,
        max_memory_bytes=highest((memory.load_peak_bytes, memory.steady_bytes, run_peak)),
        load_peak_memory_bytes=memory.load_peak_bytes,
        steady_memory_bytes=memory.steady_bytes,
        run_peak_memory_bytes=run_peak,
        requests=len(timings.end_s),
        errors=timings.errors,
        late=timings.late if trial.request_rate_per_s is not None else None,
        left_out_s=None if seen.window is None else seen.gaps.total_s,
    )
    return measurement if seen.window is None else _with_figures(measurement, seen.window, readings)


def _watch(
    trial: Trial, receive: Callable[[float], list[Report]], death: Callable[[], str | None], rule: StoppingRule
) -> tuple[Timings, WindowSoFar, tuple[Status, str] | None]:
    """Collect reports until the window has settled, the time is up or the trial has failed."""
    timings, concurrency, open_loop = Timings(), trial.concurrency or 1, trial.request_rate_per_s is not None
    seen = timings.summarize(concurrency, open_loop=open_loop)
    began_s = progress_s = time.perf_counter()
    look_s = began_s + rule.min_window_s
    while True:
        completed = len(timings.end_s)
        timings.add(receive(_RECEIVE_TIMEOUT_S))
        now = time.perf_counter()
        if len(timings.end_s) > completed:
            progress_s = now
        failure = _failure(timings, death, now - progress_s, rule)
        if failure is not None:
            return timings, seen, failure
        timed_out = now - began_s >= rule.max_trial_s
        if now < look_s and not timed_out:
            continue
        seen = timings.summarize(concurrency, open_loop=open_loop)
        if timed_out or (seen.window and (settled(seen.window, rule) or given_up(seen.window, rule))):
            break
        look_s = began_s + (now - began_s) * growth(seen.window, rule)
    if too_little_left(seen.window, seen.gaps.total_s, rule):
        seen = timings.summarize(concurrency, open_loop=open_loop, whole=True)
    if timings.errors:
        count = timings.errors + len(timings.end_s)
        text = f"{timings.errors} of {count} requests failed: {error_text(timings.first_error)}"
        return timings, seen, (failure_status(timings.first_error), text)
    if seen.window is None:
        text = f"{len(timings.end_s)} requests completed in {rule.max_trial_s:g} s; raise `max_trial_s`"
        return timings, seen, (Status.TIMED_OUT, text)
    return timings, seen, None


def _failure(
    timings: Timings, death: Callable[[], str | None], silent_s: float, rule: StoppingRule
) -> tuple[Status, str] | None:
    if timings.lost or (silent_s > 2 * _RECEIVE_TIMEOUT_S and death() is not None):
        why = _cause_of_death(death) or error_text(timings.first_error)
        status = Status.OUT_OF_MEMORY if is_out_of_memory(why) else Status.SERVER_CRASHED
        return status, why
    if timings.errors >= _GIVE_UP_ERRORS and not timings.end_s:
        return failure_status(timings.first_error), f"every request failed: {error_text(timings.first_error)}"
    if silent_s > rule.request_timeout_s:
        return Status.TIMED_OUT, f"no response for {rule.request_timeout_s:g} s (`request_timeout_s`)"
    return None


def _cause_of_death(death: Callable[[], str | None]) -> str | None:
    """Return why the server ended, waiting for its end: its connections close a moment before."""
    deadline_s = time.perf_counter() + _DEATH_S
    while (why := death()) is None and time.perf_counter() < deadline_s:
        time.sleep(0.01)
    return why


def _with_figures(measurement: Measurement, window: Window, readings: Sequence[Reading]) -> Measurement:
    """Add the window's figures, and those of the device's readings in it, to a measurement."""
    return replace(
        measurement,
        throughput_infer_per_s=window.requests_per_s * measurement.trial.batch,
        throughput_ci=_finite(window.throughput_ci),
        latency_avg_s=window.latency_avg_s,
        latency_p50_s=window.latency_p50_s,
        latency_p90_s=window.latency_p90_s,
        latency_p95_s=window.latency_p95_s,
        latency_p99_s=window.latency_p99_s,
        latency_p99_ci=_finite(window.latency_p99_ci),
        max_utilization=highest(reading.utilization for reading in readings),
        mean_utilization=mean(reading.utilization for reading in readings),
        max_memory_utilization=highest(reading.memory_utilization for reading in readings),
        sm_utilization=mean(reading.sm_utilization for reading in readings),
        tensor_utilization=mean(reading.tensor_utilization for reading in readings),
        dram_bandwidth_utilization=mean(reading.dram_bandwidth_utilization for reading in readings),
        power_w=mean(reading.power_w for reading in readings),
        sm_clock_hz=mean(reading.sm_clock_hz for reading in readings),
        requests=window.requests,
        window_s=window.duration_s,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
