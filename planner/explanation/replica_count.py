"""How many copies of one model fit: the cloud vendors' rule of thumb, with measured figures.                [pure]"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.formulation.integer_units import share_capacity, share_load
from planner.inputs.fleet import Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaCount:
    """Copies of a model on equal GPUs.

    Parameters
    ----------
    per_gpu : int
        Copies on each GPU.
    n_gpus : int
        Number of GPUs.
    limited_by : str
        The resource that runs out first.
    """

    per_gpu: int
    n_gpus: int
    limited_by: str

    @property
    def total(self) -> int:
        """Copies on all GPUs."""
        return self.per_gpu * self.n_gpus


def count_replicas(
    *,
    model_bytes: int,
    gpu_bytes: int,
    server_bytes: int = 0,
    thresholds: Thresholds,
    utilization: float | None = None,
    memory_utilization: float | None = None,
    n_gpus: int = 1,
) -> ReplicaCount:
    """Count the copies of a model that fit on equal GPUs.

    By memory alone this is the rule of thumb of the cloud vendors, floor(GPU memory x fraction / model size), with
    the server taken off where it is known (Oracle Cloud Infrastructure, Data Science, "GPU Inference": a 2 GB model
    on a 16 GB card of which 70 % may be used gives five).

    Parameters
    ----------
    utilization, memory_utilization : float or None
        Utilizations by one copy, in [0, 1]; one that is None does not limit.
    """
    memory_left = math.floor(round(gpu_bytes * thresholds.memory, 3)) - server_bytes
    fits = {"memory": max(0, memory_left) // model_bytes if model_bytes else None}
    for name, share, threshold in (
        ("utilization", utilization, thresholds.utilization),
        ("memory utilization", memory_utilization, thresholds.memory_utilization),
    ):
        fits[name] = share_capacity(threshold) // share_load(share) if share else None
    limited = {name: n for name, n in fits.items() if n is not None}
    limited_by = min(limited, key=lambda name: limited[name])
    return ReplicaCount(per_gpu=limited[limited_by], n_gpus=n_gpus, limited_by=limited_by)
