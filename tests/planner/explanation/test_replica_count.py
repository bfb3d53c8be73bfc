"""Test how many replicas of one model fit on a GPU."""

from __future__ import annotations

from planner.explanation.replica_count import count_replicas
from planner.inputs.fleet import Thresholds

GB = 10**9


def test_rule_of_thumb_gives_five_on_one_gpu_and_ten_on_two() -> None:
    """16 GB x 0.7 / 2 GB = 5.6: five replicas per GPU."""
    for n_gpus, total in ((1, 5), (2, 10)):
        found = count_replicas(model_bytes=2 * GB, gpu_bytes=16 * GB, thresholds=Thresholds(memory=0.7), n_gpus=n_gpus)
        assert (found.per_gpu, found.total, found.limited_by) == (5, total, "memory")


def test_utilization_limits_if_it_is_known() -> None:
    """At 30 % per replica and a threshold of 90 %, which is inclusive, three replicas fit."""
    found = count_replicas(
        model_bytes=2 * GB,
        gpu_bytes=16 * GB,
        thresholds=Thresholds(memory=0.7, utilization=0.9),
        utilization=0.3,
        memory_utilization=0.1,
    )
    assert (found.per_gpu, found.limited_by) == (3, "utilization")


def test_server_memory_is_subtracted_once() -> None:
    """Beside a server of 2 GB, (16 - 2) / 2 = 7 replicas fit."""
    found = count_replicas(model_bytes=2 * GB, gpu_bytes=16 * GB, server_bytes=2 * GB, thresholds=Thresholds())
    assert found.per_gpu == 7
