"""From measurements to profiles."""

from __future__ import annotations

import pytest

from analyzer.errors import UsageError
from analyzer.measurements.record import ServerOnly, Status
from planner.inputs.profiles import at_configuration, build_profiles, fastest, least_memory, of_models, of_one_device
from tests.builders.profiles import MIB, measurement, point, profile, provenance


def test_own_memory_is_the_highest_less_the_idle_server() -> None:
    """1309 MiB with a server of 309 MiB leave 1000 MiB to the model."""
    (built,) = build_profiles([measurement(max_memory_mib=1309, server_memory_mib=309)])
    assert built.points[0].memory_bytes == 1000 * MIB
    assert built.server_memory_bytes == 309 * MIB


def test_given_server_memory_wins_over_the_measured_one() -> None:
    """With --server-memory 409MiB the model's own share of 1309 MiB is 900 MiB."""
    (built,) = build_profiles([measurement()], server_memory_bytes=409 * MIB)
    assert built.points[0].memory_bytes == 900 * MIB
    assert built.server_memory_bytes == 409 * MIB


def test_server_only_baseline_stands_in_for_the_missing_column() -> None:
    """Rows without the server's memory take it from the baseline of their device."""
    idle = ServerOnly(
        provenance=provenance(), memory_bytes=109 * MIB, max_utilization=None, max_memory_utilization=None
    )
    (built,) = build_profiles([measurement(server_memory_mib=None)], [idle])
    assert built.points[0].memory_bytes == 1200 * MIB


def test_unknown_server_memory_says_the_way_out() -> None:
    """Nothing is assumed about the server."""
    with pytest.raises(UsageError, match="`server_memory_mib=309`"):
        build_profiles([measurement(server_memory_mib=None)])


def test_only_measured_rows_count() -> None:
    """A failed trial is no operating point; an unsettled one is."""
    (built,) = build_profiles(
        [
            measurement(batch=1),
            measurement(batch=2, status=Status.OUT_OF_MEMORY, max_memory_mib=None),
            measurement(batch=4, status=Status.UNSETTLED),
        ]
    )
    assert [p.batch for p in built.points] == [1, 4]


def test_rows_of_changed_model_files_do_not_count() -> None:
    """After the model changed, what was measured before says nothing."""
    (built,) = build_profiles([measurement(batch=8, model_hash="old"), measurement(batch=1, model_hash="new")])
    assert [p.batch for p in built.points] == [1]


def test_devices_are_never_mixed() -> None:
    """Two devices: both are named, with the option that chooses one."""
    built = build_profiles([measurement(device="Tesla T4"), measurement("liver", device="NVIDIA L4")])
    with pytest.raises(UsageError, match=r"'NVIDIA L4' and 'Tesla T4'.*`device='NVIDIA L4'`"):
        of_one_device(built, None)
    assert [p.model for p in of_one_device(built, "NVIDIA L4")] == ["liver"]
    with pytest.raises(UsageError, match="did you mean 'NVIDIA L4'"):
        of_one_device(built, "nvidia l40")


def test_configuration_that_was_not_measured_names_the_model() -> None:
    """--batch 2 --concurrency 4 for every model, or the one without it is named."""
    both = (profile("a", point(batch=2, concurrency=4), point(batch=1)), profile("b", point(batch=1)))
    with pytest.raises(UsageError, match="model 'b' was not measured at batch 2, concurrency 4"):
        at_configuration(both, batch=2, concurrency=4)
    (kept,) = at_configuration(both[:1], batch=2, concurrency=None)
    assert [p.batch for p in kept.points] == [2]


def test_unknown_model_name_gets_the_nearest() -> None:
    """A slip of the pen is pointed out."""
    with pytest.raises(UsageError, match="did you mean 'chest_xray'"):
        of_models((profile("chest_xray"),), ["chest_xry"])


def test_least_memory_breaks_ties_by_throughput() -> None:
    """500 MiB beats 900 MiB; of two at 500 MiB the faster one."""
    slow, fast, big = (
        point(memory_mib=500, throughput=10),
        point(memory_mib=500, throughput=20, batch=2),
        point(memory_mib=900, throughput=99, batch=4),
    )
    assert least_memory(profile("a", slow, fast, big)) is fast


def test_fastest_keeps_what_is_near_the_best() -> None:
    """At 0.9 of 100 infer/s, 90 stays and 89 goes; without throughput there is nothing to choose by."""
    points = [point(throughput=r, batch=b) for b, r in ((1, 89.0), (2, 90.0), (4, 100.0))]
    assert [p.batch for p in fastest(profile("a", *points), 0.9)] == [2, 4]
    assert [p.batch for p in fastest(profile("a", *points))] == [4]
    with pytest.raises(UsageError, match="`mode='memory'`"):
        fastest(profile("a", point(throughput=None)))
