"""Test what becomes of a trial that another one ended early."""

from __future__ import annotations

from array import array

import pytest

from analyzer.load.load import Report
from analyzer.measurements.record import Status, Trial
from analyzer.statistics.verdict import StoppingRule
from analyzer.sweep.running_trial import RunningTrial

CRASHED = (Status.SERVER_CRASHED, "tritonserver was ended by SIGKILL")


def trial(completed: int) -> RunningTrial:
    """Return a trial at concurrency 1 with a request every 10 ms."""
    running = RunningTrial(Trial(model="m"), StoppingRule(), 0.0)
    end_s = array("d", [0.01 * (i + 1) for i in range(completed)])
    report = Report(
        end_s=end_s,
        latency_s=array("d", [0.01] * completed),
        errors=0,
        first_error="",
        late=0,
        cpu_s=0.0,
        wall_s=0.01 * completed,
        lost=False,
    )
    running.receive([report], 0.01 * completed, lambda: None)
    running.has_settled()
    return running


def test_a_stream_that_goes_on_is_no_hang() -> None:
    """A request of 100 s whose responses keep arriving is not timed out after 30 s; one that falls silent is."""
    running = RunningTrial(Trial(model="m"), StoppingRule(request_timeout_s=30.0), 0.0)

    def receive(now_s: float, responses: int) -> bool:
        report = Report(
            end_s=array("d"),
            latency_s=array("d"),
            errors=0,
            first_error="",
            late=0,
            cpu_s=0.0,
            wall_s=0.05,
            lost=False,
            responses=responses,
        )
        return running.receive([report], now_s, lambda: None)

    assert not any(receive(now_s, 1) for now_s in range(0, 100, 20))
    assert not receive(109.0, 0)
    assert receive(111.0, 0)
    assert running.failure == (Status.TIMED_OUT, "no response for 30 s (`request_timeout_s`)")


@pytest.mark.parametrize(
    ("completed", "lost", "failure"),
    [
        (0, True, CRASHED),  # its own "0 requests completed; raise max_trial_s" misled
        (0, False, CRASHED),
        (300, True, CRASHED),  # what it delivered before the server was lost does not count
        (300, False, None),  # another model's requests failed: its own figures are as good as the time was long
    ],
)
def test_trial_that_another_ended_has_its_failure(
    completed: int, lost: bool, failure: tuple[Status, str] | None
) -> None:
    """Without a window of its own, or without a server, a trial fails as the one that ended it."""
    running = trial(completed)
    running.end(since_s=0.0, ended_by=CRASHED, lost=lost)
    assert running.failure == failure
