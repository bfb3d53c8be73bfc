"""Memory and utilization of the GPUs, from DCGM's metrics or Triton's own.   [pure]"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from planner.inputs.prometheus.series import Series

# The first that a GPU has is used. GR_ENGINE_ACTIVE is the only one that holds for MIG slices. Factors to bytes and 1.
MEMORY = (("DCGM_FI_DEV_FB_USED", float(2**20)), ("nv_gpu_memory_used_bytes", 1.0))
UTILIZATION = (("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1.0), ("DCGM_FI_DEV_GPU_UTIL", 0.01), ("nv_gpu_utilization", 1.0))
SM_UTILIZATION = (("DCGM_FI_PROF_SM_ACTIVE", 1.0),)
DRAM_UTILIZATION = (("DCGM_FI_PROF_DRAM_ACTIVE", 1.0),)

_ALL = [name for metrics in (MEMORY, UTILIZATION, SM_UTILIZATION, DRAM_UTILIZATION) for name, _ in metrics]
DCGM_METRICS = tuple(name for name in _ALL if name.startswith("DCGM_"))
TRITON_METRICS = tuple(name for name in _ALL if name.startswith("nv_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedGpu:
    """What a GPU, or a MIG slice, was loaded with at the end of the window; an unknown figure is None.

    Parameters
    ----------
    gpu : str
        Its UUID; of a slice with ``/`` and the slice's number.
    utilization, sm_utilization, dram_utilization : float or None
        Shares of time, in [0, 1].
    """

    gpu: str
    memory_bytes: float | None
    utilization: float | None
    sm_utilization: float | None
    dram_utilization: float | None


def uuids(series: Iterable[Series]) -> tuple[str, ...]:
    """Return the UUIDs of the GPUs in these series, sorted."""
    return tuple(sorted({uuid for one in series if (uuid := _uuid(one))}))


def observe_gpus(series: Iterable[Series]) -> tuple[ObservedGpu, ...]:
    """Turn samples at one time into a record for each GPU; of a figure that is there twice the highest counts."""
    found: dict[str, dict[str, float]] = {}
    for one in series:
        if _uuid(one) is None:
            continue
        figures = found.setdefault(_gpu(one), {})
        for value in one.samples.values():
            name = one.labels.get("__name__", "")
            figures[name] = max(value, figures.get(name, value))
    return tuple(
        ObservedGpu(
            gpu=gpu,
            memory_bytes=_first(figures, MEMORY),
            utilization=_first(figures, UTILIZATION),
            sm_utilization=_first(figures, SM_UTILIZATION),
            dram_utilization=_first(figures, DRAM_UTILIZATION),
        )
        for gpu, figures in sorted(found.items())
    )


def _uuid(one: Series) -> str | None:
    return one.labels.get("gpu_uuid") or one.labels.get("UUID") or None


def _gpu(one: Series) -> str:
    slice_number = one.labels.get("GPU_I_ID")
    return f"{_uuid(one)}/{slice_number}" if slice_number else str(_uuid(one))


def _first(figures: dict[str, float], metrics: Iterable[tuple[str, float]]) -> float | None:
    return next((figures[name] * factor for name, factor in metrics if name in figures), None)
