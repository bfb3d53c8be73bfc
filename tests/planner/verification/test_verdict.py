"""Test when a host counts as drifted: how a model alone differs from its profile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.verification.verdict import control_of
from tests.builders.measurements import measured


@pytest.mark.parametrize(
    ("now", "half_width", "drifted"),
    [
        (98, 0.001, False),  # 2 % less with narrow intervals: within the tolerance of 5 %
        (94, 0.001, True),  # 6 % less
        (106, 0.001, True),  # 6 % more
        (90, 0.10, False),  # 10 % less, and the intervals 99 to 101 and 81 to 99 meet
        (80, 0.10, True),  # 20 % less, and 80 + 8 is below 99
    ],
)
def test_host_has_drifted_beyond_intervals_and_tolerance(now: float, half_width: float, drifted: bool) -> None:
    """A difference counts where it is more than both intervals and more than the tolerance.

    Narrow intervals alone once decided: a model 1 % slower than its profile made each miss one of the host.
    """
    profile = replace(measured(), throughput_infer_per_s=100.0, throughput_ci=0.01)
    again = replace(measured(), throughput_infer_per_s=float(now), throughput_ci=half_width)
    assert control_of(profile, again, 0.05).drifted is drifted
