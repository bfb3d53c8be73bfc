"""The models of a GPU or slice in its busiest hour, where the demand has rates by hour.                       [pure]"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from analyzer.formats.units import times
from planner.inputs.demand import HOURS, Requirement
from planner.placement.placed_gpu import PlacedGpu, PlacedModel


def shares_by_hour(demand: Sequence[Requirement]) -> dict[str, tuple[float, ...]]:
    """Return for each model with rates by hour the rate of each hour as a share of the highest."""
    return {r.model: r.shares_by_hour for r in demand if r.rates_by_hour_infer_per_s}


def in_busiest_hour(
    models: Sequence[PlacedModel], shares: Mapping[str, tuple[float, ...]], *, least: float = 0.0
) -> tuple[PlacedModel, ...]:
    """Return models with the rates and utilizations of the hour in which their utilizations add up to most.

    Parameters
    ----------
    shares : mapping
        As `shares_by_hour` returns them; models that are not in it are the same in every hour.
    least : float
        A smaller share of its highest rate than this is taken for this one.
    """
    if not any(model.served in shares for model in models):
        return tuple(models)

    def share(model: PlacedModel, hour: int) -> float:
        return max(least, shares[model.served][hour]) if model.served in shares else 1.0

    def busy(hour: int) -> tuple[float, float]:
        return (
            math.fsum((model.utilization or 0.0) * share(model, hour) for model in models),
            math.fsum((model.memory_utilization or 0.0) * share(model, hour) for model in models),
        )

    hour = max(range(HOURS), key=busy)
    return tuple(_scaled(model, share(model, hour)) for model in models)


def _scaled(model: PlacedModel, share: float) -> PlacedModel:
    return replace(
        model,
        utilization=times(model.utilization, share),
        memory_utilization=times(model.memory_utilization, share),
        rate_infer_per_s=times(model.rate_infer_per_s, share),
    )


def gpu_in_busiest_hour(gpu: PlacedGpu, shares: Mapping[str, tuple[float, ...]]) -> PlacedGpu:
    """Return a GPU with the figures of the hour in which its utilization is largest."""
    models = in_busiest_hour(gpu.models, shares)
    if models == gpu.models:
        return gpu
    read = [model.memory_utilization for model in models]
    known = [share for share in read if share is not None]
    return replace(gpu, models=models, memory_utilization=math.fsum(known) if len(known) == len(read) else None)
