"""How full a placement's GPUs are, and why its emptiest one is needed.                                      [pure]"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.placement.difference import expanded
from planner.placement.document import Placement

RESOURCES = {  # resource: key of its figure, unit
    "memory": ("memory_mib", "MiB"),
    "utilization": ("utilization_pct", "%"),
    "memory utilization": ("memory_utilization_pct", "%"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """How much of what a GPU, or a slice of it, may take is taken.

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
        """Of the limit."""
        return self.used / self.limit if self.limit else 1.0

    @property
    def free(self) -> float:
        """Left, in the resource's unit."""
        return self.limit - self.used


@dataclass(frozen=True, slots=True, kw_only=True)
class LastGpu:
    """The emptiest GPU, and what keeps its models from the others.

    Parameters
    ----------
    reasons : tuple of str
        One sentence a model.
    """

    id: str
    models: tuple[str, ...]
    reasons: tuple[str, ...]


def binding(placement: Placement) -> dict[str, Fill]:
    """The resource of each GPU that is nearest to its threshold, by the GPU's id."""
    found = {}
    for gpu in expanded(placement):
        fills = [fill for place in _fills(gpu, placement) for fill in place]
        if fills:
            found[gpu["id"]] = max(fills, key=lambda fill: fill.share)
    return found


def last_gpu(placement: Placement) -> LastGpu | None:
    """The emptiest GPU of a placement that has several; None of one that has not."""
    gpus = expanded(placement)
    if len(gpus) < 2:
        return None
    bindings = binding(placement)
    last = min(gpus, key=lambda gpu: (bindings[gpu["id"]].share, gpu["id"]))
    rooms = [place for gpu in gpus if gpu is not last for place in _fills(gpu, placement)]
    return LastGpu(
        id=last["id"],
        models=tuple(model["name"] for model in last["models"]),
        reasons=tuple(_reason(model, rooms) for model in last["models"]),
    )


def _reason(model: Mapping[str, Any], rooms: Sequence[Sequence[Fill]]) -> str:
    """Say which resource keeps a replica from every other GPU, or that there would be room.

    Between slices only memory is compared: utilizations are those of other multiprocessors.
    """
    if "slice" in model:
        rooms = [[fill for fill in room if fill.resource == "memory"] for room in rooms]
    needs = {name: _one(model, key) for name, (key, _) in RESOURCES.items()}
    if any(all(needs[fill.resource] <= fill.free + 1e-6 for fill in room) for room in rooms):
        return f"{model['name']} would fit elsewhere"
    for name, (_, unit) in RESOURCES.items():
        most = max((fill.free for room in rooms for fill in room if fill.resource == name), default=None)
        if most is not None and needs[name] > most + 1e-6:
            need, left = f"{needs[name]:.4g} {unit} of {name}", f"{most:.4g} {unit}"
            return f"{model['name']} needs {need}, and no other GPU has more than {left} left"
    return f"{model['name']} finds no other GPU with room in all resources at once"


def _one(model: Mapping[str, Any], key: str) -> float:
    return float(model.get(key) or 0.0) / float(model.get("replicas", 1))


def _fills(gpu: Mapping[str, Any], placement: Placement) -> Iterator[list[Fill]]:
    """The counted resources of a whole GPU, or of each of its slices."""
    thresholds = _thresholds(gpu["type"], placement)
    geometry = gpu.get("geometry")
    for place in geometry["slices"] if geometry else [gpu]:
        where = f"{gpu['id']} {place['profile']}@{place['start']}" if geometry else gpu["id"]
        limits = {
            "memory": place["memory_capacity_mib"] * (thresholds.get("memory_pct") or 100) / 100,
            "utilization": thresholds.get("utilization_pct"),
            "memory utilization": thresholds.get("memory_utilization_pct"),
        }
        yield [
            Fill(where=where, resource=name, used=place.get(key) or 0.0, limit=limit, unit=unit)
            for name, (key, unit) in RESOURCES.items()
            if (limit := limits[name]) is not None and place.get(key) is not None
        ]


def _thresholds(type_name: str, placement: Placement) -> Mapping[str, Any]:
    for entry in placement.get("gpu_types", ()):
        if entry["type"] == type_name and "thresholds" in entry:
            found: Mapping[str, Any] = entry["thresholds"]
            return found
    common: Mapping[str, Any] = placement["thresholds"]
    return common
