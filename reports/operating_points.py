"""What plans say of a measured configuration: the p99 latency that they allow, and the operating points they chose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from analyzer.measurements.text import Series, Subject
from planner.placement.document import Placement
from planner.placement.placed_gpu import PlacedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What the plans of a page say of one configuration of a model.

    Parameters
    ----------
    budgets_s : mapping of float to tuple of str
        The p99 latencies that the demands allow, each with the names of its plans.
    points : mapping of (Series, int) to tuple of str
        The operating points, as series and concurrency, each with the names of the plans that chose it.
    """

    budgets_s: Mapping[float, tuple[str, ...]]
    points: Mapping[tuple[Series, int], tuple[str, ...]]


def planned(about: Subject, placements: Iterable[tuple[str, Placement]]) -> Planned:
    """Find the p99 budgets and the operating points of a configuration in plans, which are given with their names."""
    budgets: dict[float, tuple[str, ...]] = {}
    points: dict[tuple[Series, int], tuple[str, ...]] = {}
    for name, placement in placements:
        for asked in placement.demand:
            if about.model in (asked.model, *asked.variants) and asked.latency_p99_s is not None:
                budgets[asked.latency_p99_s] = (*budgets.get(asked.latency_p99_s, ()), name)
        for model in _placed(about, placement):
            point = (Series(model.batch, model.input_length or 0, model.output_length or 0), model.concurrency)
            points[point] = tuple(dict.fromkeys((*points.get(point, ()), name)))
    return Planned(budgets_s=budgets, points=points)


def _placed(about: Subject, placement: Placement) -> list[PlacedModel]:
    """Return the models of a plan that run this configuration on a type with its device; of an open loop, none."""
    if about.open_loop:
        return []
    own = about.provenance.device_name
    other_devices = {each.type for each in placement.gpu_types if each.devices and own not in each.devices}
    return [
        model
        for gpu in placement.gpus
        if gpu.type not in other_devices
        for model in gpu.models
        if (model.name, model.variant) == (about.model, about.variant.name)
    ]
