"""Test the verdict on a trial: whether its figures are precise enough, and which status a failure has."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analyzer.devices import Reading
from analyzer.measurements.record import Status
from analyzer.measurements.stream_figures import StreamFigures
from analyzer.statistics.verdict import (
    StoppingRule,
    disagreement,
    error_text,
    failure_status,
    given_up,
    growth,
    judge,
    needed_s,
    settled,
)
from analyzer.statistics.window import Window, summarize

MIB = 2**20
GOOD = {
    "start_s": 0.0, "end_s": 2.0, "requests": 1000, "requests_per_s": 500.0, "throughput_ci": 0.01,
    "latency_avg_s": 0.002, "latency_p50_s": 0.002, "latency_p90_s": 0.002, "latency_p95_s": 0.002,
    "latency_p99_s": 0.003, "latency_p99_ci": 0.02, "drift": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "busiest_client", "throttled", "said"),
    [
        ({}, 0.3, None, ""),
        ({}, 0.3, True, "throttled"),
        ({}, 0.95, None, "client-bound"),
        ({"requests": 60, "requests_per_s": 2.0, "latency_p99_ci": float("inf")}, 0.1, None, "too few requests (60)"),
        ({"throughput_ci": 0.2, "drift": -0.3}, 0.1, None, "drifted by -30%"),
        ({"throughput_ci": 0.2}, 0.1, None, "after 2 s throughput is unsure (±20.0%"),
        ({"latency_p99_ci": 0.3}, 0.1, None, "p99 is unsure (±30.0%"),
        ({"end_s": 0.3}, 0.1, None, "is shorter than the 0.5 s that the"),
    ],
)
def test_imprecise_window_is_unsettled_with_the_reason(
    changes: dict[str, float], busiest_client: float, throttled: bool | None, said: str
) -> None:
    """A window with narrow intervals is ok; any other is unsettled, with the reason and what to do."""
    window = Window(**{**GOOD, **changes})  # type: ignore[arg-type]
    readings = [Reading(time_s=1.0, throttled=throttled)]
    status, cause = judge(window, busiest_client, readings, StoppingRule())
    assert status is (Status.UNSETTLED if said else Status.OK)
    assert said in cause


def test_the_first_responses_p99_of_streams_has_to_be_precise_too() -> None:
    """At ±25 % a trial goes on for as long as that takes, and says so at its end; without streams nothing changes."""
    rule = StoppingRule()
    unsure = StreamFigures(first_response_p99_s=0.1, first_response_p99_ci=0.25)
    window = Window(**GOOD, streams=unsure)  # type: ignore[arg-type]
    assert not settled(window, rule)
    assert needed_s(window, rule) == pytest.approx(2.0 * 2.5**2)
    status, cause = judge(window, 0.1, [], rule)
    assert status is Status.UNSETTLED
    assert "after 2 s first response's p99 is unsure (±25.0%, asked ±10.0%), " in cause
    assert settled(replace(window, streams=replace(unsure, first_response_p99_ci=0.1)), rule)
    assert not settled(replace(window, streams=replace(unsure, first_response_p99_ci=None)), rule)
    assert settled(replace(window, streams=StreamFigures(responses_per_s=0.0)), rule)  # nothing was ever answered


@pytest.mark.parametrize("changes", [{"latency_p99_ci": 0.3}, {"throughput_ci": 0.2, "drift": -0.3}])
def test_unsettled_window_names_the_time_left_out(changes: dict[str, float]) -> None:
    """The cause names the seconds that the hypervisor disturbed, because no other figure of this host shows them."""
    window = Window(**{**GOOD, **changes})  # type: ignore[arg-type]
    status, cause = judge(window, 0.1, [], StoppingRule(), left_out_s=4.5)
    assert status is Status.UNSETTLED
    assert "4.5 s are left out, in which the hypervisor gave processors to others" in cause


def test_a_longer_trial_is_asked_for_where_part_of_it_is_left_out() -> None:
    """2 s at ±20 % need 2 x (20 / 10)**2 = 8 s for ±10 %, plus a fifth; twice that if half is left out."""
    window = Window(**{**GOOD, "latency_p99_ci": 0.2})  # type: ignore[arg-type]
    assert "to about 10, or" in judge(window, 0.1, [], StoppingRule())[1]
    assert "to about 20, or" in judge(window, 0.1, [], StoppingRule(), left_out_s=2.0)[1]


def test_narrow_window_is_ok_unless_it_includes_disturbed_time() -> None:
    """Time that was left out does not matter; a window that includes disturbed time is unsettled."""
    window = Window(**GOOD)  # type: ignore[arg-type]
    assert judge(window, 0.1, [], StoppingRule(), left_out_s=4.5) == (Status.OK, "")
    status, cause = judge(window, 0.1, [], StoppingRule(), includes_disturbed=True)
    assert status is Status.UNSETTLED
    assert "too often to leave that out" in cause


@pytest.mark.parametrize(
    ("duration_s", "requests", "throughput_ci", "p99_ci", "expected"),
    [
        # ±10 % of the p99 are wanted in 15 s: ±20 % after 4 s need 4 x (20 / 10)**2 = 16 s; ±40 % need 64, over 2 x 15
        (4.0, 1000, 0.01, 0.20, False),
        (4.0, 1000, 0.01, 0.40, True),
        (4.0, 1000, 0.06, 0.40, False),  # throughput is not sure yet
        (4.0, 1000, 0.50, 0.40, False),  # and may never be: the trial lasts as long as it may
        (4.0, 1000, 0.50, 0.02, False),
        (2.0, 1000, 0.01, 0.90, False),  # too early to decide
        (4.0, 50, 0.01, 0.90, False),  # a model with few requests gets all of its time
    ],
)
def test_trial_is_given_up_only_with_a_sure_throughput(
    duration_s: float, requests: int, throughput_ci: float, p99_ci: float, expected: bool
) -> None:
    """A p99 that needs over twice the longest duration ends a trial once its throughput is as precise as asked."""
    changes = {"end_s": duration_s, "requests": requests, "throughput_ci": throughput_ci, "latency_p99_ci": p99_ci}
    window = Window(**{**GOOD, **changes})  # type: ignore[arg-type]
    assert given_up(window, StoppingRule()) is expected


@pytest.mark.parametrize("spread", [0.35, 0.7])
def test_trial_lasts_until_its_throughput_is_sure_or_its_time_is_up(spread: float) -> None:
    """A trial of 35 requests/s ended after 3 to 7 s, throughput at ±20 %, because the p99 would have needed longer.

    Latencies that vary by 70 % need (2.1 x 0.7 / 5 %)**2 = 860 requests, more than the 525 of 15 s; by 35 %, 216.
    """
    rule = StoppingRule()
    trials = [simulated_trial(rule, seed=seed, rate_per_s=35.0, spread=spread) for seed in range(20)]
    for window, elapsed_s in trials:
        assert window.throughput_ci <= rule.throughput_ci or elapsed_s == rule.max_trial_s
        status, cause = judge(window, 0.1, [], rule)
        assert status is Status.OK or ("throughput is sure" in cause) == (window.throughput_ci <= rule.throughput_ci)
    early = [window for window, elapsed_s in trials if elapsed_s < rule.max_trial_s]
    assert len(early) > 10 if spread < 0.5 else len(early) < 10  # no trial waits for a p99 that is out of reach


def simulated_trial(rule: StoppingRule, *, seed: int, rate_per_s: float, spread: float) -> tuple[Window, float]:
    """Look at log-normal latencies with a rare slow request as often as a trial does; return its window and length."""
    numbers = np.random.default_rng(seed)
    sigma = math.sqrt(math.log(1 + spread**2))
    latencies = numbers.lognormal(math.log(1 / rate_per_s) - sigma**2 / 2, sigma, size=2000)
    latencies[numbers.random(2000) < 0.01] *= 4
    ends = np.cumsum(latencies)
    elapsed_s = rule.min_window_s
    while True:
        elapsed_s = min(elapsed_s * 1.15, rule.max_trial_s)
        count = int(np.searchsorted(ends, elapsed_s))
        window = summarize(ends[:count], latencies[:count])
        if window and (elapsed_s == rule.max_trial_s or settled(window, rule) or given_up(window, rule)):
            return window, elapsed_s


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"latency_p99_ci": 0.65}, "after 2 s p99 is unsure (±65.0%, asked ±10.0%), throughput is sure (±1.0%)"),
        ({"throughput_ci": 0.12}, "after 2 s throughput is unsure (±12.0%, asked ±5.0%), p99 is sure (±2.0%)"),
        (
            {"throughput_ci": 0.12, "latency_p99_ci": 0.65},
            "after 2 s throughput is unsure (±12.0%, asked ±5.0%), p99 is unsure (±65.0%, asked ±10.0%)",
        ),
        (
            {"requests": 60, "requests_per_s": 30.0, "latency_p99_ci": math.inf},
            "too few requests (60) for a p99, throughput is sure (±1.0%)",
        ),
    ],
)
def test_cause_says_which_of_the_two_figures_is_unsure(changes: dict[str, float], said: str) -> None:
    """A user who plans by throughput alone sees that this figure can be used."""
    window = Window(**{**GOOD, **changes})  # type: ignore[arg-type]
    assert judge(window, 0.1, [], StoppingRule())[1].startswith(said)


def test_device_and_processes_may_differ_by_64_mib_or_a_twentieth() -> None:
    """Some drivers charge contexts to no process; over 64 MiB and 5 % the difference is other processes' memory."""
    # the model adds 1000 MiB to the device; the processes account for 936 (64 fewer), then 935
    assert disagreement(1300 * MIB, 300 * MIB, 1236 * MIB, 300 * MIB) == ""
    assert "1,000 MiB" in disagreement(1300 * MIB, 300 * MIB, 1235 * MIB, 300 * MIB)
    # of 4000 MiB a twentieth is 200
    assert disagreement(4300 * MIB, 300 * MIB, 4100 * MIB, 300 * MIB) == ""
    assert disagreement(4300 * MIB, 300 * MIB, 4099 * MIB, 300 * MIB)
    assert disagreement(4300 * MIB, 300 * MIB, None, None) == ""


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", Status.OUT_OF_MEMORY),
        ("std::bad_alloc", Status.OUT_OF_MEMORY),
        ("numpy.core._exceptions._ArrayMemoryError: Unable to allocate 8.00 PiB", Status.OUT_OF_MEMORY),
        ("ValueError: too many", Status.INFERENCE_ERROR),
    ],
)
def test_out_of_memory_is_recognized_by_its_message(text: str, status: Status) -> None:
    """The messages of CUDA, PyTorch, C++ and numpy are known; any other failure is an inference error."""
    assert failure_status(text) is status


def test_error_text_is_the_message_in_tritons_response() -> None:
    """The message is taken out of the JSON and written in one line."""
    assert error_text('{"error":"a \\"quoted\\" thing\\nfailed"}') == 'a "quoted" thing failed'
    assert error_text("<html>\n bad gateway</html>") == "<html> bad gateway</html>"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"latency_p99_ci": 0.105}, 1.05 * 1.05**2),  # needs 1.1025 times as long, and a margin of 5 %
        ({"latency_p99_ci": 0.101}, 1.15),  # judged too often, it would settle by luck
        ({"latency_p99_ci": 0.4}, 1.5),  # an early estimate is rough: no more than half as much again at once
        ({"requests": 80, "latency_p99_ci": float("inf")}, 1.05 * 100 / 80),  # 100 requests are the fewest for a p99
    ],
)
def test_window_grows_to_the_length_that_it_seems_to_need(changes: dict[str, float], expected: float) -> None:
    """The variance seen so far tells when to look again, within bounds."""
    window = Window(**{**GOOD, **changes})  # type: ignore[arg-type]
    assert growth(window, StoppingRule()) == pytest.approx(expected)
