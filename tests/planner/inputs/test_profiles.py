"""Test the making of profiles from measurements."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzer.errors import UsageError
from analyzer.measurements.record import Measurement, ServerOnly, Status
from planner import plan
from planner.inputs.profiles import at_configuration, build_profiles, fastest, least_memory, of_models, of_one_device
from tests.builders.profiles import MIB, measurement, point, profile, provenance


def test_own_memory_is_the_highest_less_the_idle_server() -> None:
    """1309 MiB minus a server of 309 MiB are 1000 MiB of the model."""
    (built,) = build_profiles([measurement(max_memory_mib=1309, server_memory_mib=309)])
    assert built.points[0].memory_bytes == 1000 * MIB
    assert built.server_memory_bytes == 309 * MIB


def test_given_server_memory_wins_over_the_measured_one() -> None:
    """With --server-memory 409MiB the model's own share of 1309 MiB is 900 MiB."""
    (built,) = build_profiles([measurement()], server_memory_bytes=409 * MIB)
    assert built.points[0].memory_bytes == 900 * MIB
    assert built.server_memory_bytes == 409 * MIB


def test_server_only_baseline_replaces_the_missing_column() -> None:
    """Rows without the server's memory take it from their device's idle-server row."""
    idle = ServerOnly(
        provenance=provenance(), memory_bytes=109 * MIB, max_utilization=None, max_memory_utilization=None
    )
    (built,) = build_profiles([measurement(server_memory_mib=None)], [idle])
    assert built.points[0].memory_bytes == 1200 * MIB


def test_unknown_server_memory_is_an_error_with_the_option() -> None:
    """If the server's memory is unknown, the error names the option; no value is assumed."""
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
    """Rows with an earlier hash of the model's files are ignored."""
    (built,) = build_profiles([measurement(batch=8, model_hash="old"), measurement(batch=1, model_hash="new")])
    assert [p.batch for p in built.points] == [1]


def test_figures_of_another_server_are_not_mixed() -> None:
    """What onnxruntime gave on its own is not taken for what Triton's backend gives, nor the other way round."""
    triton, ours = "2.51.0", "2.51.0 with onnxruntime 1.31.1 on the CPU"

    def row(batch: int, server: str) -> Measurement:
        one = measurement(batch=batch)
        return replace(one, provenance=replace(one.provenance, server=server))

    (built,) = build_profiles([row(1, ours), row(2, triton), row(4, triton)])
    assert ([point.batch for point in built.points], built.served_by) == ([2, 4], "")
    (built,) = build_profiles([row(1, triton), row(2, ours), row(4, ours)])
    assert ([point.batch for point in built.points], built.served_by) == ([2, 4], "onnxruntime 1.31.1 on the CPU")
    planned = plan([row(2, ours)], gpu_memory_mib=16000, mode="memory")
    assert (
        f"figures of {built.model} are those of onnxruntime 1.31.1 on the CPU, and not of Triton's own backend"
        in planned.notes
    )


def test_devices_are_never_mixed() -> None:
    """With rows of two devices the error names both and the option that chooses one."""
    built = build_profiles([measurement(device="Tesla T4"), measurement("liver", device="NVIDIA L4")])
    with pytest.raises(UsageError, match=r"'NVIDIA L4' and 'Tesla T4'.*`device='NVIDIA L4'`"):
        of_one_device(built, None)
    assert [p.model for p in of_one_device(built, "NVIDIA L4")] == ["liver"]
    with pytest.raises(UsageError, match="did you mean 'NVIDIA L4'"):
        of_one_device(built, "nvidia l40")


def test_configuration_that_was_not_measured_names_the_model() -> None:
    """With --batch 2 --concurrency 4 a model without that measurement is named in the error."""
    both = (profile("a", point(batch=2, concurrency=4), point(batch=1)), profile("b", point(batch=1)))
    with pytest.raises(UsageError, match="model 'b' was not measured at batch 2, concurrency 4"):
        at_configuration(both, batch=2, concurrency=4)
    (kept,) = at_configuration(both[:1], batch=2, concurrency=None)
    assert [p.batch for p in kept.points] == [2]


def test_unknown_model_name_gets_the_nearest() -> None:
    """For a misspelt model name the error names the nearest one."""
    with pytest.raises(UsageError, match="did you mean 'chest_xray'"):
        of_models((profile("chest_xray"),), ["chest_xry"])


def test_least_memory_breaks_ties_by_throughput() -> None:
    """The point of 500 MiB is chosen over 900 MiB, and of two with 500 MiB the faster one."""
    slow, fast, big = (
        point(memory_mib=500, throughput=10),
        point(memory_mib=500, throughput=20, batch=2),
        point(memory_mib=900, throughput=99, batch=4),
    )
    assert least_memory(profile("a", slow, fast, big)) is fast


def test_fastest_keeps_what_is_near_the_best() -> None:
    """At 0.9 of the best 100 infer/s the point with 90 is kept and 89 dropped; points without throughput are kept."""
    points = [point(throughput=r, batch=b) for b, r in ((1, 89.0), (2, 90.0), (4, 100.0))]
    assert [p.batch for p in fastest(profile("a", *points), 0.9)] == [2, 4]
    assert [p.batch for p in fastest(profile("a", *points))] == [4]
    with pytest.raises(UsageError, match="`mode='memory'`"):
        fastest(profile("a", point(throughput=None)))
