"""How full a placement's GPUs are, and why the emptiest one is needed.                                      [pure]"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from analyzer.formats.json_keys import rounded
from analyzer.formats.units import MIB
from planner.explanation.co_location import kept_off
from planner.formulation.resources import hour_groups
from planner.placement.document import CountedThresholds, Placement
from planner.placement.placed_gpu import PlacedGpu, PlacedModel, PlacedSlice


class _Resource(NamedTuple):
    """A resource as it is shown: in MiB or percent."""

    name: str
    unit: str
    used: Callable[[PlacedGpu | PlacedSlice | PlacedModel], float | None]
    limit: Callable[[PlacedGpu | PlacedSlice, CountedThresholds], float | None]


def _percent(share: float | None) -> float | None:
    return None if share is None else rounded(share * 100)


RESOURCES = (
    _Resource(
        "memory",
        "MiB",
        lambda held: rounded(held.memory_bytes / MIB),
        lambda place, t: rounded(place.memory_capacity_bytes / MIB) * (_percent(t.memory) or 100) / 100,
    ),
    _Resource("utilization", "%", lambda held: _percent(held.utilization), lambda _place, t: _percent(t.utilization)),
    _Resource(
        "memory utilization",
        "%",
        lambda held: _percent(held.memory_utilization),
        lambda _place, t: _percent(t.memory_utilization),
    ),
)


def _by_hour(placement: Placement) -> tuple[_Resource, ...]:
    """The resources of whole GPUs where the demand has rates by hour, utilizations in each of the hours that count."""
    groups = hour_groups(placement.demand)
    if len(groups) == 1:
        return ()
    memory, *busy = RESOURCES
    names = [requirement.model for requirement in placement.demand]
    hours = [(group, dict(zip(names, group.shares, strict=True))) for group in groups]
    return (
        memory,
        *(
            resource._replace(name=resource.name + group.suffix, used=partial(_used_in_hour, resource, shares))
            for resource in busy
            for group, shares in hours
        ),
    )


def _used_in_hour(
    resource: _Resource, shares: Mapping[str, float], held: PlacedGpu | PlacedSlice | PlacedModel
) -> float | None:
    """What is used in an hour in which models serve these shares of their highest rates."""
    models = held.models if isinstance(held, PlacedGpu) else [held] if isinstance(held, PlacedModel) else []
    used = [(resource.used(model), shares.get(model.served, 1.0)) for model in models]
    known = [figure * share for figure, share in used if figure is not None]
    return rounded(math.fsum(known)) if len(known) == len(used) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """How much of a resource a GPU, or a slice of it, has in use, and its limit.

    Parameters
    ----------
    where : str
        The GPU's id, with the slice where it is cut.
    used, limit : float
        In the resource's unit; the limit is the threshold.
    """

    where: str
    resource: str
    used: float
    limit: float
    unit: str

    @property
    def share(self) -> float:
        """What is used, as a share of the limit."""
        return self.used / self.limit if self.limit else 1.0

    @property
    def free(self) -> float:
        """What is left, in the resource's unit."""
        return self.limit - self.used


@dataclass(frozen=True, slots=True, kw_only=True)
class LastGpu:
    """The emptiest GPU, and what keeps its models off the other GPUs.

    Parameters
    ----------
    reasons : tuple of str
        One sentence for each model.
    """

    id: str
    models: tuple[str, ...]
    reasons: tuple[str, ...]


def binding(placement: Placement) -> dict[str, Fill]:
    """Return for each GPU, by its id, the resource that is nearest to its threshold."""
    found = {}
    for gpu in placement.one_by_one():
        fills = [fill for place in _fills(gpu, placement) for fill in place]
        if fills:
            found[gpu.id] = max(fills, key=lambda fill: fill.share)
    return found


def last_gpu(placement: Placement) -> LastGpu | None:
    """Return the emptiest GPU of a placement; None where it has fewer than two."""
    gpus = placement.one_by_one()
    if len(gpus) < 2:
        return None
    bindings = binding(placement)
    last = min(gpus, key=lambda gpu: (bindings[gpu.id].share, gpu.id))
    others = [(gpu, place) for gpu in gpus if gpu is not last for place in _fills(gpu, placement)]
    return LastGpu(
        id=last.id,
        models=tuple(model.name for model in last.models),
        reasons=tuple(_reason(model, others, placement) for model in last.models),
    )


def _reason(model: PlacedModel, others: Sequence[tuple[PlacedGpu, list[Fill]]], placement: Placement) -> str:
    """Say which resource or rule keeps a replica off every other GPU, or that there would be room.

    Between slices only memory is compared: utilizations are those of other multiprocessors.
    """
    resources = (*RESOURCES, *_by_hour(placement))
    needs = {resource.name: (resource.used(model) or 0.0) / model.replicas for resource in resources}
    rooms = [[fill for fill in fills if not model.slice or fill.resource == "memory"] for _, fills in others]
    fits = [all(needs[fill.resource] <= fill.free + 1e-6 for fill in room) for room in rooms]
    with_room = [gpu for (gpu, _), fit in zip(others, fits, strict=True) if fit]
    if with_room:
        rules = [kept_off(model, gpu, placement) for gpu in with_room]
        if all(rules):
            return f"{model.name} would have room on {with_room[0].id}, but {rules[0]}"
        return f"{model.name} would fit elsewhere"
    for resource in resources:
        most = max((fill.free for room in rooms for fill in room if fill.resource == resource.name), default=None)
        if most is not None and needs[resource.name] > most + 1e-6:
            need, left = f"{needs[resource.name]:.4g} {resource.unit} of {resource.name}", f"{most:.4g} {resource.unit}"
            return f"{model.name} needs {need}, and no other GPU has more than {left} left"
    return f"{model.name} finds no other GPU with room in all resources at once"


def _fills(gpu: PlacedGpu, placement: Placement) -> Iterator[list[Fill]]:
    """The counted resources of a whole GPU, or of each of its slices."""
    thresholds = placement.thresholds_of(gpu.type)
    places: Sequence[PlacedGpu | PlacedSlice] = gpu.geometry.slices if gpu.geometry else [gpu]
    resources = RESOURCES if gpu.geometry else (_by_hour(placement) or RESOURCES)
    for place in places:
        where = f"{gpu.id} {place.name}" if isinstance(place, PlacedSlice) else gpu.id
        yield [
            Fill(where=where, resource=resource.name, used=used, limit=limit, unit=resource.unit)
            for resource in resources
            if (limit := resource.limit(place, thresholds)) is not None and (used := resource.used(place)) is not None
        ]
