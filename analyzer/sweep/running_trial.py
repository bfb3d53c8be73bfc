"""A trial while it runs: collect its timings, look whether its window has settled, and make its measurement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from analyzer.devices import Reading
from analyzer.devices.recorder import highest, mean
from analyzer.load.load import Report
from analyzer.measurements.record import Measurement, Provenance, Status, Trial
from analyzer.measurements.stream_figures import StreamFigures
from analyzer.statistics.verdict import (
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
from analyzer.sweep.loaded_model import MemoryAtLoad
from analyzer.sweep.timings import Timings, WindowSoFar

_RECEIVE_TIMEOUT_S = 0.2
_GIVE_UP_ERRORS = 10  # failures without a single success that end a trial
_DEATH_S = 1.0  # longest wait for the reason why a server ended

Death = Callable[[], str | None]  # why the server ended, None while it runs


class RunningTrial:
    """What was received of a trial so far, and what became of it.

    Parameters
    ----------
    trial : Trial
    rule : StoppingRule
    began_s : float
        When it began, by `time.perf_counter`.
    """

    def __init__(self, trial: Trial, rule: StoppingRule, began_s: float) -> None:
        self._trial = trial
        self._rule = rule
        self._began_s = began_s
        self._progress_s = began_s
        self._timings = Timings()
        self._failure: tuple[Status, str] | None = None
        self.seen = self._summarize()

    @property
    def failed(self) -> bool:
        """Whether it ended for another reason than its window."""
        return self._failure is not None

    @property
    def failure(self) -> tuple[Status, str] | None:
        """Why it failed."""
        return self._failure

    @property
    def busiest_client(self) -> float:
        """Share of a core that the busiest event loop of the load generator uses."""
        return self._timings.busiest_client

    def receive(self, reports: Sequence[Report], now_s: float, death: Death) -> bool:
        """Add reports; return whether the trial has failed."""
        before = len(self._timings.end_s), self._timings.responses
        self._timings.add(reports)
        if (len(self._timings.end_s), self._timings.responses) != before:
            self._progress_s = now_s
        self._failure = self._find_failure(now_s - self._progress_s, death)
        return self.failed

    def has_settled(self) -> bool:
        """Look at the window; return whether its figures are precise enough, or will not be in time."""
        self.seen = self._summarize()
        window = self.seen.window
        return window is not None and (settled(window, self._rule) or given_up(window, self._rule))

    def end(
        self, since_s: float | None = None, *, ended_by: tuple[Status, str] | None = None, lost: bool = False
    ) -> None:
        """Find the final window, and what is wrong with it.

        Parameters
        ----------
        since_s : float, optional
            Requests that completed before do not count; by default the window stays as it was last looked at.
        ended_by : tuple of Status and str, optional
            The failure of another trial that ended this one early: it is why there is no window, if there is none.
        lost : bool
            Whether the server was lost by it, so that no window counts.
        """
        if since_s is not None:
            self.seen = self._summarize(since_s=since_s)
        if too_little_left(self.seen.window, self.seen.gaps.total_s, self._rule):
            self.seen = self._summarize(since_s=since_s or 0.0, whole=True)
        if self._failure is not None:
            return
        timings = self._timings
        if ended_by is not None and (lost or self.seen.window is None):
            self._failure = ended_by
        elif timings.errors:
            count = timings.errors + len(timings.end_s)
            text = f"{timings.errors} of {count} requests failed: {error_text(timings.first_error)}"
            self._failure = failure_status(timings.first_error), text
        elif self.seen.window is None:
            limit_s = self._rule.max_trial_s
            text = f"{len(timings.end_s)} requests completed in {limit_s:g} s; raise `max_trial_s`"
            self._failure = Status.TIMED_OUT, text

    def measurement(
        self,
        under_load: Sequence[Reading],
        *,
        lag_s: float,
        memory: MemoryAtLoad,
        provenance: Provenance,
        instances: int,
    ) -> Measurement:
        """Combine the window's figures with the device's readings since the trial began.

        The warm-up counts for the highest memory: it has to fit as well.
        """
        seen, timings = self.seen, self._timings
        run_peak = highest(reading.memory_bytes for reading in under_load)
        readings = seen.within(under_load, lag_s=lag_s)
        status, cause = self._failure or (Status.OK, "")
        if self._failure is None and seen.window is not None:
            status, cause = judge(
                seen.window,
                timings.busiest_client,
                readings,
                self._rule,
                left_out_s=seen.gaps.total_s,
                includes_disturbed=seen.includes_disturbed,
            )
            process_peak = highest(reading.process_memory_bytes for reading in under_load)
            cause = cause or disagreement(run_peak, memory.server_bytes, process_peak, memory.server_process_bytes)
        measurement = Measurement(
            trial=self._trial,
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
            late=timings.late if self._open_loop else None,
            left_out_s=None if seen.window is None else seen.gaps.total_s,
        )
        return _with_figures(measurement, seen, readings)

    @property
    def _open_loop(self) -> bool:
        return self._trial.request_rate_per_s is not None

    def _summarize(self, *, since_s: float = 0.0, whole: bool = False) -> WindowSoFar:
        return self._timings.summarize(
            self._trial.concurrency or 1, open_loop=self._open_loop, whole=whole, since_s=since_s
        )

    def _find_failure(self, silent_s: float, death: Death) -> tuple[Status, str] | None:
        timings, rule = self._timings, self._rule
        if timings.lost or (silent_s > 2 * _RECEIVE_TIMEOUT_S and death() is not None):
            why = _cause_of_death(death) or error_text(timings.first_error)
            status = Status.OUT_OF_MEMORY if is_out_of_memory(why) else Status.SERVER_CRASHED
            return status, why
        if timings.errors >= _GIVE_UP_ERRORS and not timings.end_s:
            return failure_status(timings.first_error), f"every request failed: {error_text(timings.first_error)}"
        if silent_s > rule.request_timeout_s:
            return Status.TIMED_OUT, f"no response for {rule.request_timeout_s:g} s (`request_timeout_s`)"
        return None


def watch(
    trials: Sequence[RunningTrial],
    receive: Callable[[float], list[Report]],
    death: Death,
    rule: StoppingRule,
    began_s: float,
    *,
    meanwhile: Callable[[float], None] = lambda now_s: None,
) -> None:
    """Collect reports until every window has settled, the time is up or a trial has failed.

    Parameters
    ----------
    trials : sequence of RunningTrial
        In the order of their loads (`Report.load`).
    receive : callable
        Returns the reports that arrive within a time.
    meanwhile : callable, optional
        Called several times a second with the time.
    """
    look_s = began_s + rule.min_window_s
    while True:
        reports = receive(_RECEIVE_TIMEOUT_S)
        now = time.perf_counter()
        failed = [trial.receive([r for r in reports if r.load == i], now, death) for i, trial in enumerate(trials)]
        if any(failed):
            return
        meanwhile(now)
        timed_out = now - began_s >= rule.max_trial_s
        if now < look_s and not timed_out:
            continue
        settled_now = [trial.has_settled() for trial in trials]
        if all(settled_now) or timed_out:
            return
        look_s = began_s + (now - began_s) * max(growth(trial.seen.window, rule) for trial in trials)


def _cause_of_death(death: Death) -> str | None:
    """Return why the server ended, waiting for its end: its connections close a moment before."""
    deadline_s = time.perf_counter() + _DEATH_S
    while (why := death()) is None and time.perf_counter() < deadline_s:
        time.sleep(0.01)
    return why


def _with_figures(measurement: Measurement, seen: WindowSoFar, readings: Sequence[Reading]) -> Measurement:
    """Add the window's figures, and those of the device's readings in it, to a measurement."""
    window, offered = seen.window, seen.offered
    if window is None:
        return measurement
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
        stream=window.streams or StreamFigures(),
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
        offered=None if offered is None else offered.requests,
        backlog_half_width=None if offered is None else offered.backlog_half_width,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
