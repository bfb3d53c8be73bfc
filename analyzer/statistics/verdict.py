"""Judge a trial: whether its figures are precise enough, why it failed, and what to run next.            [pure]"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analyzer.devices import Reading
from analyzer.measurements.record import Status
from analyzer.statistics.window import MIN_REQUESTS, Window

CLIENT_BOUND = 0.9  # share of a core at which an event loop of the load generator is the limit
_DRIFT = 0.1
_JUDGED_AFTER_S = 3.0  # before that, the intervals are too rough to tell how long a window must be
_LEAST_GROWTH, _MOST_GROWTH = 1.15, 1.5  # of a window until it is judged again: judged often, it would settle by luck
_OUT_OF_REACH = 2.0  # times the longest trial; a window that seems to need less may still settle in time
_DISAGREEMENT = 0.05  # share of a model's memory by which the device and the driver's process list may differ …
_DISAGREEMENT_BYTES = 64 << 20  # … but at least this: drivers round, and charge part of a context to no process
_SOMETHING_ELSE = "; is something else running?"
_OUT_OF_MEMORY = (
    "out of memory",
    "outofmemory",
    "bad_alloc",
    "memoryerror",
    "unable to allocate",
    "alloc_failed",
    "memoryallocation",
    "cannot allocate memory",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingRule:
    """When a trial ends: the precision asked for, and the time that it may take.

    Parameters
    ----------
    throughput_ci, latency_p99_ci : float
        A window ends when the half widths of both 95 % confidence intervals are within these fractions; of a decoupled
        model also that of the p99 of the time to the first response, by the latter.
    min_window_s, max_trial_s : float
        The shortest window, and the longest trial with its warm-up, in seconds.
    request_timeout_s : float
        A server that completes no request for this long counts as hung, in seconds.
    """

    throughput_ci: float = 0.05
    latency_p99_ci: float = 0.10
    min_window_s: float = 0.5
    max_trial_s: float = 15.0
    request_timeout_s: float = 30.0


def settled(window: Window, rule: StoppingRule) -> bool:
    """Whether a window is long enough and its figures are precise enough."""
    return (
        window.duration_s >= rule.min_window_s
        and window.throughput_ci <= rule.throughput_ci
        and _widest_p99_ci(window) <= rule.latency_p99_ci
    )


def needed_s(window: Window, rule: StoppingRule) -> float:
    """Estimate how long a window must be to settle: intervals narrow with the square root of its length."""
    excess = max(window.throughput_ci / rule.throughput_ci, _widest_p99_ci(window) / rule.latency_p99_ci)
    return window.duration_s * excess**2


def _first_response_p99_ci(window: Window) -> float | None:
    """Return the half width of the p99 of the time to the first response; None for a model without such times."""
    streams = window.streams
    if streams is None or streams.first_response_p99_s is None:
        return None
    return math.inf if streams.first_response_p99_ci is None else streams.first_response_p99_ci


def _widest_p99_ci(window: Window) -> float:
    return max(window.latency_p99_ci, _first_response_p99_ci(window) or 0.0)


def growth(window: Window | None, rule: StoppingRule) -> float:
    """Return the factor by which a trial should grow before its window is judged again, by the precision so far."""
    if window is None:
        return _MOST_GROWTH
    if window.requests < MIN_REQUESTS:
        factor = MIN_REQUESTS / window.requests
    else:
        factor = max(needed_s(window, rule), rule.min_window_s) / window.duration_s
    return min(max(1.05 * factor, _LEAST_GROWTH), _MOST_GROWTH)


def given_up(window: Window, rule: StoppingRule) -> bool:
    """Whether a trial should end early: its throughput is precise enough, and its time will not suffice for its p99.

    A trial whose throughput is not precise yet lasts as long as it may, however far its p99 is from settled.
    """
    if window.requests < MIN_REQUESTS or window.duration_s < max(_JUDGED_AFTER_S, rule.min_window_s):
        return False
    return window.throughput_ci <= rule.throughput_ci and needed_s(window, rule) > _OUT_OF_REACH * rule.max_trial_s


def too_little_left(window: Window | None, left_out_s: float, rule: StoppingRule) -> bool:
    """Whether so much of a trial was disturbed that the rest is too short to judge."""
    if window is None:
        return left_out_s > 0
    return window.duration_s < min(rule.min_window_s, left_out_s)


def judge(
    window: Window,
    busiest_client: float,
    readings: Sequence[Reading],
    rule: StoppingRule,
    *,
    left_out_s: float = 0.0,
    includes_disturbed: bool = False,
) -> tuple[Status, str]:
    """Return the status of a window's figures and, unless it is OK, the cause and what to run next.

    Parameters
    ----------
    busiest_client : float
        Share of a core that the busiest event loop of the load generator used.
    left_out_s : float
        Time of the trial in which the hypervisor gave this host's processors to others.
    includes_disturbed : bool
        Whether it did so too often to leave that time out, so that the window includes it.
    """
    if any(reading.throttled for reading in readings):
        return Status.UNSETTLED, (
            "the device was throttled by power or heat; cool it or lower its load, and measure anew (`fresh=True`)"
        )
    if busiest_client > CLIENT_BOUND:
        return Status.UNSETTLED, (
            f"client-bound: the load generator used {busiest_client:.0%} of a core, so the server may be "
            "faster; raise `client_processes` or send from another host (`launch_mode='remote'`)"
        )
    width = _how_sure(window, rule)
    if includes_disturbed:
        return Status.UNSETTLED, (
            f"the hypervisor gave this host's processors to others too often to leave that out ({width}); "
            "measure anew (`fresh=True`) at a quieter time or on another host"
        )
    if settled(window, rule):
        return Status.OK, ""
    theft = (
        f"; {left_out_s:.3g} s are left out, in which the hypervisor gave processors to others" if left_out_s else ""
    )
    longer = 1 + left_out_s / window.duration_s  # the same share of a longer trial will be left out
    if window.requests < MIN_REQUESTS:
        enough_s = math.ceil(1.5 * longer * MIN_REQUESTS / window.requests_per_s)
        return Status.UNSETTLED, (
            f"too few requests ({window.requests}) for a p99, {_how_sure(window, rule, p99=False)}{theft}; raise "
            f"`max_trial_s` to {enough_s}"
        )
    if abs(window.drift) > _DRIFT:
        return Status.UNSETTLED, (
            f"throughput drifted by {window.drift:+.0%} within the window ({width}){theft or _SOMETHING_ELSE}; "
            "measure it anew (`fresh=True`), or raise `max_trial_s`"
        )
    if needed_s(window, rule) <= window.duration_s:
        enough_s = math.ceil(2 * longer * rule.min_window_s)  # the warm-up may take half of a trial
        return Status.UNSETTLED, (
            f"the window of {window.duration_s:.3g} s is shorter than the {rule.min_window_s:.3g} s that the "
            f"device's own samples or the search for a peak need{theft}; raise `max_trial_s` to {enough_s}"
        )
    return Status.UNSETTLED, (
        f"after {window.duration_s:.3g} s {width}{theft}; raise `max_trial_s` to about "
        f"{math.ceil(1.2 * longer * needed_s(window, rule))}, or `precision_pct`"
    )


def _how_sure(window: Window, rule: StoppingRule, *, p99: bool = True) -> str:
    """Say of throughput and p99 whether it is as precise as asked; what is not comes first."""
    figures = [
        ("throughput", window.throughput_ci, rule.throughput_ci),
        ("p99", window.latency_p99_ci, rule.latency_p99_ci),
    ]
    first_response = _first_response_p99_ci(window)
    if first_response is not None:
        figures.append(("first response's p99", first_response, rule.latency_p99_ci))
    said = []
    for name, width, asked in figures if p99 else figures[:1]:
        if width <= asked:
            said.append(f"{name} is sure (±{width:.1%})")
        else:
            found = f"±{width:.1%}, " if math.isfinite(width) else ""
            said.append(f"{name} is unsure ({found}asked ±{asked:.1%})")
    return ", ".join(sorted(said, key=lambda text: "unsure" not in text))


def disagreement(
    device_bytes: int | None, device_before: int | None, process_bytes: int | None, process_before: int | None
) -> str:
    """Compare the memory that a model added to the device and to the server's processes; return "" if they agree.

    Parameters
    ----------
    device_bytes, device_before : int or None
        In use on the device under load, and before the model was loaded.
    process_bytes, process_before : int or None
        The same two figures as the driver charges them to the server's processes.
    """
    if device_bytes is None or device_before is None or process_bytes is None or process_before is None:
        return ""
    device, process = device_bytes - device_before, process_bytes - process_before
    if abs(device - process) <= max(_DISAGREEMENT_BYTES, _DISAGREEMENT * device):
        return ""
    return (
        f"memory: the device holds {device / 2**20:,.0f} MiB more than before the load, and the driver charges "
        f"{process / 2**20:,.0f} MiB of it to the server; is something else on this GPU?"
    )


def failure_status(text: str) -> Status:
    """Return the status of a failed request by its error: out of memory, or any other."""
    return Status.OUT_OF_MEMORY if is_out_of_memory(text) else Status.INFERENCE_ERROR


def is_out_of_memory(text: str) -> bool:
    """Whether an error's text is one that CUDA, PyTorch, numpy or C++ gives when memory runs out."""
    lowered = text.lower()
    return any(sign in lowered for sign in _OUT_OF_MEMORY)


def error_text(body: str) -> str:
    """Return the message in Triton's ``{"error": …}`` in one line."""
    text = body.strip()
    if text.startswith('{"error":"'):
        text = text.removeprefix('{"error":"').removesuffix('"}').replace('\\"', '"').replace("\\n", " ")
    return " ".join(text.split())[:500]
