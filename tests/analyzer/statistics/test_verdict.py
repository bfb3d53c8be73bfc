"""Test the verdict on a trial: whether its figures are precise enough, and which status a failure has."""

import pytest

from analyzer.devices import Reading
from analyzer.measurements.record import Status
from analyzer.statistics.verdict import StoppingRule, cannot_settle, disagreement, error_text, failure_status, judge
from analyzer.statistics.window import Window

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
        ({"throughput_ci": 0.2}, 0.1, None, "still wide"),
        ({"latency_p99_ci": 0.3}, 0.1, None, "p99 ±30.0%"),
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
    ("duration_s", "requests", "throughput_ci", "expected"),
    [
        # ±5 % are wanted in 15 s: ±10 % after 4 s need 4 x (10 / 5)**2 = 16 s; ±20 % need 64 s, more than 2 x 15 s
        (4.0, 1000, 0.10, False),
        (4.0, 1000, 0.20, True),
        (2.0, 1000, 0.50, False),  # too early to decide
        (4.0, 50, 0.50, False),  # a model with few requests gets all of its time
    ],
)
def test_trial_that_cannot_settle_in_its_time_is_recognized(
    duration_s: float, requests: int, throughput_ci: float, expected: bool
) -> None:
    """Intervals narrow with the square root of time; a trial that needs over twice the longest duration is given up."""
    window = Window(**{**GOOD, "end_s": duration_s, "requests": requests, "throughput_ci": throughput_ci})  # type: ignore[arg-type]
    assert cannot_settle(window, StoppingRule()) is expected


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
