"""Test the figures of GPUs: which metric counts, and in which unit."""

from __future__ import annotations

from planner.inputs.prometheus.gpus import observe_gpus, uuids
from planner.inputs.prometheus.series import Series


def sample(name: str, value: float, **labels: str) -> Series:
    """Make a series with one sample."""
    return Series(labels={"__name__": name, **labels}, samples={60: value})


def test_dcgm_counts_before_triton() -> None:
    """DCGM's memory is in MiB and its engine share in [0, 1]; what it lacks is Triton's; device utilization is in %."""
    gpus = observe_gpus(
        [
            sample("nv_gpu_memory_used_bytes", 5.0, gpu_uuid="GPU-a"),
            sample("DCGM_FI_DEV_FB_USED", 3.0, UUID="GPU-a"),
            sample("nv_gpu_utilization", 0.2, gpu_uuid="GPU-a"),
            sample("DCGM_FI_DEV_GPU_UTIL", 40.0, UUID="GPU-a"),
            sample("nv_gpu_memory_used_bytes", 7.0, gpu_uuid="GPU-b"),
            sample("nv_gpu_memory_used_bytes", 6.0, gpu_uuid="GPU-b"),  # two Tritons on one GPU see the same memory
            sample("DCGM_FI_DEV_FB_USED", 9.0),  # of no GPU
        ]
    )
    assert [(gpu.gpu, gpu.memory_bytes, gpu.utilization) for gpu in gpus] == [
        ("GPU-a", 3 * 2**20, 0.4),
        ("GPU-b", 7.0, None),
    ]


def test_slices_are_apart() -> None:
    """MIG slices of one GPU have its UUID and a number of their own."""
    found = [
        sample("DCGM_FI_PROF_GR_ENGINE_ACTIVE", value, UUID="GPU-a", GPU_I_ID=number)
        for number, value in (("1", 0.5), ("2", 0.25))
    ]
    assert [(gpu.gpu, gpu.utilization) for gpu in observe_gpus(found)] == [("GPU-a/1", 0.5), ("GPU-a/2", 0.25)]
    assert uuids(found) == ("GPU-a",)
